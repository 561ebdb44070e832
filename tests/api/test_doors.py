"""Who may ask: hosts that we are, origins that we trust, over HTTP and WebSocket."""

from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from app.main import create_app, open_services

from .client import JSON
from .conftest import client_of, settings_of
from .fake import FakeExecutor

QUERY = {"query": "{ __typename }"}
FRONTEND = "https://frontend.example"


@pytest.fixture
async def app(database: Path) -> AsyncIterator[FastAPI]:
    settings = settings_of(database_url=f"sqlite:///{database}", cors_origins=(FRONTEND,))
    async with open_services(settings, lambda *_: nullcontext(FakeExecutor())) as services:
        yield create_app(settings, services)


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as api:
        yield api.http


async def ask(http: httpx.AsyncClient, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post("/graphql", json=QUERY, headers=names)


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8000", "LOCALHOST:1"),
        *("127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:8000"),
    ],
)
async def test_a_host_that_we_are(http: httpx.AsyncClient, host: str) -> None:
    assert (await ask(http, host=host)).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "rebound.example",
        "rebound.example:8000",
        "localhost.rebound.example",
        "127.0.0.1.rebound.example",
        "localhost@rebound.example",
        "localhost:8000:8000",
        "localhost:",
        "localhost:x",
        "localhost:123456",
        "127.0.0.2",
        "[::2]",
        "::1",
        "0.0.0.0:8000",
        "x" * 1000,
    ],
)
async def test_a_host_that_we_are_not(http: httpx.AsyncClient, host: str) -> None:
    response = await ask(http, host=host)
    assert response.status_code == 421
    [error] = response.json()["errors"]
    assert "GREENROOM_ALLOWED_HOSTS" in error["message"]
    assert len(error["message"]) < 250
    assert (await http.get("/healthz", headers={"Host": host})).status_code == 421


async def test_two_hosts_are_none(app: FastAPI) -> None:
    headers = [(b"host", b"localhost"), (b"host", b"localhost")]
    [start, _] = await asgi(app, http_scope(headers))
    assert start["status"] == 421
    [start, _] = await asgi(app, http_scope([]))
    assert start["status"] == 421


TRUSTED = [
    "http://localhost:8000",
    "http://localhost:3000",
    "https://localhost",
    "http://127.0.0.1:5173",
    "http://[::1]:3000",
    FRONTEND,
]
FOREIGN = [
    "https://evil.example",
    "null",
    "",
    "http://localhost.evil.example",
    "http://localhost:3000.evil.example",
    "http://evil.example/http://localhost",
    "http://localhost@evil.example",
    "http://localhost:3000/",
    "http://localhost\thttp://evil.example",
    "ftp://localhost",
    "file://",
    f"{FRONTEND}:8443",
    FRONTEND.replace("https", "http"),
    FRONTEND.upper(),
    f"{FRONTEND}, http://localhost",
]


@pytest.mark.parametrize("origin", TRUSTED)
async def test_an_origin_that_we_trust_may_ask_and_read(
    http: httpx.AsyncClient, origin: str
) -> None:
    response = await ask(http, origin=origin)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert "Origin" in response.headers["vary"]
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_origin_is_refused(http: httpx.AsyncClient, origin: str) -> None:
    for response in (
        await ask(http, origin=origin),
        await http.get("/graphql", params=QUERY, headers={"Origin": origin}),
        await http.options("/graphql", headers=preflight(origin)),
    ):
        assert response.status_code == 403
        assert "access-control-allow-origin" not in response.headers
        assert "GREENROOM_CORS_ORIGINS" in response.json()["errors"][0]["message"]


def preflight(origin: str) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,authorization,apollo-require-preflight",
    }


@pytest.mark.parametrize("origin", ["http://localhost:3000", FRONTEND])
async def test_a_browser_may_ask_first(http: httpx.AsyncClient, origin: str) -> None:
    response = await http.options("/graphql", headers=preflight(origin))
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == origin
    assert "POST" in response.headers["access-control-allow-methods"]
    allowed = response.headers["access-control-allow-headers"].lower()
    assert all(name in allowed for name in ("content-type", "authorization"))


async def test_a_browser_may_not_send_what_it_likes(http: httpx.AsyncClient) -> None:
    headers = preflight(FRONTEND) | {"Access-Control-Request-Headers": "x-anything"}
    assert (await http.options("/graphql", headers=headers)).status_code == 400


async def test_localhost_can_be_shut_out(database: Path) -> None:
    settings = settings_of(database_url=f"sqlite:///{database}", cors_localhost=False)
    async with (
        open_services(settings, lambda *_: nullcontext(FakeExecutor())) as services,
        client_of(create_app(settings, services)) as api,
    ):
        assert (await ask(api.http, origin="http://localhost:3000")).status_code == 403
        assert (await ask(api.http, origin="http://localhost:8000")).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_picture_on_a_page_elsewhere_does_not_query(
    http: httpx.AsyncClient, site: str
) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    response = await http.get("/graphql", params=QUERY, headers=headers)
    assert response.status_code == 403
    assert response.json()["errors"][0]["extensions"] == {"code": "FORBIDDEN"}


