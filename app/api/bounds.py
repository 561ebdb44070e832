"""How much one request may ask for, as an operator sets it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits on a document, its answer and its time; a fragment counts wherever it is spread."""

    length: int
    """Characters of a document."""
    tokens: int
    """Tokens of a document."""
    depth: int
    """Fields inside each other."""
    aliases: int
    """Aliases, and fields or fragments that are named again beside each other."""
    fragments: int
    """Fragments of a document: validation compares each with each."""
    root_fields: int
    """Fields of an operation's first level."""
    directives: int
    """Directives."""
    cost: int
    """Fields that an answer may have, with all pages full."""
    errors: int
    """Errors that are returned."""
    time: float
    """Seconds that an operation, or an event of a subscription, may take."""
    kept: int
    """Bytes of documents that are kept ready."""
    introspection: bool
    """Whether `__schema` and `__type` are answered."""
    suggestions: bool
    """Whether errors say "Did you mean"."""
