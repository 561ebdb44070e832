"""Greenroom: a GraphQL API that runs other people's code and keeps every run."""
