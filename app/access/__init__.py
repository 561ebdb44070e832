"""Who may come in: keys, tokens, and how often one may ask."""
