"""What can be asked of the history: each question is one short transaction that changes nothing."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from app.domain.events import EventPage
from app.domain.execution import Compilation, Execution, File, Program, Transcript
from app.domain.history import Filter, Page, Stats, Window
from app.domain.results import CaseDetails, CaseRun, Group
from app.domain.testing import Suite
from app.storage import events, queue, reads, testing
from app.storage.engine import Database
from app.storage.queue import QueueLength, QueuePlace
from app.storage.transcripts import transcripts


class History:
    """Answers questions about executions, each of an owner about its own.

    Any method raises `StorageError` when the database cannot be used as it is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def executions(self, owner: str, ids: Sequence[UUID]) -> dict[UUID, Execution]:
        """Return those of the owner's executions that there are."""
        work = partial(reads.executions, owner=owner, ids=ids)
        return await self._database.read(work, is_brief=len(ids) == 1)

    async def programs(self, owner: str, ids: Sequence[UUID]) -> dict[UUID, Program]:
        """Return what the owner's executions ran."""
        return await self._database.read(partial(reads.programs, owner=owner, ids=ids))

    async def compilations(self, owner: str, ids: Sequence[UUID]) -> dict[UUID, Compilation | None]:
        """Return how the programs of the owner's executions were compiled."""
        return await self._database.read(partial(reads.compilations, owner=owner, ids=ids))

    async def suite(self, owner: str, id: UUID) -> Suite | None:
        """Return the tests of an execution of the owner's, if there are any."""
        return await self._database.read(partial(testing.suite, owner=owner, id=id))

    async def ended_tests(self, id: UUID) -> tuple[CaseRun, ...]:
        """Return the tests of an execution that have ended, in the order in which they did."""
        return await self._database.read(partial(testing.ended, id=id))

    async def tests(self, owner: str, ids: Sequence[UUID]) -> dict[UUID, tuple[CaseRun, ...]]:
        """Return how the tests of the owner's executions stand."""
        return await self._database.read(partial(testing.runs, owner=owner, ids=ids))

    async def test_groups(self, owner: str, ids: Sequence[UUID]) -> dict[UUID, tuple[Group, ...]]:
        """Return how many tests of the owner's executions stand in which way."""
        return await self._database.read(partial(testing.groups, owner=owner, ids=ids))

    async def test_details(
        self,
        owner: str,
        ids: Sequence[UUID],
        *,
        sees_hidden: bool,
        position: int | None = None,
    ) -> dict[UUID, dict[int, CaseDetails]]:
        """Return what the tests of the owner's executions read and wrote, by their positions.

        Args:
            owner: whose they are.
            ids: of the executions.
            sees_hidden: whether hidden tests are wanted, too.
            position: of the one test that is wanted, or None for all of them.
        """
        work = partial(
            testing.details, owner=owner, ids=ids, sees_hidden=sees_hidden, position=position
        )
        return await self._database.read(work)

    async def artifacts(self, owner: str, ids: Sequence[UUID]) -> dict[UUID, tuple[File, ...]]:
        """Return what the programs of the owner's executions have left."""
        return await self._database.read(partial(reads.artifacts, owner=owner, ids=ids))

    async def transcripts(
        self,
        owner: str,
        ids: Sequence[UUID],
        *,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> dict[UUID, Transcript]:
        """Return what the owner's executions have written so far.

        Args:
            owner: whose they are.
            ids: of the executions.
            stdout: at most so many bytes of it, all of them if None.
            stderr: likewise.
        """
        work = partial(transcripts, owner=owner, ids=ids, stdout=stdout, stderr=stderr)
        return await self._database.read(work)

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

    async def events(
        self, owner: str, id: UUID, *, after: int, limit: int, sees_hidden: bool = True
    ) -> EventPage | None:
        """Return what happened to an execution after an event, or None when there is none.

        At most `limit` events, and about a mebibyte of output. Whoever does not see hidden tests
        gets them when the execution has ended.
        """
        read = partial(
            events.page, owner=owner, id=id, after=after, limit=limit, sees_hidden=sees_hidden
        )
        return await self._database.read(read)

    async def queue_length(self) -> QueueLength:
        """Return how many wait, on all servers."""
        return await self._database.read(queue.length)

    async def queue_places(self, owner: str, ids: Sequence[UUID]) -> dict[UUID, QueuePlace]:
        """Return where the owner's executions stand in the queue, those of them that do."""
        return await self._database.read(partial(queue.places, owner=owner, ids=ids))
