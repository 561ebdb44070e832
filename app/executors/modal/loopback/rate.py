"""How fast boxes may be created, as Modal limits it."""

import time
from dataclasses import dataclass

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2


@dataclass(slots=True)
class Rate:
    """A bucket of tokens that fills at a steady pace."""

    per_second: float
    burst: float = 1.0
    with_policy: bool = False
    """Whether the refusal says when to try again; Modal's client then waits by itself."""
    _left: float | None = None
    _looked: float = 0.0

    def take(self) -> None:
        """Take one token.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED: there is none.
        """
        now = time.monotonic()
        left = self.burst if self._left is None else self._left
        self._left = min(self.burst, left + (now - self._looked) * self.per_second)
        self._looked = now
        if self._left < 1:
            wait = (1 - self._left) / self.per_second
            raise GRPCError(
                Status.RESOURCE_EXHAUSTED,
                f"Sandbox creation rate limit ({self.per_second:g}/s) exceeded",
                [api_pb2.RPCRetryPolicy(retry_after_secs=wait)] if self.with_policy else None,
            )
        self._left -= 1
