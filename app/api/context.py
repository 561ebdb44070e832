"""What a resolver can reach: the services, the caller, and loaders that join look-ups."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import strawberry
from strawberry.dataloader import DataLoader

from app.access.audit import Auditor
from app.access.doorkeeper import Doorkeeper
from app.api.errors import BadArgumentError
from app.api.streams import Streams
from app.domain.access import Action, Caller
from app.domain.errors import RateLimited, Rejected, TooFast
from app.domain.events import Event, OutputWritten
from app.domain.execution import Compilation, Execution, File, Program, Stream, Transcript
from app.domain.language import Language
from app.domain.limits import MIB, describe_size
from app.domain.results import CaseDetails, CaseRun, Group
from app.executions.pulse import Pulse
from app.executions.retention import Eraser
from app.executions.service import ExecutionService
from app.executions.vigil import Vigil
from app.storage.store import QueuePlace, Store

K = TypeVar("K")
T = TypeVar("T")

# An answer is put together in memory, and a document can ask for the same things many times.
MOST_READ = 200  # a page of programs and a page of their output
MOST_TEXT = 64 * MIB  # of these in one answer
MOST_TESTS = 1000  # as many as one submission may have, and 0.2 s of our time


class Loader(DataLoader[K, T]):
    """Joins look-ups, and lets nobody cancel what others wait for.

    When a field fails, graphql-core cancels the fields beside it. One that waits for a look-up
    would cancel the look-up, and with it every other field that has asked for the same.
    """

    def load(self, key: K) -> "asyncio.Future[T]":
        """Look something up, together with whatever else is asked for."""
        return asyncio.shield(super().load(key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What lives as long as the server."""

    executions: ExecutionService
    history: Store
    eraser: Eraser
    pulse: Pulse
    vigil: Vigil
    languages: Mapping[str, Language]
    streams: Streams
    doorkeeper: Doorkeeper
    auditor: Auditor


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Who asks, and from where."""

    caller: Caller
    address: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Output that a field asks for: so many bytes of a stream, or all if None."""

    id: UUID
    stream: Stream
    most: int | None = None


