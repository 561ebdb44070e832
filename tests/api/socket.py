"""A client of graphql-transport-ws that sends what it is told, right or wrong."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from .client import PATIENCE, Json

PROTOCOL = Subprotocol("graphql-transport-ws")


class Socket:
    """Speaks to the server message by message."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, message: Any) -> None:
        """Send anything as JSON; a string or bytes as they are."""
        raw = message if isinstance(message, str | bytes) else json.dumps(message)
        await self.connection.send(raw)

    async def hear(self) -> Json:
        """Return the next message."""
        with anyio.fail_after(PATIENCE):
            message: Json = json.loads(await self.connection.recv())
        return message

    async def greet(self) -> None:
        await self.send({"type": "connection_init"})
        assert await self.hear() == {"type": "connection_ack"}

    async def subscribe(self, id: Any, query: Any, **payload: Any) -> None:
        await self.send({"type": "subscribe", "id": id, "payload": {"query": query, **payload}})

    async def results(self, id: str) -> list[Json]:
        """Return the payloads of an operation, which must be the only one, to its end."""
        found = []
        while (message := await self.hear())["type"] == "next":
            assert message["id"] == id
            found.append(message["payload"])
        assert message == {"type": "complete", "id": id}
        return found

    async def error(self, id: str) -> str:
        """Return the first message of the error that must come next."""
        message = await self.hear()
        assert message["type"] == "error"
        assert message["id"] == id
        text: str = message["payload"][0]["message"]
        return text

    async def closed(self) -> tuple[int, str]:
        """Return why the server closes the socket; whatever comes before is dropped."""
        with anyio.fail_after(PATIENCE):
            await self.connection.wait_closed()
        code, reason = self.connection.close_code, self.connection.close_reason
        assert code, "cut off without a word"
        return code, reason or ""

    async def is_open(self) -> bool:
        """Whether it still works."""
        await self.send({"type": "ping"})
        return await self.hear() == {"type": "pong"}


@asynccontextmanager
async def socket(
    port: int, *, protocol: Subprotocol | None = PROTOCOL, greet: bool = True, **options: Any
) -> AsyncIterator[Socket]:
    """Open a socket to the server."""
    async with connect(
        f"ws://127.0.0.1:{port}/graphql",
        subprotocols=None if protocol is None else [protocol],
        max_size=None,
        **options,
    ) as connection:
        speaking = Socket(connection)
        if greet:
            await speaking.greet()
        yield speaking
