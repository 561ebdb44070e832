"""Input that somebody types while the program runs, and how long a program may wait for it."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import TypeVar
from uuid import UUID

import anyio

from app.storage.errors import StorageError
from app.storage.feed import typing_for
from app.storage.store import Store

T = TypeVar("T")

_RETRY_PAUSE = 0.5  # s between looks while the database is away


class Keyboard:
    """The input of one interactive run.

    Args:
        patience: seconds in which something must happen, input or output.
    """

    def __init__(self, store: Store, id: UUID, holder: str, patience: float) -> None:
        self._store, self._id, self._holder = store, id, holder
        self._patience = patience
        self._stirred = anyio.Event()

    def stirred(self) -> None:
        """Take note that something happened."""
        self._stirred.set()

    async def idle(self) -> None:
        """Return when nothing has happened for too long."""
        while True:
            self._stirred = anyio.Event()
            with anyio.move_on_after(self._patience) as scope:
                await self._stirred.wait()
            if scope.cancelled_caught:
                return

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield what is typed until somebody closes it.

        A piece counts as read when the next one is asked for: until then it is in our hands.
        """
        seq = 0
        with self._store.feed.bell(typing_for(self._id)) as bell:
            while True:
                pieces = await _insist(partial(self._store.typed, self._id, after=seq))
                for piece in pieces:
                    self.stirred()
                    if piece.data:
                        yield piece.data
                    seq = piece.seq
                    mark = partial(self._store.mark_read, self._id, seq, holder=self._holder)
                    await _insist(mark)
                    if piece.is_last:
                        return
                if not pieces:
                    await bell.wait()


async def _insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again while the database is away: the program is not to blame."""
    while True:
        try:
            return await ask()
        except StorageError:
            await anyio.sleep(_RETRY_PAUSE)
