"""Responses that go on: Server-Sent Events, and Apollo's multipart subscriptions.

Sources: https://github.com/enisdenjo/graphql-sse/blob/master/PROTOCOL.md (distinct connections);
https://www.apollographql.com/docs/graphos/routing/operations/subscriptions/multipart-protocol
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Protocol

import anyio
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from app.api.operations import Result, is_request_error
from app.api.refusals import Code, error_of
from app.api.requests import EVENT_STREAM_TYPE, MULTIPART_TYPE
from app.api.streams import CrowdedError, Streams
from app.domain.access import Caller

_PATIENCE = 5.0  # s, for the last word
HEARTBEAT = 12.0  # s; proxies hang up after 30 or 60 s of silence


class Framing(Protocol):
    """How results are written one after the other."""

    media_type: str
    beginning: bytes
    heartbeat: bytes
    end: bytes

    def frame(self, result: Result) -> bytes:
        """Write one result."""


class EventStream:
    """Server-Sent Events. Lines end in LF: some clients look for two of them."""

    media_type = "text/event-stream; charset=utf-8"
    beginning = b":\n\n"  # so that headers arrive at once
    heartbeat = b":\n\n"
    end = b"event: complete\ndata:\n\n"

    def frame(self, result: Result) -> bytes:
        """Write one result."""
        return b"event: next\ndata: %b\n\n" % _json(result)


class Multipart:
    """Parts of JSON, with a boundary before each."""

    media_type = 'multipart/mixed; boundary="graphql"; subscriptionSpec="1.0"'
    beginning = b"\r\n--graphql"
    heartbeat = b"\r\nContent-Type: application/json\r\n\r\n{}\r\n--graphql"
    end = b"--\r\n"

    def frame(self, result: Result) -> bytes:
        """Write one result; what ends the stream stands beside the payload."""
        fatal = is_request_error(result)
        body = {"payload": None, **result} if fatal else {"payload": result}
        return b"\r\nContent-Type: application/json\r\n\r\n%b\r\n--graphql" % _json(body)


FRAMINGS: Mapping[str, Framing] = {
    EVENT_STREAM_TYPE: EventStream(),
    MULTIPART_TYPE: Multipart(),
}


class StreamedResponse(Response):
    """Sends each result as it comes; ends with the operation, the client, or the server."""

    def __init__(
        self,
        framing: Framing,
        results: AsyncGenerator[Result, None],
        streams: Streams,
        caller: Caller,
        until_shut_out: Callable[[Caller], Awaitable[object]],
    ) -> None:
        headers = {
            "Vary": "Accept",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",  # nginx would keep results until it has enough of them
        }
        super().__init__(headers=headers)
        self.headers["Content-Type"] = framing.media_type
        del self.headers["Content-Length"]
        self._framing, self._results, self._streams = framing, results, streams
        self._caller, self._until_shut_out = caller, until_shut_out
        self._turn = anyio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, if there is room."""
        try:
            with self._streams.enter(), self._streams.belong(self._caller):
                await self._send(receive, send)
        except CrowdedError as error:
            await _refuse(error, scope, receive, send)

    async def _send(self, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        async with anyio.create_task_group() as tasks, aclosing(self._results) as results:
            await send(start)
            tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
            tasks.start_soon(_then_cancel, self._streams.stopped.wait, tasks.cancel_scope)
            is_over = partial(self._until_shut_out, self._caller)
            tasks.start_soon(_then_cancel, is_over, tasks.cancel_scope)
            await self._write(send, self._framing.beginning)
            tasks.start_soon(self._beat, send)
            async for result in results:
                await self._write(send, self._framing.frame(result))
            await self._write(send, self._framing.end)
            tasks.cancel_scope.cancel()
        # Who reads nothing more keeps no place: the server closes what is left unfinished.
        with anyio.move_on_after(_PATIENCE):
            await send({"type": "http.response.body", "body": b""})

    async def _write(self, send: Send, data: bytes) -> None:
        async with self._turn:
            await send({"type": "http.response.body", "body": data, "more_body": True})

    async def _beat(self, send: Send) -> None:
        while True:
            await anyio.sleep(HEARTBEAT)
            await self._write(send, self._framing.heartbeat)


async def _then_cancel(wait: Callable[[], Awaitable[object]], scope: anyio.CancelScope) -> None:
    await wait()
    scope.cancel()


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _refuse(error: CrowdedError, scope: Scope, receive: Receive, send: Send) -> None:
    body = {"errors": [error_of(Code.TOO_MANY_SUBSCRIBERS, str(error))]}
    headers = {"Retry-After": "5", "Cache-Control": "no-store"}
    await JSONResponse(body, status_code=503, headers=headers)(scope, receive, send)


def _json(body: Result) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
