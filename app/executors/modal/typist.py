"""Types into a running program what comes for it, as fast as the program reads."""

import struct
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import anyio

from app.executors.modal.box import Box
from app.executors.modal.errors import Missing

T = TypeVar("T")

_SIZE = struct.Struct(">I")
_PIECE = 16 * 1024  # bytes of one piece in the box, which has room for one
_WINDOW = 64 * 1024  # bytes on their way; beyond them we wait until the program has read some


class Typist:
    """Hands pieces of input over once the program has started, and closes it after the last."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._started, self._room = anyio.Event(), anyio.Event()
        self._outstanding = 0

    @property
    def has_begun(self) -> bool:
        """Whether pieces may have been taken, which nobody can give again."""
        return self._started.is_set()

    def begin(self) -> None:
        """Note that the program has started."""
        self._started.set()

    def taken(self, size: int) -> None:
        """Note that the program has read so many bytes."""
        self._outstanding -= size
        self._room.set()

    async def alongside(self, box: Box, following: Awaitable[T]) -> T:
        """Type while `following` goes on; its end ends the typing."""
        results = []
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._type, box)
                results.append(await following)
                tasks.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise _first(group) from group
        return results[0]

    async def _type(self, box: Box) -> None:
        await self._started.wait()
        try:
            async for data in self._pieces:
                for start in range(0, len(data), _PIECE):
                    await self._send(box, data[start : start + _PIECE])
            await box.give(_SIZE.pack(0))
        except Missing:
            return  # the program has ended, and its output says how

    async def _send(self, box: Box, piece: bytes) -> None:
        while self._outstanding >= _WINDOW:
            self._room = anyio.Event()
            await self._room.wait()
        self._outstanding += len(piece)
        await box.give(_SIZE.pack(len(piece)) + piece)


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
