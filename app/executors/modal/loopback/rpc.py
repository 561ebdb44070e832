"""From a gRPC call to a method and back, past the door, the counters and the faults."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.const import Status as Code
from grpclib.events import RecvRequest
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from app.executors.modal.loopback.faults import AFTER, Faults
from app.executors.modal.loopback.proto import (
    GetMessageClass,
    Message,
    MethodDescriptor,
    ServiceDescriptor,
)
from app.executors.modal.loopback.state import State
from app.executors.modal.loopback.tokens import Tokens

log = logging.getLogger(__name__)

Unary = Callable[[Any, Mapping[str, Any]], Awaitable[Message]]
"""Takes the request and the call's metadata."""
Streaming = Callable[[Any, Mapping[str, Any]], AsyncIterator[Any]]
_CARDINALITIES = {
    (False, False): Cardinality.UNARY_UNARY,
    (False, True): Cardinality.UNARY_STREAM,
    (True, False): Cardinality.STREAM_UNARY,
    (True, True): Cardinality.STREAM_STREAM,
}


@dataclass(frozen=True, slots=True)
class Service:
    """A gRPC service of which some methods are there; the others answer UNIMPLEMENTED.

    It is made from the descriptor: Modal's service has hundreds of methods, and an abstract
    base class would want each of them.
    """

    descriptor: ServiceDescriptor
    unary: Mapping[str, Unary]
    streaming: Mapping[str, Streaming]
    state: State
    faults: Faults

    def __mapping__(self) -> dict[str, Handler]:
        """Return what grpclib calls by path."""
        return {
            f"/{self.descriptor.full_name}/{method.name}": self._handler(method)
            for method in self.descriptor.methods
        }

    def _handler(self, method: MethodDescriptor) -> Handler:
        async def handle(stream: Stream[Any, Any]) -> None:
            await self._handle(method.name, stream)

        return Handler(
            handle,
            _CARDINALITIES[method.client_streaming, method.server_streaming],
            GetMessageClass(method.input_type),
            GetMessageClass(method.output_type),
        )

    async def _handle(self, name: str, stream: Stream[Any, Any]) -> None:
        await self.faults.strike(name, stream)
        if name in self.unary:
            await self._answer(name, stream)
        elif name in self.streaming:
            await self._stream(name, stream)
        else:
            self.state.unimplemented.append(name)
            log.warning("a call that the loopback server does not know", extra={"rpc": name})
            raise GRPCError(Code.UNIMPLEMENTED, f"the loopback server has no {name}")

    async def _answer(self, name: str, stream: Stream[Any, Any]) -> None:
        answer = await self.unary[name](await stream.recv_message(), stream.metadata or {})
        await self.faults.strike(f"{name}{AFTER}", stream)
        await stream.send_message(answer)

    async def _stream(self, name: str, stream: Stream[Any, Any]) -> None:
        sent = 0
        request = await stream.recv_message()
        async for message in self.streaming[name](request, stream.metadata or {}):
            data = getattr(message, "data", b"")
            left = self.faults.cut(name, sent)
            if left is not None and 0 < left < len(data):
                await stream.send_message(type(message)(data=data[:left]))
                message.data = data[left:]
            if left is not None and left < len(data):
                await self.faults.strike_stream(name, stream)
            await stream.send_message(message)
            sent += len(data)


def door(tokens: Tokens, state: State) -> Callable[[RecvRequest], Coroutine[Any, Any, None]]:
    """Return the listener that counts every call and lets only known callers in."""

    async def on_request(event: RecvRequest) -> None:
        state.rpcs[event.method_name.rpartition("/")[2]] += 1
        tokens.check(event.method_name, event.metadata)

    return on_request
