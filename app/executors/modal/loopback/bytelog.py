"""All bytes that a program wrote to one of its outputs, readable from any offset."""

import os

import anyio

_CHUNK = 64 * 1024  # bytes; what a pipe holds, and well below a gRPC message's limit
MAX_LOG = 64 * 1024 * 1024
"""Bytes after which a program finds its pipe closed: nobody bounds a raw command for us."""


class ByteLog:
    """A log that grows until it is closed."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._changed = anyio.Event()
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._data)

    def append(self, data: bytes) -> None:
        """Add bytes and wake the readers."""
        self._data += data
        self._wake()

    def close(self) -> None:
        """Say that no more will come."""
        self.is_closed = True
        self._wake()

    async def read(self, offset: int) -> bytes:
        """Wait for bytes from `offset` on and return some; empty at the end only."""
        while len(self._data) <= offset and not self.is_closed:
            await self._changed.wait()
        return bytes(self._data[offset : offset + _CHUNK])

    async def fill(self, pipe: int) -> None:
        """Append all that comes out of a pipe; close it and the log in the end."""
        try:
            while len(self) < MAX_LOG and (data := await _read(pipe)):
                self.append(data)
        finally:
            os.close(pipe)
            self.close()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


async def _read(pipe: int) -> bytes:
    while True:
        await anyio.wait_readable(pipe)
        try:
            return os.read(pipe, _CHUNK)
        except BlockingIOError:
            continue
