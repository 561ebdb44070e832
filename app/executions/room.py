"""Bounded admission: so many programs run, so many wait, and nobody else comes in."""

import time
from dataclasses import dataclass

import anyio

from app.domain.errors import Rejected, ServerBusy

_FIRST_GUESS = 0.1  # s a run takes, before any has been seen
_WEIGHT = 0.2  # of the newest run in the moving average


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """How full the room is."""

    slots: int
    running: int
    queue_size: int
    queued: int


class Room:
    """Slots for running programs and a bounded queue before them, first come first served."""

    def __init__(self, *, slots: int, queue_size: int) -> None:
        self._slots, self._queue_size = slots, queue_size
        self._free = anyio.Semaphore(slots, max_value=slots)
        self._inside = 0
        self._typical_run = _FIRST_GUESS

    def enter(self) -> "Place":
        """Take a place: a slot when one is free, otherwise a place in the queue.

        Raises:
            Rejected: the queue is full.
        """
        if self._inside >= self._slots + self._queue_size:
            raise Rejected(self._busy())
        self._inside += 1
        return Place(self)

    def occupancy(self) -> Occupancy:
        """Count who is here."""
        running = self._slots - self._free.value
        return Occupancy(
            slots=self._slots,
            running=running,
            queue_size=self._queue_size,
            queued=self._inside - running,
        )

    def _busy(self) -> ServerBusy:
        wait = self._typical_run * self._queue_size / self._slots
        return ServerBusy(
            path=(),
            message=f"All {self._slots} slots are taken and {self._queue_size} executions wait. "
            "Try again later.",
            retry_after=max(wait, _FIRST_GUESS),
        )

    def _try_take(self) -> bool:
        try:
            self._free.acquire_nowait()
        except anyio.WouldBlock:
            return False
        return True

    async def _take(self) -> None:
        await self._free.acquire()

    def _leave(self, *, ran_for: float | None) -> None:
        self._inside -= 1
        if ran_for is not None:
            self._free.release()
            self._typical_run += _WEIGHT * (ran_for - self._typical_run)


class Place:
    """One execution's place in the room; it must be left exactly once."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._since = time.monotonic() if room._try_take() else None  # noqa: SLF001

    @property
    def has_slot(self) -> bool:
        """Whether the program may run now."""
        return self._since is not None

    async def wait(self) -> None:
        """Wait for a slot."""
        if not self.has_slot:
            await self._room._take()  # noqa: SLF001
            self._since = time.monotonic()

    def leave(self) -> None:
        """Give the place, and the slot if there is one, to the next."""
        ran_for = None if self._since is None else time.monotonic() - self._since
        self._room._leave(ran_for=ran_for)  # noqa: SLF001
