"""Connections of clients as uvicorn serves them, with an end to what it would wait for for ever."""

import asyncio
from typing import Any

import h11
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

HEADERS_PATIENCE = 15.0  # s, from the first byte of a request to the end of its headers


class Http(H11Protocol):
    """A connection whose client must send the headers of a request in time.

    uvicorn waits without end, so that a few bytes now and then keep a connection.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait for what is still missing of a request's headers."""
        super().data_received(data)
        is_in_headers = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if not is_in_headers:
            self._stop_waiting()
        elif self._patience is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._patience = self.loop.call_later(HEADERS_PATIENCE, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._patience:
            self._patience.cancel()
            self._patience = None


class WebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose client must answer pings, or lose what it has not read.

    uvicorn would wait until the unread rest is sent, which is for ever.
    """

    def keepalive_timeout(self) -> None:
        """Hang up on a client that does not answer."""
        super().keepalive_timeout()
        self.transport.abort()

    async def send(self, message: ASGISendEvent) -> None:
        """Send something, unless we have hung up meanwhile: uvicorn would call that a bug."""
        await self.writable.wait()
        if self.close_sent:
            raise ClientDisconnected
        await super().send(message)
