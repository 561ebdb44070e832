"""What a supervisor reports, read in a task of its own; `calls.py` says why."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Self

import anyio

from app.domain.errors import ExecutorError
from app.executors.modal.calls import let_go
from app.executors.modal.errors import translated
from app.executors.modal.frames import Decoder, Frame

_AHEAD = 4  # frames that are read before anybody wants them; then the program has to wait


class Reading(AsyncIterator[Frame]):
    """The frames of one supervisor, until its output ends; must be closed."""

    def __init__(self, output: AsyncIterator[bytes]) -> None:
        self._found, self._frames = anyio.create_memory_object_stream[Frame](_AHEAD)
        self._error: ExecutorError | None = None
        self._task = asyncio.create_task(self._read(output))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        try:
            return await self._frames.receive()
        except anyio.EndOfStream:
            if self._error is not None:
                raise self._error from None
            raise StopAsyncIteration from None

    async def close(self) -> None:
        """Read no more."""
        self._frames.close()
        await let_go(self._task)

    async def _read(self, output: AsyncIterator[bytes]) -> None:
        with self._found:
            try:
                async with aclosing(_frames_in(output)) as frames:
                    async for frame in frames:
                        await self._found.send(frame)
            except anyio.BrokenResourceError:
                pass  # closed
            except ExecutorError as error:
                self._error = error


async def _frames_in(output: AsyncIterator[bytes]) -> AsyncGenerator[Frame, None]:
    decoder = Decoder()
    with translated("read the output"):
        async for chunk in output:
            for frame in decoder.feed(chunk):
                yield frame
