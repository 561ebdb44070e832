"""Tests of a program."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a function that a program defines, instead of running it as a script."""

    function: str
    arguments: tuple[Any, ...] = ()
    """JSON values."""
