"""GraphiQL in a browser."""
