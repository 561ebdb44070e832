"""Each request has an id and leaves one line in the log."""

import logging
import re
import time
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

log = logging.getLogger(__name__)

HEADER = "X-Request-Id"
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@=+/-]{0,99}")
# They are asked every few seconds, by machines.
_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_LONGEST_PATH = 200  # characters


class RequestLog:
    """Gives each request its id, returns it, and logs what became of the request.

    An id that a client or a proxy has given is kept if it looks like one, so that one can follow
    a request through both logs. The line never has what is behind a `?`: there stand programs.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log its end."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, _id_of(scope))
        began = time.monotonic()
        with bound_contextvars(request_id=answer.id):
            try:
                await self._app(scope, receive, answer.send)
            finally:
                _log(scope, answer.status, time.monotonic() - began)


class _Answer:
    """Notes the status on its way out, and adds the id."""

    def __init__(self, send: Send, id: str) -> None:
        self.id, self.status = id, 0
        self._send = send

    async def send(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start":
                self.status = int(message["status"])
                MutableHeaders(scope=message)[HEADER] = self.id
            case "websocket.accept":
                message.setdefault("headers", [])
                self.status = 101
                MutableHeaders(scope=message)[HEADER] = self.id
            case "websocket.close" if not self.status:
                self.status = 403
        await self._send(message)


def _id_of(scope: Scope) -> str:
    given = Headers(scope=scope).get(HEADER, "")
    return given if _SANE.fullmatch(given) else uuid4().hex


def _log(scope: Scope, status: int, seconds: float) -> None:
    path = scope["path"]
    log.log(
        logging.DEBUG if path in _PROBES else logging.INFO,
        "request",
        extra={
            "method": scope.get("method", "WEBSOCKET"),
            "path": path[:_LONGEST_PATH],
            "status": status,
            "ms": round(seconds * 1000, 1),
        },
    )
