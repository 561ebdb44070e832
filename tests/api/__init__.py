"""The whole application over HTTP."""
