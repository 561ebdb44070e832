"""GraphQL over HTTP: translates between the outside and the house, decides nothing."""
