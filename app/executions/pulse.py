"""Whether the database answers, asked so that the question itself can do no harm.

A database that hangs keeps who asks it for a minute, and with him a connection. So one question
at a time is on its way, however many want to know, and nobody waits longer than a moment for it.
"""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.abc

from app.storage.errors import StorageError
from app.storage.store import QueueLength, Store

log = logging.getLogger(__name__)

PATIENCE = 2.0  # s; a database that is well answers in milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What the database has said, if it has."""

    seconds: float
    """How long its answer took."""
    queue: QueueLength | None
    """None where there was no answer."""

    @property
    def is_alive(self) -> bool:
        """Whether the database has answered."""
        return self.queue is not None


class Pulse:
    """Asks the database how it is; made by `open_pulse`."""

    def __init__(self, store: Store, tasks: anyio.abc.TaskGroup) -> None:
        self._store, self._tasks = store, tasks
        self._asking: anyio.Event | None = None
        self._last = Beat(seconds=0.0, queue=None)

    async def feel(self) -> Beat:
        """Ask, or wait with who has asked; no answer in time is an answer."""
        if self._asking is None:
            self._asking = anyio.Event()
            self._tasks.start_soon(self._ask, self._asking)
        asking = self._asking
        with anyio.move_on_after(PATIENCE):
            await asking.wait()
            return self._last
        return Beat(seconds=PATIENCE, queue=None)

    async def _ask(self, asked: anyio.Event) -> None:
        began, queue = time.monotonic(), None
        try:
            queue = await self._store.queue_length()
        except StorageError as error:
            log.warning("the database does not answer", extra={"reason": str(error)})
        except Exception:
            log.exception("the database does not answer")
        finally:
            self._last = Beat(seconds=time.monotonic() - began, queue=queue)
            self._asking = None
            asked.set()


@asynccontextmanager
async def open_pulse(store: Store) -> AsyncIterator[Pulse]:
    """Make a pulse that can be felt until the end of the block."""
    async with anyio.create_task_group() as tasks:
        yield Pulse(store, tasks)
        tasks.cancel_scope.cancel()
