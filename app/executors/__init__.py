"""Places where programs run."""
