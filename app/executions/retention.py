"""What becomes of old executions, and of those whose owner wants them gone.

Erasing goes in short transactions with a pause after each, so that nobody who writes waits long.
What is left in files is tidied up afterwards, again and again until it is gone: a reader may be in
the way.
"""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import anyio

from app.executions.service import ExecutionService
from app.storage.errors import StorageError
from app.storage.store import Chosen, Store

log = logging.getLogger(__name__)

MOST_ERASED = 1000  # by one call
MOST_STOPPED = 100  # by one call
_PAUSE = 0.02  # s between two transactions, in which others write
_TIDY_PATIENCE = 2.0  # s that a caller waits for; then it is done in the background
_TIDY_AGAIN = (0.05, 5.0)  # s; the first pause and the longest
_SWEEP_EVERY = 600.0  # s


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What was erased of what somebody wanted gone."""

    count: int
    has_more: bool
    """Whether the same call would erase more."""
    running: tuple[UUID, ...]
    """What could not be stopped, and is still there."""


class Eraser:
    """Erases what is too old or unwanted; made by `open_eraser`."""

    def __init__(
        self, store: Store, executions: ExecutionService, retention: timedelta | None
    ) -> None:
        self._store, self._executions, self._retention = store, executions, retention
        self._untidy = anyio.Event()

    async def erase(self, chosen: Chosen) -> Erasure:
        """Stop what runs of an owner's executions, and erase them: so many, and no more."""
        await self._stop(chosen)
        count, has_more = 0, True
        while has_more and count < MOST_ERASED:
            erased = await self._store.erase(chosen)
            count, has_more = count + erased.count, erased.has_more
            await anyio.sleep(_PAUSE if has_more else 0)
        if count:
            await self._tidy_now()
        running = await self._store.unfinished(chosen, MOST_STOPPED)
        log.info("executions erased", extra={"count": count, "running": len(running)})
        return Erasure(count=count, has_more=has_more, running=running)

    async def keep_house(self) -> None:
        """Erase what is too old, and tidy up, until cancelled."""
        while True:
            try:
                await self._sweep()
            except StorageError as error:
                log.warning("old executions not erased", extra={"reason": str(error)})
            except Exception:
                # Whatever it was, the next sweep may go well; the server has to live until then.
                log.exception("old executions not erased")
            with anyio.move_on_after(_SWEEP_EVERY):
                await self._untidy.wait()

    async def _stop(self, chosen: Chosen) -> None:
        running = await self._store.unfinished(chosen, MOST_STOPPED)
        async with anyio.create_task_group() as tasks:
            for id in running:
                tasks.start_soon(self._executions.cancel, chosen.owner, id)

    async def _sweep(self) -> None:
        self._untidy = anyio.Event()
        if self._retention is not None:
            count = await purge(self._store, datetime.now(UTC) - self._retention)
            if count:
                log.info("old executions erased", extra={"count": count})
        await tidy(self._store)

    async def _tidy_now(self) -> None:
        with anyio.move_on_after(_TIDY_PATIENCE) as patience:
            await tidy(self._store)
        if patience.cancelled_caught:
            self._untidy.set()


async def purge(
    store: Store, before: datetime, progress: Callable[[int], object] = lambda _: None
) -> int:
    """Erase all that was accepted before a moment and has ended; return how many these were.

    `progress` hears of each step how many it has erased.
    """
    total, has_more = 0, True
    while has_more:
        erased = await store.erase_before(before)
        progress(erased.count)
        total, has_more = total + erased.count, erased.has_more
        await anyio.sleep(_PAUSE)
    return total


async def tidy(store: Store) -> None:
    """Make what was erased unreadable on the disk; takes as long as readers are in the way."""
    pause, longest = _TIDY_AGAIN
    while not await store.tidy():
        # Less and less often: nobody can write during a try.
        await anyio.sleep(pause)
        pause = min(pause * 2, longest)


@asynccontextmanager
async def open_eraser(
    store: Store, executions: ExecutionService, *, retention: timedelta | None
) -> AsyncIterator[Eraser]:
    """Make an eraser, and let it keep house meanwhile."""
    eraser = Eraser(store, executions, retention)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(eraser.keep_house)
        yield eraser
        tasks.cancel_scope.cancel()
