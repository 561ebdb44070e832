"""A gRPC server that also hangs up when it closes: grpclib's leaves connections to the client.

A client that is never closed would otherwise keep the event loop from ending.
"""

from typing import Any
from weakref import WeakSet

from grpclib.protocol import H2Protocol
from grpclib.server import Server


class Listener(Server):
    """A server that knows its connections."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._connections = WeakSet[H2Protocol]()

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._connections.add(protocol)
        return protocol

    def close(self) -> None:
        """Listen no more, cancel every call, and hang up."""
        super().close()
        for protocol in list(self._connections):
            protocol.connection.close()
