"""Clients of others, as people use them."""
