"""A connection whose client sends headers slowly, or none, has an end; any other goes on."""

import socket
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.abc
import pytest
import uvicorn

from app import connections

PATIENCE = 10  # s; ends after a fraction of a second
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    del scope
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hi"})


class Quiet(uvicorn.Server):
    """Leaves the signals of the tests alone."""

    def install_signal_handlers(self) -> None:
        """Install none."""


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(connections, "HEADERS_PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(hello, http=connections.Http, lifespan="off", log_config=None)
        server = Quiet(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server._serve, [listener])
            yield listener.getsockname()[1]
            server.should_exit = True


async def said(port: int, *parts: bytes) -> bytes:
    """Send parts, and return what is said until the server hangs up."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        for part in parts:
            await stream.send(part)
        received = b""
        with anyio.fail_after(PATIENCE):
            try:
                async for chunk in stream:
                    received += chunk
            except anyio.BrokenResourceError:
                pass  # it did not even say good-bye
    return received


@pytest.mark.parametrize("part", [b"", b"GET / HT", REQUEST[:-2]])
async def test_headers_that_do_not_come_are_not_waited_for(port: int, part: bytes) -> None:
    assert await said(port, *([part] if part else [])) == b""


async def test_the_headers_of_a_second_request_are_not_waited_for_either(port: int) -> None:
    assert (await said(port, REQUEST, REQUEST[:-2])).count(b"HTTP/1.1 200") == 1


async def test_headers_that_drip_are_not_waited_for(port: int) -> None:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(REQUEST[:-2])
        with anyio.fail_after(PATIENCE), pytest.raises(anyio.BrokenResourceError):
            await drip(stream)


async def drip(stream: anyio.abc.SocketStream) -> None:
    while True:
        await stream.send(b"X-More: 1\r\n")
        await anyio.sleep(0.05)


async def test_who_asks_now_and_then_keeps_the_connection(port: int) -> None:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        for _ in range(2):
            await stream.send(REQUEST)
            with anyio.fail_after(PATIENCE):
                assert b"200 OK" in await stream.receive()
            await anyio.sleep(0.5)  # longer than headers may take
        await stream.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nab")
        await anyio.sleep(0.5)
        await stream.send(b"cd")
        with anyio.fail_after(PATIENCE):
            assert b"200 OK" in await stream.receive()