@pytest.mark.parametrize(
    ("site", "mode"),
    [("same-origin", "cors"), ("none", "navigate"), ("cross-site", "navigate")],
)
async def test_who_follows_a_link_here_may_come(
    http: httpx.AsyncClient, site: str, mode: str
) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
    assert (await http.get("/graphql", params=QUERY, headers=headers)).status_code == 200


async def test_a_frontend_that_we_trust_is_cross_site_and_may_ask(http: httpx.AsyncClient) -> None:
    response = await ask(http, origin=FRONTEND, sec_fetch_site="cross-site", sec_fetch_mode="cors")
    assert response.status_code == 200


SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}


@pytest.mark.parametrize("path", ["/graphql", "/healthz", "/readyz", "/nothing", "/graphiql/x.js"])
@pytest.mark.parametrize("host", ["localhost", "rebound.example"])
async def test_every_answer_has_the_headers_that_protect(
    http: httpx.AsyncClient, path: str, host: str
) -> None:
    headers = (await http.get(path, headers={"Host": host})).headers
    assert {name: headers[name] for name in SECURITY} == SECURITY
    assert "server" not in headers
    assert "strict-transport-security" not in headers


@pytest.mark.parametrize(
    ("proxies", "proto", "is_ours"),
    [
        ((), "https", False),
        (("10.0.0.1", "192.168.0.0/16"), "https", False),
        (("127.0.0.1",), "http", False),
        (("127.0.0.1",), "nonsense", False),
        (("127.0.0.1",), "https", True),
        (("10.0.0.1", "127.0.0.0/8"), "https", True),
    ],
)
async def test_only_a_trusted_proxy_says_how_it_was_asked(
    database: Path,
    proxies: tuple[str, ...],
    proto: str,
    is_ours: bool,  # noqa: FBT001
) -> None:
    settings = settings_of(
        database_url=f"sqlite:///{database}",
        allowed_hosts=("greenroom.example",),
        trusted_proxies=proxies,
    )
    headers = {
        "host": "greenroom.example",
        "origin": "https://greenroom.example",
        "x_forwarded_proto": proto,
    }
    async with (
        open_services(settings, lambda *_: nullcontext(FakeExecutor())) as services,
        client_of(create_app(settings, services)) as api,
    ):
        response = await ask(api.http, **headers)
    assert response.status_code == (200 if is_ours else 403)
    assert ("strict-transport-security" in response.headers) == is_ours


@pytest.mark.parametrize("proxies", ["*", "localhost", "127.0.0.1,nonsense", "10.0.0.1/8"])
def test_a_proxy_is_an_address(proxies: str) -> None:
    with pytest.raises(ValidationError, match="trusted_proxies"):
        settings_of(trusted_proxies=proxies)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example"]
)
async def test_a_foreign_origin_gets_no_websocket(app: FastAPI, origin: str) -> None:
    headers = [(b"host", b"localhost:8000"), (b"origin", origin.encode())]
    assert await refusal(app, headers) == 1008


async def test_a_rebound_host_gets_no_websocket(app: FastAPI) -> None:
    assert await refusal(app, [(b"host", b"rebound.example")]) == 1008


@pytest.mark.parametrize("origin", ["http://localhost:8000", "http://[::1]:3000", FRONTEND])
async def test_a_trusted_origin_passes_the_doors_to_where_protocols_are_chosen(
    app: FastAPI, origin: str
) -> None:
    headers = [(b"host", b"localhost:8000"), (b"origin", origin.encode())]
    assert await refusal(app, headers) == 4406  # this one offers none


async def test_who_leaves_in_the_middle_of_a_body_is_no_error_of_ours(app: FastAPI) -> None:
    scope = http_scope([(b"host", b"localhost")])
    [start, _] = await asgi(app, scope, {"type": "http.disconnect"})
    assert start["status"] == 400


async def refusal(app: FastAPI, headers: list[tuple[bytes, bytes]]) -> int:
    """Knock with a WebSocket that offers no protocol; return the code with which it was closed."""
    scope = {**http_scope(headers), "type": "websocket", "scheme": "ws", "subprotocols": []}
    *_, closed = await asgi(app, scope, {"type": "websocket.connect"})
    assert closed["type"] == "websocket.close"
    code: int = closed["code"]
    return code


def http_scope(headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/graphql",
        "raw_path": b"/graphql",
        "root_path": "",
        "query_string": b"",
        "headers": [*headers, *((a.lower().encode(), b.encode()) for a, b in JSON.items())],
    }


async def asgi(
    app: FastAPI, scope: dict[str, Any], message: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Speak to the application as a server does, where no client could say such a thing."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return message or {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(event: Any) -> None:
        sent.append(dict(event))

    await app(scope, receive, send)
    return sent
