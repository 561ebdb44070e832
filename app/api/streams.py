"""How many subscribers there are, and the moment when they must go."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import anyio

from app.domain.access import Caller

_Group: TypeAlias = tuple[str, ...]
_ALL: _Group = ()


class CrowdedError(Exception):
    """There is no room for another subscriber."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many subscribers there may be; None is without bound."""

    in_all: int
    of_owner: int | None = None
    of_subject: int | None = None


class Streams:
    """The connections of subscribers: sockets and responses that go on."""

    def __init__(self, room: Room) -> None:
        self.stopped = anyio.Event()
        """Set when the server ends, and programs have ended."""
        self._room = room
        self._present: Counter[_Group] = Counter()

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Take a place for the time of the block.

        Raises:
            CrowdedError: there is none.
        """
        with self._in(_ALL, self._room.in_all, "There are too many subscribers"):
            yield

    @contextmanager
    def belong(self, caller: Caller) -> Iterator[None]:
        """Take a part of the caller's share for the time of the block.

        Raises:
            CrowdedError: it has had its share.
        """
        with self._in(
            ("owner", caller.owner), self._room.of_owner, "Your owner has too many subscribers"
        ):
            if caller.subject is None:
                yield
                return
            person = ("subject", caller.owner, caller.subject)
            with self._in(person, self._room.of_subject, "You have too many subscriptions open"):
                yield

    @contextmanager
    def _in(self, group: _Group, most: int | None, refusal: str) -> Iterator[None]:
        if most is not None and self._present[group] >= most:
            message = f"{refusal}: at most {most}. Try again later."
            raise CrowdedError(message)
        self._present[group] += 1
        try:
            yield
        finally:
            self._present[group] -= 1
            if not self._present[group]:
                del self._present[group]
