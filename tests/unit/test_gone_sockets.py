"""What a WebSocket does when its client is gone."""

import pytest
import uvicorn
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.server import ServerState

from app.connections import WebSocket


async def nobody(scope: object, receive: object, send: object) -> None:
    """Serve nobody."""


async def test_who_sends_after_we_hung_up_is_told_that_the_client_has_gone() -> None:
    config = uvicorn.Config(nobody, interface="asgi3", ws=WebSocket, log_config=None)
    config.load()
    socket = WebSocket(config, ServerState(), {})
    socket.handshake_complete = True
    socket.close_sent = True  # as a client leaves it that does not answer pings
    with pytest.raises(ClientDisconnected):
        await socket.send({"type": "websocket.send", "text": "more"})
