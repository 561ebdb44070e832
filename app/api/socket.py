"""GraphQL over WebSocket: the protocol graphql-transport-ws.

Theory of operation. One task reads messages; each operation is a task of its own beside it, with a
context of its own. Sending is the back-pressure: an operation whose client does not read waits
with its message in hand and asks for no other, and holds up nobody but the operations of the same
socket. Messages are handed over one by one, so what waits for a slow client is one message of each
operation. The server's WebSocket pings find clients that are gone (`serve.py`).

Source: https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import ExitStack, aclosing, suppress
from enum import IntEnum
from functools import partial
from typing import Any, NoReturn

import anyio
from anyio.abc import TaskGroup
from starlette.types import Message, Receive, Scope, Send

from app.api.context import Visit
from app.api.entrance import Entrance, said
from app.api.guards import failure, note
from app.api.operations import Operations, Result, is_request_error
from app.api.refusals import Code as ErrorCode
from app.api.refusals import error_of
from app.api.requests import BadRequestError, GraphQLRequest, read_json, read_operation
from app.api.streams import CrowdedError, Streams
from app.domain.access import Caller
from app.domain.errors import NotAdmitted, TooFast
from app.storage.errors import StorageError

SUBPROTOCOL = "graphql-transport-ws"
INIT_PATIENCE = 3.0  # s, until the client must have said hello; as in graphql-ws
MOST_OPERATIONS = 100  # of one socket at one time
MOST_ID = 256  # characters
_MOST_REASON = 120  # bytes; a control frame has 125


class Code(IntEnum):
    """Why we close a socket."""

    GOING_AWAY = 1001
    TRY_AGAIN_LATER = 1013
    BAD_REQUEST = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    SUBPROTOCOL_NOT_ACCEPTABLE = 4406
    INIT_TIMEOUT = 4408
    SUBSCRIBER_EXISTS = 4409
    TOO_MANY_INITS = 4429


class CloseError(Exception):
    """The client breaks the protocol: its socket is closed."""

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class GraphQLSocket:
    """Talks to one client at a time; an endpoint for Starlette's router."""

    def __init__(self, operations: Operations, streams: Streams, entrance: Entrance) -> None:
        self._operations, self._streams, self._entrance = operations, streams, entrance

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket to its end."""
        await receive()  # websocket.connect
        try:
            await self._entrance.knock(scope)
        except (TooFast, StorageError) as error:
            await _close(send, Code.TRY_AGAIN_LATER, str(error))
            return
        if SUBPROTOCOL not in scope["subprotocols"]:
            await send({"type": "websocket.accept"})
            await _close(send, Code.SUBPROTOCOL_NOT_ACCEPTABLE, "Subprotocol not acceptable")
            return
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        try:
            with self._streams.enter():
                greet = partial(self._entrance.greet, scope)
                talk = Conversation(
                    self._operations, self._entrance, self._streams, greet, receive, send
                )
                await talk.hold()
        except CrowdedError as error:
            await _close(send, Code.TRY_AGAIN_LATER, str(error))


class Conversation:
    """One client's messages and our answers."""

    def __init__(  # noqa: PLR0913 - a socket and all that is behind it
        self,
        operations: Operations,
        entrance: Entrance,
        streams: Streams,
        greet: Callable[[Mapping[str, Any]], Awaitable[Visit]],
        receive: Receive,
        send: Send,
    ) -> None:
        self._operations, self._receive, self._send = operations, receive, send
        self._entrance, self._streams, self._know = entrance, streams, greet
        self._share = ExitStack()
        self._visit: Visit | None = None
        self._running: dict[str, anyio.CancelScope] = {}
        self._turn = anyio.Lock()
        self._greeted = anyio.Event()

    async def hold(self) -> None:
        """Listen until the client leaves, breaks the protocol, or the server ends."""
        with self._share:
            await self._hold()

    async def _hold(self) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._expect_greeting)
                tasks.start_soon(self._until_stopped)
                await self._listen(tasks)
                tasks.cancel_scope.cancel()
        except* CloseError as group:
            error = group.exceptions[0]
            assert isinstance(error, CloseError)  # noqa: S101 - it can be nothing else
            await _close(self._send, error.code, error.reason)
        except* OSError:
            pass  # the client has gone away while we spoke

    async def _expect_greeting(self) -> None:
        with anyio.move_on_after(INIT_PATIENCE):
            await self._greeted.wait()
            return
        raise CloseError(Code.INIT_TIMEOUT, "Connection initialisation timeout")

    async def _until_stopped(self) -> None:
        await self._streams.stopped.wait()
        raise CloseError(Code.GOING_AWAY, "The server is about to stop")

    async def _listen(self, tasks: TaskGroup) -> None:
        while (message := await self._receive())["type"] == "websocket.receive":
            await self._hear(await self._read(message), tasks)

    async def _read(self, message: Message) -> dict[str, Any]:
        text = message.get("text")
        if text is None:
            _break("Messages must be text")
        try:
            content = await read_json(text.encode(), self._operations.lane)
        except BadRequestError as error:
            if error.code is ErrorCode.UNAVAILABLE:
                raise CloseError(Code.TRY_AGAIN_LATER, error.message) from error
            _break("Messages must be JSON")
        if not isinstance(content, dict):
            _break("Messages must be JSON objects")
        return content

    async def _hear(self, message: dict[str, Any], tasks: TaskGroup) -> None:
        match message.get("type"):
            case "connection_init":
                await self._greet(message, tasks)
            case "ping":
                await self._say({"type": "pong"} | _payload(message))
            case "pong":
                _payload(message)
            case "subscribe":
                self._begin(message, tasks)
            case "complete":
                self._end(_id(message))
            case kind:
                _break(f"Unknown message type {json.dumps(kind)[:50]}")

    async def _greet(self, message: Mapping[str, Any], tasks: TaskGroup) -> None:
        payload = _payload(message).get("payload", {})
        if self._greeted.is_set():
            raise CloseError(Code.TOO_MANY_INITS, "Too many initialisation requests")
        self._greeted.set()
        try:
            visit = await self._know(payload)
            self._share.enter_context(self._streams.belong(visit.caller))
        except (TooFast, CrowdedError) as error:
            raise CloseError(Code.TRY_AGAIN_LATER, str(error)) from error
        except NotAdmitted as error:
            raise CloseError(Code.FORBIDDEN, str(error)) from error
        except StorageError as error:
            note(error)
            raise CloseError(Code.TRY_AGAIN_LATER, "Keys cannot be looked at now") from error
        self._visit = visit
        tasks.start_soon(self._until_shut_out, visit.caller)
        await self._say({"type": "connection_ack"})

    async def _until_shut_out(self, caller: Caller) -> None:
        reason = await self._entrance.doorkeeper.until_shut_out(caller)
        raise CloseError(Code.FORBIDDEN, reason)

    def _begin(self, message: Mapping[str, Any], tasks: TaskGroup) -> None:
        if self._visit is None:
            raise CloseError(Code.UNAUTHORIZED, "Unauthorized")
        id, asked = _id(message), _asked(message)
        if id in self._running:
            raise CloseError(Code.SUBSCRIBER_EXISTS, f"Subscriber for {id} already exists")
        if len(self._running) >= MOST_OPERATIONS:
            text = f"At most {MOST_OPERATIONS} operations can run on one socket."
            error = error_of(ErrorCode.TOO_MANY_OPERATIONS, text)
            tasks.start_soon(self._say, {"type": "error", "id": id, "payload": [error]})
            return
        self._running[id] = scope = anyio.CancelScope()
        tasks.start_soon(self._run, id, asked, self._visit, scope)

    def _end(self, id: str) -> None:
        # Forgotten at once: the client may use the id again before the task has ended.
        if scope := self._running.pop(id, None):
            scope.cancel()

    async def _run(
        self, id: str, asked: GraphQLRequest, visit: Visit, scope: anyio.CancelScope
    ) -> None:
        last: dict[str, Any] = {"type": "complete", "id": id}
        with scope:
            async with aclosing(self._counted(asked, visit)) as results:
                async for result in results:
                    if is_request_error(result):
                        last = {"type": "error", "id": id, "payload": result["errors"]}
                        break
                    await self._say({"type": "next", "id": id, "payload": result})
            # In this order: whoever has heard of the end may use the id again.
            if self._running.get(id) is scope:
                del self._running[id]
            await self._say(last)

    async def _counted(self, asked: GraphQLRequest, visit: Visit) -> AsyncGenerator[Result, None]:
        try:
            await self._entrance.count(visit)
        except TooFast as error:
            yield {"errors": [said(error)]}
            return
        except StorageError as error:
            yield {"errors": [failure(error)]}
            return
        async with aclosing(self._operations.stream(asked, visit)) as results:
            async for result in results:
                yield result

    async def _say(self, message: Result) -> None:
        text = json.dumps(message, separators=(",", ":"))
        async with self._turn:
            await self._send({"type": "websocket.send", "text": text})


def _payload(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return what came as `payload`, to be sent back."""
    payload = message.get("payload")
    if payload is None:
        return {}
    if not isinstance(payload, dict):
        _break("`payload` must be an object")
    return {"payload": payload}


def _id(message: Mapping[str, Any]) -> str:
    id = message.get("id")
    if not isinstance(id, str) or not 0 < len(id) <= MOST_ID:
        _break(f"`id` must be a string of 1 to {MOST_ID} characters")
    return id


def _asked(message: Mapping[str, Any]) -> GraphQLRequest:
    payload = message.get("payload")
    if not isinstance(payload, dict):
        _break("`payload` must be an object")
    try:
        return read_operation(payload)
    except BadRequestError as error:
        _break(error.message)


def _break(reason: str) -> NoReturn:
    raise CloseError(Code.BAD_REQUEST, reason)


async def _close(send: Send, code: Code, reason: str) -> None:
    short = reason.encode(errors="replace")[:_MOST_REASON].decode(errors="ignore")
    with suppress(OSError):  # it is closed
        await send({"type": "websocket.close", "code": int(code), "reason": short})
