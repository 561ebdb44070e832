"""How many subscribers there are, and the moment when they must go."""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio


class Streams:
    """The connections of subscribers: sockets and responses that go on."""

    def __init__(self, most: int) -> None:
        self.stopped = anyio.Event()
        """Set when the server ends, and programs have ended."""
        self._most, self._count = most, 0

    @contextmanager
    def enter(self) -> Iterator[bool]:
        """Tell whether there is room, and take it for the time of the block."""
        has_room = self._count < self._most
        self._count += has_room
        try:
            yield has_room
        finally:
            self._count -= has_room
