"""The switchboard: which calls fail, how, and how often."""

import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import anyio
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream
from modal_proto import api_pb2

How = Literal["error", "reset"]
AFTER = ":after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens instead of an answer. Times in seconds."""

    status: Status | None = None
    """The error; without one (and without a reset) the call is only delayed."""
    message: str = "injected"
    delay: float = 0.0
    times: int | None = 1
    """How often; none is for ever."""
    retry_after: float | None = None
    """Sent along as Modal's retry policy."""
    after_bytes: int | None = None
    """For streams: cut this far into the data of one stream."""
    how: How = "error"

    def error(self) -> GRPCError | None:
        """Return what is to be raised, if anything is."""
        if self.status is None:
            return None
        details = None
        if self.retry_after is not None:
            details = [api_pb2.RPCRetryPolicy(retry_after_secs=self.retry_after)]
        return GRPCError(self.status, self.message, details)


class Faults:
    """The faults that are set, by the name of the call: `SandboxCreateV2`.

    With `:after` behind the name the call has its effect and only the answer is lost.
    """

    def __init__(self) -> None:
        self._set: dict[str, Fault] = {}

    def set(  # noqa: PLR0913 - a switchboard
        self,
        name: str,
        *,
        status: Status | int | None = None,
        message: str = "injected",
        delay: float = 0.0,
        times: int | None = 1,
        retry_after: float | None = None,
        after_bytes: int | None = None,
        how: How = "error",
    ) -> None:
        """Let the next `times` calls of `name` fail (none: all)."""
        if status is None and how == "error" and not delay:
            status = Status.UNAVAILABLE
        self._set[name] = Fault(
            status=None if status is None else Status(status),
            message=message,
            delay=delay,
            times=times,
            retry_after=retry_after,
            after_bytes=after_bytes,
            how=how,
        )

    def clear(self, name: str | None = None) -> None:
        """Let calls of `name`, or all, succeed again."""
        if name is None:
            self._set.clear()
        else:
            self._set.pop(name, None)

    def pending(self) -> Mapping[str, Fault]:
        """Return what has not happened yet."""
        return dict(self._set)

    async def strike(self, name: str, stream: Stream[Any, Any]) -> None:
        """Do what is set for the beginning of a call, or for its answer.

        Raises:
            GRPCError: the fault.
        """
        if (fault := self._set.get(name)) and fault.after_bytes is None:
            self._use(name, fault)
            await _happen(fault, stream)

    def cut(self, name: str, sent: int) -> int | None:
        """Return how many bytes more a stream may send before it is cut."""
        fault = self._set.get(name)
        if fault is None or fault.after_bytes is None:
            return None
        return max(0, fault.after_bytes - sent)

    async def strike_stream(self, name: str, stream: Stream[Any, Any]) -> None:
        """Cut a stream.

        Raises:
            GRPCError: the fault.
        """
        if fault := self._set.get(name):
            self._use(name, fault)
            await _happen(fault, stream)

    def _use(self, name: str, fault: Fault) -> None:
        if fault.times is None:
            return
        if fault.times <= 1:
            del self._set[name]
        else:
            self._set[name] = replace(fault, times=fault.times - 1)


async def _happen(fault: Fault, stream: Stream[Any, Any]) -> None:
    if fault.delay:
        await anyio.sleep(fault.delay)
    if fault.how == "reset":
        reset(stream)
    if (error := fault.error()) is not None:
        raise error


def reset(stream: Stream[Any, Any]) -> None:
    """Break the TCP connection with an RST, in the middle of whatever it carries."""
    transport = stream._stream._transport  # noqa: SLF001 - grpclib has no other way
    descriptor = os.dup(transport.get_extra_info("socket").fileno())
    # Linger for zero seconds: the kernel then drops what is queued and resets.
    with socket.socket(fileno=descriptor) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
