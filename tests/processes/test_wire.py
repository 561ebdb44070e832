"""What no client library would send, over a real socket."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.abc
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from .server import serving

QUERY = b'{"query": "{ __typename }"}'


@pytest.fixture(scope="module")
async def port(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    folder = tmp_path_factory.mktemp("wire")
    shutil.copy(migrated, folder)
    async with serving(folder, is_measured=True, drain=0.1, max_body=100_000) as (server, api):
        assert api.http.base_url.port
        yield api.http.base_url.port
        assert not any("Traceback" in line for line in server.log)
        assert (await api.http.get("/healthz")).status_code == 200


async def say(port: int, *pieces: bytes) -> bytes:
    """Send bytes and return all that comes until the server hangs up or falls silent."""
    said = b""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        try:
            for piece in pieces:
                await stream.send(piece)
            with anyio.move_on_after(2):
                while True:
                    said += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass
    return said


async def send_for_ever(stream: anyio.abc.SocketStream, piece: bytes) -> None:
    with anyio.fail_after(20):
        while True:
            await stream.send(piece)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_odd_requests_do_no_harm(port: int) -> None:
    head = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    close = b"Connection: close\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n"
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    rows: list[tuple[int, bytes]] = [
        (200, head + close + b"Content-Length: %d\r\n\r\n" % len(QUERY) + QUERY),
        (200, head + close + chunked + b"1b\r\n" + QUERY + b"\r\n0\r\n\r\n"),
        (413, head + chunked + chunk * 30),
        (413, head + b"Content-Length: 200000\r\n\r\n" + b" " * 110_000),
        (421, b"GET /graphql HTTP/1.0\r\n\r\n"),
        (421, b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
        (421, b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n" + close + b"\r\n"),
        (400, b"nonsense\r\n\r\n"),
        (400, head + b"Content-Length: -1\r\n\r\n"),
        (400, head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, head + b"Bad Header\r\n\r\n"),
        (400, head + b"Nul: \0\r\n\r\n"),
    ]
    for expected, request in rows:
        answer = await say(port, request)
        assert status(answer) == expected, request[:200]


@pytest.mark.parametrize("piece", [b"a" * 65_536, b"Name: value\r\n" * 5000])
async def test_a_head_without_end_is_cut_off(port: int, piece: bytes) -> None:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        with pytest.raises(anyio.BrokenResourceError):
            await send_for_ever(stream, piece)


async def test_two_requests_in_one_breath_get_two_answers(port: int) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert (await say(port, one + last)).count(b'{"status":"ok"}') == 2


@pytest.mark.parametrize(
    ("host", "origin"),
    [("localhost", "https://evil.example"), ("evil.example", None), ("localhost", "null")],
)
async def test_a_websocket_from_elsewhere_is_refused(
    port: int, host: str, origin: str | None
) -> None:
    headers = {"Host": f"{host}:{port}"} | ({"Origin": origin} if origin else {})
    with pytest.raises(InvalidStatus) as caught:
        async with connect(
            f"ws://{host}:{port}/graphql",
            host="127.0.0.1",
            port=port,
            additional_headers={name: headers[name] for name in headers if name != "Host"},
            proxy=None,
        ):
            pass
    assert caught.value.response.status_code == 403
