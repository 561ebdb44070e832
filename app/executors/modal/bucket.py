"""How fast boxes may be created: a token bucket that learns from being refused."""

import anyio

_SLOWER = 0.5  # of the rate, when Modal says that it is too fast
_FASTER = 1.05  # of the rate, for each create that went well
_SLOWEST = 0.1  # creates a second; below that nothing would ever be learnt


class Bucket:
    """Allows `rate` creates a second, and bursts of `burst`.

    Refused, it halves its rate; each success brings it back a little, up to where it began. What
    was allowed before it slowed down may be refused as well, and teaches nothing new: one burst
    is one lesson.
    """

    def __init__(self, *, rate: float, burst: int) -> None:
        self._highest, self._burst = rate, burst
        self.rate = rate
        """Creates a second that are allowed now."""
        self._tokens = float(burst)
        self._at = anyio.current_time()
        self._turn = anyio.Lock()
        self._lessons = 0

    async def take(self) -> int:
        """Wait, in turn, until one more may be created; return what `was_refused` wants."""
        async with self._turn:
            self._fill()
            while self._tokens < 1:
                await anyio.sleep((1 - self._tokens) / self.rate)
                self._fill()
            self._tokens -= 1
        return self._lessons

    def wait_for(self, count: int) -> float:
        """Return in how many seconds so many could have been taken."""
        self._fill()
        return max(0.0, count - self._tokens) / self.rate

    def went_well(self) -> None:
        """Learn from a success."""
        self._fill()
        self.rate = min(self._highest, self.rate * _FASTER)

    def was_refused(self, taken: int) -> None:
        """Learn from the refusal of a create; `taken` is what `take` returned for it."""
        if taken != self._lessons:
            return
        self._fill()
        self._lessons += 1
        self.rate = max(_SLOWEST, self.rate * _SLOWER)
        self._tokens = min(self._tokens, 0.0)

    def _fill(self) -> None:
        now = anyio.current_time()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
