"""What holds creating back while it fails: pauses that grow, and a state for all to see."""

import anyio

_PAUSES = (1.0, 2.0, 5.0, 15.0, 30.0)  # s between creates that fail one after another


class Breaker:
    """Counts failures in a row; creates that fail side by side count once."""

    def __init__(self) -> None:
        self._failures = 0
        self._failed_at = -1.0
        self._well = anyio.Event()
        self.reason = ""
        """Why the last create failed, if it did."""

    @property
    def is_open(self) -> bool:
        """Whether creating has failed so often that nobody had better count on it."""
        return self._failures >= len(_PAUSES)

    @property
    def pause(self) -> float:
        """Seconds until the next try."""
        return _PAUSES[min(self._failures, len(_PAUSES)) - 1] if self._failures else 0.0

    async def wait(self) -> None:
        """Wait before the next try, but no longer than until another one has gone well."""
        if self._failures:
            with anyio.move_on_after(self.pause):
                await self._well.wait()

    def failed(self, reason: str, *, began: float) -> None:
        """Note that a create has failed that began at that time."""
        self.reason = reason
        if began >= self._failed_at:
            self._failures += 1
            self._failed_at = anyio.current_time()

    def went_well(self) -> None:
        """Note that creating works, or is worth another try."""
        self._failures, self.reason = 0, ""
        self._well.set()
        self._well = anyio.Event()
