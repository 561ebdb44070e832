"""Whole servers, as people start them."""
