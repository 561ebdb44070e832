"""Where work that keeps everybody waiting is done: one piece after the other, with pauses."""

import time
from collections.abc import Callable
from typing import TypeVar

import anyio

T = TypeVar("T")

MOST_WAITING = 100
_REST = 3  # times as long as a piece of work took


class LaneFullError(Exception):
    """Too many wait."""

    def __init__(self) -> None:
        super().__init__("Too many new documents and large bodies wait; try again.")


class Lane:
    """Lets others have three quarters of the time, however many want something of the kind."""

    def __init__(self) -> None:
        self._turn, self._waiting, self._pause_ends = anyio.Lock(), 0, 0.0

    async def do(self, work: Callable[[], T]) -> T:
        """Do a piece of work when it is its turn.

        Raises:
            LaneFullError: too many wait.
        """
        if self._waiting >= MOST_WAITING:
            raise LaneFullError
        self._waiting += 1
        try:
            async with self._turn:
                await anyio.sleep(max(0, self._pause_ends - time.monotonic()))
                return self._work(work)
        finally:
            self._waiting -= 1

    def _work(self, work: Callable[[], T]) -> T:
        began = time.monotonic()
        try:
            return work()
        finally:
            ended = time.monotonic()
            self._pause_ends = ended + _REST * (ended - began)
