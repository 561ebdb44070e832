"""The three pipes between a program and us."""

import contextlib
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack

import anyio

from app.domain.limits import MIB

_CHUNK = 64 * 1024  # bytes; what a pipe holds if nobody asks for more
_CAPACITY = MIB  # bytes; the most that is given without a special right


class End:
    """Our end or the program's end of a pipe."""

    def __init__(self, fd: int, *, ours: bool) -> None:
        self.fd = fd
        os.set_blocking(fd, not ours)

    def close(self) -> None:
        """Close it, unless it is closed."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    async def read(self) -> bytes:
        """Read what is there, at most a chunk; empty at the end."""
        while True:
            await anyio.wait_readable(self.fd)
            try:
                return os.read(self.fd, _CHUNK)
            except BlockingIOError:
                continue

    async def write(self, data: memoryview) -> int:
        """Write what fits."""
        while True:
            await anyio.wait_writable(self.fd)
            try:
                return os.write(self.fd, data)
            except BlockingIOError:
                continue

    async def feed(self, data: bytes, typed: AsyncIterator[bytes] | None = None) -> None:
        """Write everything, unless the program does not want it, and close.

        The next piece of what is typed is asked for when the one before has been taken.
        """
        try:
            await self._write_all(data)
            if typed is not None:
                async for piece in typed:
                    await self._write_all(piece)
        except BrokenPipeError:
            pass
        finally:
            self.close()

    async def _write_all(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[await self.write(left) :]


def make_pipes(ends: ExitStack, owner: int | None) -> tuple[list[End], list[End]]:
    """Make the three pipes; return our ends and the program's, of stdin, stdout, stderr.

    Args:
        ends: closes them in the end.
        owner: the host's user id of the program, if it is not ours.
    """
    ours: list[End] = []
    theirs: list[End] = []
    for is_input in (True, False, False):
        reader, writer = os.pipe()
        mine, other = (writer, reader) if is_input else (reader, writer)
        for fd, side, kept in ((mine, ours, True), (other, theirs, False)):
            side.append(End(fd, ours=kept))
            ends.callback(side[-1].close)
        if owner is not None:
            # A pipe has an owner like a file: without it nobody could open /dev/stdin.
            os.fchown(other, owner, owner)
        if not is_input:
            _widen(mine)
    return ours, theirs


def _widen(fd: int) -> None:
    """Give a pipe room, where there is room.

    Node gathers in its own memory what it cannot write at once, and a program that floods us
    would meet its memory limit before the limit of its output.
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _CAPACITY)
