"""So many programs run at one time in this process."""

import time
from collections.abc import Callable
from dataclasses import dataclass

_FIRST_GUESS = 0.1  # s a run takes, before any has been seen
_WEIGHT = 0.2  # of the newest run in the moving average


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """How full this process is, and how many may wait."""

    slots: int
    running: int
    queue_size: int


class Slots:
    """Places for running programs; whoever takes some gives each back once."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken = 0
        self.typical_run = _FIRST_GUESS
        """Seconds: a moving average."""

    def take(self, wanted: int) -> int:
        """Take as many as are free, but not more than wanted; return how many these are."""
        got = max(0, min(wanted, self.count - self.taken))
        self.taken += got
        return got

    def give_back(self, count: int) -> None:
        """Give back what was not needed."""
        self.taken -= count

    def occupy(self) -> Callable[[], None]:
        """Begin a run in a place that was taken; return what ends it."""
        since = time.monotonic()

        def leave() -> None:
            self.typical_run += _WEIGHT * (time.monotonic() - since - self.typical_run)
            self.taken -= 1

        return leave
