"""The history of executions, on SQLite and on PostgreSQL."""

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from sqlalchemy import URL, Connection

from app.domain.access import Shares
from app.domain.errors import InputRefusal
from app.domain.execution import Execution, Outcome
from app.domain.ports import Placement
from app.domain.results import CaseResult
from app.storage import (
    audit,
    erasing,
    leases,
    once,
    queue,
    replicas,
    typed,
    usage,
    writes,
)
from app.storage.engine import open_database
from app.storage.erasing import Chosen, Erased
from app.storage.feed import open_feed
from app.storage.history import History
from app.storage.leases import Adopted, Heir, Recovered, Renewed
from app.storage.mapping import Hold, Lease, LogEntry, is_small
from app.storage.once import Arrival, Earlier, Wish
from app.storage.queue import Bounds, Claimer, QueueLength, QueuePlace, Work
from app.storage.registry import Registry
from app.storage.typed import TypedInput
from app.storage.writes import LastWords, Note

__all__ = [
    "Adopted",
    "Arrival",
    "Bounds",
    "Chosen",
    "Claimer",
    "Earlier",
    "Erased",
    "Heir",
    "Hold",
    "LastWords",
    "Lease",
    "LogEntry",
    "QueueLength",
    "QueuePlace",
    "Store",
    "TypedInput",
    "Wish",
    "Work",
]

T = TypeVar("T")


_NOTHING = LastWords()


class _NoRoomError(Exception):
    """There is no room for all of them, so for none."""


LEASE_TIME = 15.0  # s; long enough for a pause of the whole machine, short enough to wait for


