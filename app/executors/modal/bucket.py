"""How fast boxes may be created: a token bucket that learns from being refused."""

import anyio

_SLOWER = 0.5  # of the rate, when Modal says that it is too fast
_FASTER = 1.05  # of the rate, for each create that went well
_SLOWEST = 0.1  # creates a second; below that nothing would ever be learnt


class Bucket:
    """Allows `rate` creates a second, and bursts of `burst`.

    Refused, it halves its rate; each success brings it back a little, up to where it began.
    """

    def __init__(self, *, rate: float, burst: int) -> None:
        self._highest, self._burst = rate, burst
        self.rate = rate
        """Creates a second that are allowed now."""
        self._tokens = float(burst)
        self._at = anyio.current_time()

    async def take(self) -> None:
        """Wait until one more may be created."""
        self._fill()
        self._tokens -= 1
        if self._tokens < 0:
            await anyio.sleep(-self._tokens / self.rate)

    def went_well(self) -> None:
        """Learn from a success."""
        self.rate = min(self._highest, self.rate * _FASTER)

    def was_refused(self) -> None:
        """Learn from a refusal."""
        self.rate = max(_SLOWEST, self.rate * _SLOWER)
        self._tokens = min(self._tokens, 0.0)

    def _fill(self) -> None:
        now = anyio.current_time()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