class Context:
    """What lives as long as one operation."""

    def __init__(self, services: Services, visit: Visit) -> None:
        self.caller, self.owner = visit.caller, visit.caller.owner
        self.address = visit.address
        self.doorkeeper, self.auditor = services.doorkeeper, services.auditor
        self.registry = services.history.registry
        self.executions = services.executions
        self.history = services.history
        self.eraser = services.eraser
        self.pulse, self.vigil = services.pulse, services.vigil
        self.languages = services.languages
        self.renew()

    def renew(self) -> None:
        """Forget what was loaded and counted: each event of a subscription is an answer."""
        self.records: Loader[UUID, Execution | None] = Loader(self._load_executions)
        self.places: Loader[UUID, QueuePlace | None] = Loader(self._load_places)
        self.programs: Loader[UUID, Program | None] = Loader(self._load_programs)
        self.compilations: Loader[UUID, Compilation | None] = Loader(self._load_compilations)
        self.outputs: Loader[Wanted, bytes] = Loader(self._load_outputs)
        self.artifacts: Loader[UUID, tuple[File, ...]] = Loader(self._load_artifacts)
        self.tests: Loader[Execution, tuple[CaseRun, ...]] = Loader(
            self._load_tests, cache_key_fn=_id
        )
        self.test_groups: Loader[UUID, tuple[Group, ...]] = Loader(self._load_test_groups)
        self.test_details: Loader[UUID, dict[int, CaseDetails]] = Loader(self._load_test_details)
        self._read = self._text = self._tests = 0
        self._transcripts: dict[UUID, Transcript] = {}
        self._looked_into: dict[UUID, Execution] = {}

    def know(self, id: UUID, transcript: Transcript | None) -> None:
        """Take what an execution of the caller's has written, so that nobody need read it."""
        if transcript is not None:
            self._transcripts[id] = transcript

    async def find(self, id: UUID | None) -> Execution | None:
        """Return an execution as it is now, if it exists for the caller."""
        if id is None:
            return None
        (found,) = await self._load_executions([id])
        return found

    async def may_touch(self, id: UUID, action: Action) -> bool:
        """Whether the caller may do something to an execution; it is written down first."""
        if not self.auditor.is_on:
            return True  # it is everybody's, and the store knows whether it is there
        if await self.find(id) is None:
            return False
        await self.auditor.note(self.caller, action, str(id))
        return True

    async def count_executions(self, number: int) -> None:
        """Count what the caller wants to have run, all of it or nothing.

        Raises:
            Rejected: it must wait.
        """
        try:
            await self.doorkeeper.executions.count_address(self.address, number)
            await self.doorkeeper.executions.count(self.caller, number)
        except TooFast as error:
            problem = RateLimited(path=(), message=str(error), retry_after=error.retry_after)
            raise Rejected(problem) from error

    def look_into(self, execution: Execution) -> None:
        """Take note that the answer has a part of what an execution ran, read or wrote."""
        self._looked_into[execution.id] = execution

    async def settle(self) -> None:
        """Write into the audit log what the answer has: before it is sent."""
        if self._looked_into:
            await self.auditor.note_reading(self.caller, self._looked_into.values())
            self._looked_into = {}

    def allow(self, size: int) -> None:
        """Count a text before it becomes a part of the answer.

        Raises:
            BadArgumentError: the answer would be too large.
        """
        self._text += size
        if self._text > MOST_TEXT:
            message = (
                f"One answer may hold {describe_size(MOST_TEXT)} of programs and output: "
                "ask for fewer, or use `maxBytes`."
            )
            raise BadArgumentError(message)

    async def events(self, id: UUID, after: int, limit: int) -> Sequence[Event]:
        """Return a slice of what happened to an execution, and count it as a part of the answer.

        Raises:
            BadArgumentError: the answer would be too large.
        """
        self._count([id])
        page = await self.history.events(
            self.owner, id, after=after, limit=limit, sees_hidden=self.caller.sees_hidden
        )
        events = page.events if page else ()
        for event in events:
            if isinstance(event, OutputWritten):
                self.allow(len(event.output.data))
        return events

    async def _load_executions(self, ids: Sequence[UUID]) -> list[Execution | None]:
        found = await self.history.executions(self.owner, ids)
        seen = {id: each for id, each in found.items() if self.caller.may_see(each)}
        return [seen.get(id) for id in ids]

    async def _load_places(self, ids: Sequence[UUID]) -> list[QueuePlace | None]:
        found = await self.history.queue_places(self.owner, ids)
        return [found.get(id) for id in ids]

    async def _load_programs(self, ids: Sequence[UUID]) -> list[Program | None]:
        self._count(ids)
        found = await self.history.programs(self.owner, ids)
        return [found.get(id) for id in ids]

    async def _load_compilations(self, ids: Sequence[UUID]) -> list[Compilation | None]:
        self._count(ids)
        found = await self.history.compilations(self.owner, ids)
        return [found.get(id) for id in ids]

    async def _load_artifacts(self, ids: Sequence[UUID]) -> list[tuple[File, ...]]:
        self._count(ids)
        found = await self.history.artifacts(self.owner, ids)
        return [found.get(id, ()) for id in ids]

    async def _load_tests(self, records: Sequence[Execution]) -> list[tuple[CaseRun, ...]]:
        self._tests += sum(each.tests for each in records)
        if self._tests > MOST_TESTS:
            message = f"One answer may hold {MOST_TESTS} tests at most: ask for fewer executions."
            raise BadArgumentError(message)
        found = await self.history.tests(self.owner, [each.id for each in records])
        return [found.get(each.id, ()) for each in records]

    async def _load_test_groups(self, ids: Sequence[UUID]) -> list[tuple[Group, ...]]:
        found = await self.history.test_groups(self.owner, ids)
        return [found.get(id, ()) for id in ids]

    async def _load_test_details(self, ids: Sequence[UUID]) -> list[dict[int, CaseDetails]]:
        self._count(ids)
        sees_hidden = self.caller.sees_hidden
        found = await self.history.test_details(self.owner, ids, sees_hidden=sees_hidden)
        return [found.get(id, {}) for id in ids]

    async def _load_outputs(self, wanted: Sequence[Wanted]) -> list[bytes]:
        """Read both streams of all in one question, and of each no more than somebody wants."""
        ids = tuple(dict.fromkeys(each.id for each in wanted))
        self._count(ids)
        found = dict(self._transcripts)
        if unknown := [id for id in ids if id not in found]:
            stdout, stderr = _most(wanted, Stream.STDOUT), _most(wanted, Stream.STDERR)
            found |= await self.history.transcripts(
                self.owner, unknown, stdout=stdout, stderr=stderr
            )
        return [found.get(each.id, Transcript()).of(each.stream)[: each.most] for each in wanted]

    def _count(self, ids: Sequence[UUID]) -> None:
        self._read += len(ids)
        if self._read > MOST_READ:
            message = "One answer may hold programs, output and events of 100 executions at most."
            raise BadArgumentError(message)


def _id(execution: Execution) -> UUID:
    return execution.id


def _most(wanted: Sequence[Wanted], stream: Stream) -> int | None:
    asked = [each.most for each in wanted if each.stream is stream]
    return max((most or 0 for most in asked), default=0) if None not in asked else None


Info = strawberry.Info[Context, None]