class Store(History):
    """Keeps executions, their programs and their output. Each method is one short transaction.

    Any method raises `StorageError` when the database cannot be used as it is.

    Args:
        lease_time: seconds after which a process counts as dead that has not renewed.
    """

    def __init__(self, url: str | URL, *, lease_time: float = LEASE_TIME) -> None:
        super().__init__(open_database(url))
        self.lease_time = lease_time
        self.feed = open_feed(url)
        self.registry = Registry(self._database)
        self.shares: Shares | None = None
        """How much each owner may have run; None: nobody counts."""

    @property
    def is_shared(self) -> bool:
        """Whether other processes may use the same database."""
        return self._database.is_shared

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()

    async def ping(self) -> None:
        """Make sure that the database answers and has our tables."""
        await self._database.read(queue.length)

    async def insert(self, arrival: Arrival, holder: str) -> Earlier | None:
        """Add an execution that runs already; or return who has the key of its wish.

        Raises:
            NoShareError: its owner has had its share.
        """
        add = partial(
            writes.create,
            execution=arrival.execution,
            program=arrival.program,
            holder=holder,
            lease_time=self.lease_time,
        )
        work = partial(self._admit, arrival=arrival, add=add)
        return await self._change(work, is_brief=arrival.is_brief)

    async def enqueue(self, arrival: Arrival, bounds: Bounds) -> Earlier | bool:
        """Add an execution that waits, if there is room; or return who has the key of its wish.

        Raises:
            NoShareError: its owner has had its share.
        """
        work = partial(self._enqueue, arrival=arrival, bounds=bounds)
        return await self._change(work, is_brief=arrival.is_brief)

    async def enqueue_all(
        self, arrivals: Sequence[Arrival], bounds: Bounds
    ) -> list[Execution | Earlier] | None:
        """Add executions that wait, if there is room for all of them; else return None.

        Returns:
            For each of them itself, or who has the key of its wish.

        Raises:
            NoShareError: an owner has had its share; nothing was added.
        """

        def add(connection: Connection, note: Note) -> list[Execution | Earlier]:
            answers: list[Execution | Earlier] = []
            for arrival in arrivals:
                answer = self._enqueue(connection, note, arrival, bounds)
                if answer is False:
                    raise _NoRoomError
                answers.append(answer if isinstance(answer, Earlier) else arrival.execution)
            return answers

        try:
            return await self._change(add)
        except _NoRoomError:
            return None

    async def earlier(self, owner: str, wish: Wish) -> Earlier | None:
        """Return which of the owner's executions has the key of a wish."""
        return await self._database.read(partial(once.find, owner=owner, wish=wish), is_brief=True)

    async def claim(self, by: Claimer, wanted: int) -> tuple[Work, ...]:
        """Take at most so many of those that wait, and hold them."""
        at = datetime.now(UTC)
        work = partial(queue.claim, by=by, wanted=wanted, at=at, lease_time=self.lease_time)
        return await self._change(work)  # not brief: what it finds may be large

    async def cancel(
        self, owner: str, id: UUID, outcome: Outcome, *, at: datetime
    ) -> Execution | None:
        """End an execution that waits, or ask its holder to; return it as it is then."""
        return await self._change(partial(queue.cancel, owner=owner, id=id, outcome=outcome, at=at))

    async def place(self, hold: Hold, placement: Placement) -> bool:
        """Remember where an execution is about to run; False when it is no longer held."""
        return await self._database.write(partial(writes.place, hold=hold, placement=placement))

    async def append(self, hold: Hold, entries: Sequence[LogEntry]) -> bool:
        """Add to the log; False and nothing added when it is no longer held."""
        work = partial(writes.append, hold=hold, entries=entries)
        return await self._change(work, is_brief=is_small(*(each.output.data for each in entries)))

    async def record(self, hold: Hold, results: Sequence[CaseResult]) -> bool:
        """Write down what came of tests; False and nothing written when it is no longer held."""
        return await self._change(partial(writes.record, hold=hold, results=results))

    async def finish(
        self, hold: Hold, outcome: Outcome, *, at: datetime, last: LastWords = _NOTHING
    ) -> bool:
        """End an execution and store what goes with that, both or neither.

        False and nothing changed when it is no longer held.
        """
        work = partial(
            writes.finish, hold=hold, outcome=outcome, at=at, last=last, counts=self._counts
        )
        return await self._change(work, is_brief=last.is_brief)

    async def is_unwanted(self, hold: Hold) -> bool:
        """Whether somebody wants its end, or it is no longer held."""
        return await self._database.read(partial(writes.is_unwanted, hold=hold))

    async def hand_back(self, hold: Hold) -> bool:
        """Put an execution back into the queue; False when it must not run again."""
        return await self._change(partial(leases.hand_back, hold=hold))

    async def renew(self, holder: str, ids: Collection[UUID]) -> Renewed:
        """Put off the expiry of these, and return which of them are still held."""
        work = partial(leases.renew, holder=holder, ids=ids, lease_time=self.lease_time)
        return await self._database.write(work)

    async def leases(self) -> tuple[Lease, ...]:
        """Return the holders of running executions."""
        return await self._database.read(leases.leases)

    async def recover(self, holder: str, heir: Heir, *, is_dead: bool) -> Recovered:
        """Decide about all that a dead holder has left, or about what has expired."""
        work = partial(
            leases.recover,
            holder=holder,
            heir=heir,
            lease_time=self.lease_time,
            is_dead=is_dead,
            counts=self._counts,
        )
        return await self._change(work)

    async def type_in(
        self, owner: str, id: UUID, data: bytes, *, is_last: bool
    ) -> InputRefusal | None:
        """Keep input for an execution, after what was sent before; or tell why not.

        Raises:
            NoSuchExecution: the owner has none with this id.
        """
        work = partial(typed.add, owner=owner, id=id, data=data, is_last=is_last)
        return await self._change(work)

    async def typed(self, id: UUID, *, after: int) -> tuple[TypedInput, ...]:
        """Return the input for an execution that comes after a piece."""
        return await self._database.read(partial(typed.pieces, id=id, after=after))

    async def mark_read(self, id: UUID, seq: int, *, holder: str) -> bool:
        """Say that the program has taken its input up to a piece; False when another holds it."""
        work = partial(typed.mark_read, id=id, seq=seq, holder=holder)
        return await self._database.write(work)

    async def erase(self, chosen: Chosen) -> Erased:
        """Erase some of an owner's executions that have ended: as many as take a moment."""
        return await self._change(partial(erasing.erase_chosen, chosen=chosen))

    async def erase_before(self, moment: datetime) -> Erased:
        """Erase some of what was accepted before a moment and has ended, whoever owns it."""
        return await self._change(partial(erasing.erase_before, moment=moment))

    async def count_before(self, moment: datetime) -> int:
        """Return how many `erase_before` would erase in all."""
        return await self._database.read(partial(erasing.count_before, moment=moment))

    async def unfinished(self, chosen: Chosen, most: int) -> tuple[UUID, ...]:
        """Name those of an owner's executions that have not ended, up to so many."""
        return await self._database.read(partial(erasing.unfinished, chosen=chosen, most=most))

    async def tidy(self) -> bool:
        """Make what was erased unreadable on the disk; False when that must be tried again."""
        return await self._database.tidy()

    @property
    def _counts(self) -> bool:
        """Whether what is used counts; where others share the database, they may want that."""
        return self.shares is not None or self.is_shared

    def _enqueue(
        self, connection: Connection, note: Note, arrival: Arrival, bounds: Bounds
    ) -> Earlier | bool:
        execution, program = arrival.execution, arrival.program
        add = partial(queue.enqueue, execution=execution, program=program, bounds=bounds)
        return self._admit(connection, note, arrival, add)

    def _admit(
        self,
        connection: Connection,
        note: Note,
        arrival: Arrival,
        add: Callable[[Connection, Note], T],
    ) -> T | Earlier:
        """Add an execution, count it, and write it into the audit log."""
        added = once.once(connection, note, arrival.execution, arrival.wish, add)
        if added is False or isinstance(added, Earlier):  # nothing was added
            return added
        if self.shares:
            usage.admit(connection, self.shares, arrival.execution)
        if arrival.entry:
            audit.add(connection, [arrival.entry])
        return added

    async def _change(self, work: Callable[[Connection, Note], T], *, is_brief: bool = False) -> T:
        """Do the work and tell who waits for what it notes, all of it or nothing."""
        notes: list[str] = []

        def change(connection: Connection) -> T:
            notes.clear()
            result = work(connection, notes.append)
            self.feed.announce(connection, notes)
            return result

        return await self._database.write(
            change, partial(self.feed.committed, notes), is_brief=is_brief
        )

    async def keep_replica(self, name: str, *, until: datetime) -> None:
        """Say that a replica of the service lives until then."""
        await self._database.write(partial(replicas.keep_alive, name=name, until=until))

    async def dead_replicas(self, *, after: datetime, before: datetime) -> frozenset[str]:
        """Name the replicas whose last word was that they live until some time in between."""
        return await self._database.read(partial(replicas.dead, after=after, before=before))

    async def placements(self) -> tuple[Placement, ...]:
        """Say where the executions are that have not ended."""
        return await self._database.read(replicas.placements)
