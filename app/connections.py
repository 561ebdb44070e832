"""Connections of clients as uvicorn serves them, with an end to what it would wait for for ever."""

import asyncio
from typing import Any

import h11
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

HEADERS_PATIENCE = 15.0  # s, from the first byte of a request to the end of its headers
_LAST_READING = 2.0  # s, for a client to hear why it is refused


class _Lingering:
    """A transport that is closed in two steps while its client still sends.

    To close a socket with bytes in it that nobody has read resets the connection, and the client
    may never see the answer. So ours is sent and ended, and what comes in is dropped for a moment.
    """

    def __init__(self, transport: asyncio.Transport, http: "Http") -> None:
        self.plain, self._http = transport, http
        self.is_lingering = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)

    def is_closing(self) -> bool:
        return self.is_lingering or self.plain.is_closing()

    def close(self) -> None:
        if self.is_lingering:
            return
        if not self._http.is_receiving or self.plain.is_closing():
            self.plain.close()
            return
        self.is_lingering = True
        try:
            self.plain.write_eof()
        except OSError:  # the client has hung up, and we have not heard of it yet
            self.plain.abort()
            return
        self.plain.resume_reading()
        self._http.loop.call_later(_LAST_READING, self.plain.abort)


class Http(H11Protocol):
    """A connection whose client must send the headers of a request in time.

    uvicorn waits without end, so that a few bytes now and then keep a connection.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(_Lingering(transport, self))  # type: ignore[arg-type]
        self._wait()

    @property
    def is_receiving(self) -> bool:
        """Whether the client has not come to the end of its request."""
        return self.conn.their_state in {h11.SEND_BODY, h11.ERROR}

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection on as it is."""
        assert isinstance(self.transport, _Lingering)  # noqa: S101 - made so above
        self.transport = self.transport.plain
        super().handle_websocket_upgrade(event)

    def data_received(self, data: bytes) -> None:
        """Wait for what is still missing of a request's headers."""
        if isinstance(self.transport, _Lingering) and self.transport.is_lingering:
            return
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
