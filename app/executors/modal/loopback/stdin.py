"""What a program reads: written by offset, so that a repeated write is not doubled."""

import os

import anyio


class StdinClosed(Exception):
    """The program has ended or its standard input was closed."""


class StdinGap(Exception):
    """A write begins behind the end of what has arrived."""


class Stdin:
    """Our end of a program's standard input."""

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._waiting = bytearray()
        self._changed = anyio.Event()
        self._is_ended = False
        self.is_closed = False
        self.size = 0
        """Bytes that have arrived, whether the program has read them or not."""

    def write(self, offset: int, data: bytes, *, end: bool) -> None:
        """Take what is new of `data`, which begins at `offset`.

        Raises:
            StdinClosed: nobody will read it.
            StdinGap: bytes before it are missing.
        """
        if offset > self.size:
            raise StdinGap
        new = data[self.size - offset :]
        if new and (self.is_closed or self._is_ended):
            raise StdinClosed
        if self.is_closed and not self._is_ended:
            raise StdinClosed  # the first end of input for a program that has ended
        self._waiting += new
        self.size += len(new)
        self._is_ended = self._is_ended or end
        self._changed.set()

    def close(self) -> None:
        """Take no more: the program has ended."""
        self.is_closed = True
        self._changed.set()

    async def feed(self) -> None:
        """Give the program what arrives, until it ends or wants no more."""
        try:
            while not self.is_closed:
                if self._waiting:
                    await self._write_some()
                elif self._is_ended:
                    return
                else:
                    self._changed = anyio.Event()
                    await self._changed.wait()
        except BrokenPipeError:
            pass  # the program does not want it, which is its own affair
        finally:
            os.close(self._pipe)

    async def _write_some(self) -> None:
        await anyio.wait_writable(self._pipe)
        with memoryview(self._waiting) as waiting:
            written = os.write(self._pipe, waiting[: 1 << 20])
        del self._waiting[:written]
