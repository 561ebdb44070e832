"""Who may knock: checks of Host and Origin before anything else is read."""

import json
import re
from collections.abc import Iterable
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?"
"""A frontend that is being developed on this machine."""
_PORT = re.compile(r":\d{1,5}$")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # The page has a policy of its own; nothing else of ours is to be shown by a browser.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_ENCRYPTED = {"Strict-Transport-Security": "max-age=31536000"}


class Doors:
    """Lets in requests for a host that we are, from origins that we trust.

    Without the first check a page elsewhere could rebind its name to this address and read;
    without the second it could send what needs no answer. Both hold for WebSocket too, which
    no browser protects by itself.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Iterable[str], origins: Iterable[str], local_origins: bool
    ) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)
        self._local_origins = re.compile(LOCAL_ORIGIN if local_origins else r"(?!)")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(Headers(scope=scope), scope["scheme"])
        if refusal is None:
            await self._app(scope, receive, _with_headers(send, scope["scheme"]))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1]})
        else:
            await _refuse(send, *refusal)

    def _refusal(self, headers: Headers, scheme: str) -> tuple[HTTPStatus, str] | None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or _PORT.sub("", host).lower() not in self._hosts:
            message = f"This server is not known as `{host[:100]}`; see GREENROOM_ALLOWED_HOSTS."
            return HTTPStatus.MISDIRECTED_REQUEST, message
        origin = headers.get("origin")
        scheme = {"ws": "http", "wss": "https"}.get(scheme, scheme)
        if origin is None:
            return _CROSS_SITE if _is_hidden_cross_site(headers) else None
        if origin == f"{scheme}://{host}" or self._trusts(origin):
            return None
        message = f"Pages of `{origin[:100]}` may not ask here; see GREENROOM_CORS_ORIGINS."
        return HTTPStatus.FORBIDDEN, message

    def _trusts(self, origin: str) -> bool:
        return origin in self._origins or bool(self._local_origins.fullmatch(origin))


_CROSS_SITE = (
    HTTPStatus.FORBIDDEN,
    "Pages elsewhere may not ask here; see GREENROOM_CORS_ORIGINS.",
)


def _is_hidden_cross_site(headers: Headers) -> bool:
    """Whether a page elsewhere asks without its user's knowledge, as an `<img>` does.

    Such a GET has no Origin. A link that somebody follows is no harm: who follows it sees it.
    """
    site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
    return site in {"cross-site", "same-site"} and mode != "navigate"


def _with_headers(send: Send, scheme: str) -> Send:
    protecting = _HEADERS | (_ENCRYPTED if scheme == "https" else {})

    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in protecting.items():
                headers.setdefault(name, value)
        await send(message)

    return sender


async def _refuse(send: Send, status: HTTPStatus, message: str) -> None:
    error = {"message": message, "extensions": {"code": status.name}}
    body = json.dumps({"errors": [error]}).encode()
    headers = {**_HEADERS, "Content-Type": "application/json; charset=utf-8", "Connection": "close"}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": int(status), "headers": encoded})
    await send({"type": "http.response.body", "body": body})
