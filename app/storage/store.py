"""The history of executions, on SQLite and on PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy import URL

from app.domain.execution import Execution, Outcome, Program, Transcript
from app.domain.history import Filter, Page, Stats, Window
from app.domain.ports import Placement
from app.storage import reads, writes
from app.storage.engine import open_database
from app.storage.mapping import Lease, LogEntry

__all__ = ["Lease", "LogEntry", "Store"]


class Store:
    """Keeps executions, their programs and their output. Each method is one short transaction.

    Any method raises `StorageError` when the database cannot be used as it is.
    """

    def __init__(self, url: str | URL) -> None:
        self._database = open_database(url)

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()

    async def ping(self) -> None:
        """Make sure that the database answers and has our tables."""
        await self._database.read(reads.leases)

    async def insert(self, execution: Execution, program: Program, lease: Lease) -> None:
        """Add an execution that has not ended; the holder of the lease works on it."""
        work = partial(writes.create, execution=execution, program=program, lease=lease)
        await self._database.write(work)

    async def mark_running(self, id: UUID, *, at: datetime, lease: Lease) -> bool:
        """Say that an execution has begun; False unless it is queued and held by `lease.holder`."""
        work = partial(writes.mark_running, id=id, at=at, lease=lease)
        return await self._database.write(work)

    async def place(self, id: UUID, placement: Placement, *, holder: str) -> bool:
        """Remember where an execution is about to run; False when another one holds it."""
        work = partial(writes.place, id=id, placement=placement, holder=holder)
        return await self._database.write(work)

    async def append(self, id: UUID, entries: Sequence[LogEntry], *, holder: str) -> bool:
        """Add to the log; False and nothing added when it has ended or another one holds it."""
        work = partial(writes.append, id=id, entries=entries, holder=holder)
        return await self._database.write(work)

    async def finish(
        self,
        id: UUID,
        outcome: Outcome,
        *,
        at: datetime,
        entries: Sequence[LogEntry] = (),
        holder: str,
    ) -> bool:
        """End an execution and add the last of its log, both or neither.

        False and nothing changed when it has ended already or another one holds it.
        """
        work = partial(writes.finish, id=id, outcome=outcome, at=at, entries=entries, holder=holder)
        return await self._database.write(work)

    async def renew(self, lease: Lease) -> int:
        """Put off the expiry of all that the holder works on; return how many these are."""
        return await self._database.write(partial(writes.renew, lease=lease))

    async def leases(self) -> tuple[Lease, ...]:
        """Return the holders of unfinished executions, each with the latest expiry."""
        return await self._database.read(reads.leases)

    async def abandon(
        self, holder: str, outcome: Outcome, *, at: datetime, expired_before: datetime | None
    ) -> int:
        """End all that a dead holder has left, or only what expired before the given moment."""
        work = partial(
            writes.abandon, holder=holder, outcome=outcome, at=at, expired_before=expired_before
        )
        return await self._database.write(work)

    async def executions(self, owner: str, ids: Sequence[UUID]) -> dict[UUID, Execution]:
        """Return those of the owner's executions that there are."""
        return await self._database.read(partial(reads.executions, owner=owner, ids=ids))

    async def programs(self, owner: str, ids: Sequence[UUID]) -> dict[UUID, Program]:
        """Return what the owner's executions ran."""
        return await self._database.read(partial(reads.programs, owner=owner, ids=ids))

    async def transcripts(self, owner: str, ids: Sequence[UUID]) -> dict[UUID, Transcript]:
        """Return what the owner's executions have written so far."""
        return await self._database.read(partial(reads.transcripts, owner=owner, ids=ids))

    async def page(self, owner: str, filter: Filter, window: Window) -> Page:
        """Return a slice of the owner's history."""
        return await self._database.read(
            partial(reads.page, owner=owner, filter=filter, window=window)
        )

    async def count(self, owner: str, filter: Filter) -> int:
        """Return how many of the owner's executions match."""
        return await self._database.read(partial(reads.count, owner=owner, filter=filter))

    async def stats(self, owner: str, filter: Filter) -> Stats:
        """Return counts and wall-clock percentiles of the owner's executions that match."""
        return await self._database.read(partial(reads.stats, owner=owner, filter=filter))
