"""What one can do with executions: admission, waiting, cancelling, and the end of the server."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import anyio
import anyio.abc
import anyio.to_thread
from uuid6 import uuid7

from app.domain.errors import InputRefused, LanguageUnavailable, Problem, Rejected, ServerBusy
from app.domain.events import Event
from app.domain.execution import Execution, Status, Submission
from app.domain.language import Language
from app.domain.ports import Executor
from app.executions.compiling import Workshop
from app.executions.follow import follow, follow_session
from app.executions.holder import own_name
from app.executions.live import Live, Means
from app.executions.once import TakenError, find_earlier, the_same, wish_of
from app.executions.recovery import keep_house, recover
from app.executions.room import Occupancy, Room
from app.executions.rules import Rules
from app.storage.store import Store, Wish

log = logging.getLogger(__name__)

_CANCEL_PATIENCE = 30.0  # s; a killed program is gone in milliseconds, its end stored soon after
_RESTART = 5.0  # s; a guess of how long a server is away that is started again


class ExecutionService:
    """Accepts, watches and ends executions; made by `open_service`.

    Args:
        drain: how long, in seconds, programs may go on when the server is about to stop.
    """

    def __init__(  # noqa: PLR0913 - all that an execution needs
        self,
        *,
        means: Means,
        languages: Mapping[str, Language],
        rules: Rules,
        room: Room,
        drain: float,
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self.rules = rules
        self.executor, self.figures = means.executor, means.figures
        self._means, self._languages = means, languages
        self._room, self._drain, self._tasks = room, drain, tasks
        self._live: dict[UUID, Live] = {}

    @property
    def is_closing(self) -> bool:
        """Whether nothing more is accepted."""
        return self._means.closing.is_set()

    async def submit(self, submission: Submission) -> Execution:
        """Accept a program: its row is written, and it runs as soon as there is a slot.

        One that was accepted under the same key before is returned instead.

        Raises:
            Rejected: it breaks a rule or there is no room; nothing was recorded.
        """
        wrong, missing = [*self.rules.problems(submission)], self._language_problems(submission)
        if wrong:
            raise Rejected(*wrong, *missing)
        if (earlier := await find_earlier(self._means.store, submission)) is not None:
            return earlier
        if self.is_closing:
            raise Rejected(_STOPPING)
        if missing:
            raise Rejected(*missing)
        if (retry_after := self.executor.state().retry_after) is not None:
            raise Rejected(_no_sandboxes(retry_after))
        live = self._new(submission)
        # Shielded: a caller that goes away must not leave a row that nobody looks after.
        with anyio.CancelScope(shield=True):
            try:
                await self._start(live, wish_of(submission))
            except TakenError as taken:
                return the_same(taken.earlier, submission)
        return live.execution

    async def wait(self, execution: Execution, seconds: float) -> Execution:
        """Wait until the execution has ended, but not longer; return it as it is then."""
        live = self._live.get(execution.id)
        if live is None:
            return execution
        with anyio.move_on_after(seconds):
            await live.done.wait()
        return live.execution

    async def cancel(self, owner: str, id: UUID) -> Execution | None:
        """Stop an execution that this process runs, and return it when it has ended.

        One that has ended already is returned as it is; an unknown one gives None.
        """
        live = self._live.get(id)
        if live is None or live.execution.owner != owner:
            return (await self._means.store.executions(owner, [id])).get(id)
        live.cancel()
        return await self.wait(live.execution, _CANCEL_PATIENCE)

    def follow(self, owner: str, id: UUID, after: int = 0) -> AsyncGenerator[Event, None]:
        """Yield the events of an execution after a number, until its end.

        Raises:
            NoSuchExecution: there is none, or it was deleted meanwhile.
        """
        return follow(self._means.store, owner, id, after)

    def follow_session(self, owner: str, session_id: str) -> AsyncGenerator[Execution, None]:
        """Yield the unfinished executions of a session, and then each that is new or changes."""
        return follow_session(self._means.store, owner, session_id)

    async def send_input(self, owner: str, id: UUID, data: bytes, *, eof: bool) -> None:
        """Give a program input while it runs, or before; whole or not at all.

        Raises:
            NoSuchExecution: there is none.
            InputRefused: it takes none, or no more for now.
        """
        refusal = await self._means.store.type_in(owner, id, data, is_last=eof)
        if refusal is not None:
            raise InputRefused(refusal)

    def occupancy(self) -> Occupancy:
        """Count running and waiting executions of this process."""
        return self._room.occupancy()

    async def close(self) -> None:
        """Accept nothing more; let programs end within the time to drain, then stop the rest."""
        self._means.closing.set()
        with anyio.move_on_after(self._drain):
            await self._until_idle()
        self.stop_all()
        await self._until_idle()

    def stop_all(self) -> None:
        """Stop every program now; `close` sees to their ends."""
        for live in self._live.values():
            live.stop()

    async def _until_idle(self) -> None:
        while self._live:
            await next(iter(self._live.values())).done.wait()

    def _language_problems(self, submission: Submission) -> Sequence[Problem]:
        language = self._languages[submission.program.language]
        reason = self.executor.supports(language).reason
        if reason is None:
            return ()
        available = (
            each.id
            for each in self._languages.values()
            if self.executor.supports(each).is_available
        )
        message = f"{language.name} is not available here: {reason}"
        return (
            LanguageUnavailable(path=("language",), message=message, available=tuple(available)),
        )

    def _new(self, submission: Submission) -> Live:
        program = submission.program
        language = self._languages[program.language]
        place = self._room.enter()
        now = datetime.now(UTC)
        execution = Execution(
            id=uuid7(),
            owner=submission.owner,
            status=Status.RUNNING if place.has_slot else Status.QUEUED,
            language=language.id,
            language_version=self.executor.supports(language).version,
            limits=submission.limits,
            executor=self.executor.name,
            attempt=1,
            created_at=now,
            started_at=now if place.has_slot else None,
            session_id=submission.session_id,
            label=submission.label,
            metadata=submission.metadata,
            interactive=submission.interactive,
            origin_id=submission.origin_id,
        )
        return Live(execution, program, language, place, self._means)

    async def _start(self, live: Live, wish: Wish | None) -> None:
        # Known before its row is: a server that closes now waits for this one too.
        self._live[live.id] = live
        try:
            await live.insert(wish)
        except BaseException:
            self._forget(live)
            raise
        self._tasks.start_soon(self._look_after, live)

    async def _look_after(self, live: Live) -> None:
        try:
            await live.see_through()
        finally:
            self._forget(live)

    def _forget(self, live: Live) -> None:
        live.place.leave()
        del self._live[live.id]
        live.done.set()


_STOPPING = ServerBusy(
    path=(),
    message="The server is about to stop. Try again when it is back.",
    retry_after=_RESTART,
)


def _no_sandboxes(retry_after: float) -> ServerBusy:
    message = "No sandbox can be had at the moment. Try again later."
    return ServerBusy(path=(), message=message, retry_after=retry_after)


@asynccontextmanager
async def open_service(  # noqa: PLR0913 - as above
    *,
    store: Store,
    executor: Executor,
    languages: Mapping[str, Language],
    rules: Rules,
    room: Room,
    drain: float,
    idle: float,
    workshop: Workshop,
) -> AsyncIterator[ExecutionService]:
    """Recover what dead servers left, serve, and drain in the end."""
    holder = await anyio.to_thread.run_sync(own_name)
    # Before the task group, which would wrap an error of the database in a group.
    await recover(store, holder)
    means = Means(store=store, executor=executor, workshop=workshop, holder=holder, idle=idle)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.feed.listen)
        service = ExecutionService(
            means=means, languages=languages, rules=rules, room=room, drain=drain, tasks=tasks
        )
        tasks.start_soon(keep_house, store, holder)
        try:
            yield service
        finally:
            # However the server ends: nobody may go on trying to store an outcome.
            means.closing.set()
        await service.close()
        tasks.cancel_scope.cancel()
