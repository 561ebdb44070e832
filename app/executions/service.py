"""What one can do with executions: admission, waiting, cancelling, and the end of the server."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import anyio
import anyio.to_thread
from uuid6 import uuid7

from app.domain.access import AuditEntry
from app.domain.errors import (
    InputRefused,
    LanguageUnavailable,
    Problem,
    QuotaExceeded,
    RateLimited,
    Rejected,
    ServerBusy,
    VersionUnavailable,
)
from app.domain.events import Event
from app.domain.execution import Execution, Status, Submission
from app.domain.language import Language
from app.domain.ports import Executor, Support
from app.executions.compiling import Workshop
from app.executions.files import file_problems
from app.executions.follow import follow, follow_session, until_ended
from app.executions.holder import own_name
from app.executions.live import CANCELLED, NO_SANDBOX, Means
from app.executions.once import TakenError, find_earlier, the_same, wish_of
from app.executions.pages import Key, Pages
from app.executions.recovery import House
from app.executions.rules import Rules
from app.executions.runner import Runner
from app.executions.slots import Occupancy, Slots
from app.executions.suites import suite_problems
from app.storage.store import Bounds, Earlier, Store
from app.storage.usage import Bound, NoShareError

log = logging.getLogger(__name__)

Noting: TypeAlias = Callable[[Execution], AuditEntry]

_CANCEL_PATIENCE = 30.0  # s; a killed program is gone in milliseconds, its end stored soon after
_SANDBOX_PAUSE = 5.0  # s; whoever had to wait for a sandbox in vain has waited longer already
_SOON = 0.1  # s; before any run has been seen
_RESTART = 5.0  # s; a guess of how long a server is away that is started again


class ExecutionService:
    """Accepts, follows and ends executions, wherever they run; made by `open_service`.

    Args:
        runner: what runs them here, or None where only others run them.
        drain: how long, in seconds, programs may go on when the server is about to stop.
    """

    def __init__(  # noqa: PLR0913 - all that an execution needs
        self,
        *,
        means: Means,
        languages: Mapping[str, Language],
        rules: Rules,
        bounds: Bounds,
        runner: Runner | None,
        drain: float,
    ) -> None:
        self.rules = rules
        self.executor, self.figures = means.executor, means.figures
        self._means, self._languages = means, languages
        self._bounds, self._runner, self._drain = bounds, runner, drain
        self._store, self._pages = means.store, Pages(means.store)
        self._closed = anyio.Event()

    @property
    def is_closing(self) -> bool:
        """Whether nothing more is accepted."""
        return self._means.closing.is_set()

    async def submit(self, submission: Submission, noting: Noting | None = None) -> Execution:
        """Accept a program: its row is written, and it runs as soon as somebody has a slot.

        One that was accepted under the same key before is returned instead. `noting` makes the
        entry of the audit log that is written with the row.

        Raises:
            Rejected: it breaks a rule or there is no room; nothing was recorded.
        """
        language = self._languages[submission.program.language]
        wrong = [
            *self.rules.problems(submission),
            *file_problems(language, submission.program),
            *suite_problems(self.rules, language, submission),
        ]
        missing = self._language_problems(submission)
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
        # Shielded: a caller that goes away must not leave a row that nobody looks after.
        with anyio.CancelScope(shield=True):
            try:
                accepted = await self._accept(self._new(submission), submission, noting)
            except TakenError as taken:
                accepted = the_same(taken.earlier, submission)
            except NoShareError as error:
                raise Rejected(self._share_problem(error)) from error
        return accepted

    async def wait(self, execution: Execution, seconds: float) -> Execution:
        """Wait until the execution has ended, but not longer; return it as it is then."""
        live = self._runner and self._runner.find(execution.id)
        if not live:
            return await until_ended(self._store, execution, seconds, self._closed)
        with anyio.move_on_after(seconds):
            await live.done.wait()
        return live.execution

    def busy(self, execution: Execution) -> ServerBusy | None:
        """Say when to try again what has ended for want of a sandbox."""
        if execution.outcome != NO_SANDBOX:
            return None
        message = (
            "No sandbox could be had in time, and nothing has run. Try again later; if there was "
            "an `idempotencyKey`, with another one, for this execution has it now."
        )
        retry_after = self.executor.state().retry_after or _SANDBOX_PAUSE
        return ServerBusy(path=(), message=message, retry_after=retry_after)

    async def cancel(self, owner: str, id: UUID) -> Execution | None:
        """Stop an execution, wherever it runs, and return it when it has ended.

        One that has ended already is returned as it is; an unknown one gives None.
        """
        live = self._runner and self._runner.find(id)
        if live and live.execution.owner == owner:
            live.cancel()
            return await self.wait(live.execution, _CANCEL_PATIENCE)
        found = await self._store.cancel(owner, id, CANCELLED, at=(now := datetime.now(UTC)))
        if found and found.finished_at == now:  # it waited, so nobody else sees its end
            self.figures.ended(found)
        return found and await self.wait(found, _CANCEL_PATIENCE)

    def follow(
        self, owner: str, id: UUID, after: int = 0, *, sees_hidden: bool = True
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of an execution after a number, until its end.

        Raises:
            NoSuchExecution: there is none, or it was deleted meanwhile.
        """
        return follow(self._pages, Key(owner, id, sees_hidden), after)

    def follow_session(self, owner: str, session_id: str) -> AsyncGenerator[Execution, None]:
        """Yield the unfinished executions of a session, and then each that is new or changes."""
        return follow_session(self._store, owner, session_id)

    async def send_input(self, owner: str, id: UUID, data: bytes, *, eof: bool) -> None:
        """Give a program input while it runs, or before; whole or not at all.

        Raises:
            NoSuchExecution: there is none.
            InputRefused: it takes none, or no more for now.
        """
        refusal = await self._store.type_in(owner, id, data, is_last=eof)
        if refusal is not None:
            raise InputRefused(refusal)

    def occupancy(self) -> Occupancy:
        """Count what runs in this process."""
        slots = self._runner and self._runner.slots
        return Occupancy(
            slots=slots.count if slots else 0,
            running=slots.taken if slots else 0,
            queue_size=self._bounds.in_all,
        )

    async def close(self) -> None:
        """Accept nothing more; let programs end within the time to drain, then stop the rest.

        What was not seen to write anything is handed back, to be run by somebody else.
        """
        self._means.closing.set()
        if self._runner:
            with anyio.move_on_after(self._drain):
                await self._runner.until_idle()
            self.stop_all()
            await self._runner.until_idle()
        # Who waits for what runs elsewhere is told how it is.
        self._closed.set()
        self._store.feed.ring_all()

    def stop_all(self) -> None:
        """Stop every program now; `close` sees to their ends."""
        if self._runner:
            self._runner.stop_all()

    async def _accept(
        self, execution: Execution, submission: Submission, noting: Noting | None
    ) -> Execution:
        program, wish = submission.program, wish_of(submission)
        entry = noting and noting(execution)
        # A version that is asked for may be of somebody else, or not be known yet.
        is_known = program.language_version is None or execution.language_version is not None
        if self._runner and is_known and self._runner.may_start_now():
            return await self._runner.start_now(execution, program, wish, entry)
        match await self._store.enqueue(execution, program, self._bounds, wish, entry):
            case Earlier() as earlier:
                raise TakenError(earlier)
            case False:
                raise Rejected(self._busy())
        log.info("execution queued", extra={"id": execution.id})
        return execution

    def _busy(self) -> ServerBusy:
        slots = self._runner and self._runner.slots
        wait = slots.typical_run * self._bounds.in_all / slots.count if slots else 0
        message = (
            f"Too many executions wait: {self._bounds.in_all} may in all, "
            f"{self._bounds.owned} of one owner. Try again later."
        )
        return ServerBusy(path=(), message=message, retry_after=max(wait, _SOON))

    def _share_problem(self, error: NoShareError) -> Problem:
        message = f"There may be at most {error.most:g} {error.bound}. Try again later."
        if error.bound in {Bound.AT_ONCE_OF_OWNER, Bound.AT_ONCE_OF_SUBJECT}:
            wait = self._runner.slots.typical_run if self._runner else _SOON
            return RateLimited(path=(), message=message, retry_after=max(wait, _SOON))
        return QuotaExceeded(path=(), message=message, retry_after=_until_tomorrow())

    def _language_problems(self, submission: Submission) -> Sequence[Problem]:
        language = self._languages[submission.program.language]
        support = self.executor.supports(language)
        if support.reason is None:
            return _version_problems(language, support, submission.program.language_version)
        available = (
            each.id
            for each in self._languages.values()
            if self.executor.supports(each).is_available
        )
        message = f"{language.name} is not available here: {support.reason}"
        return (
            LanguageUnavailable(path=("language",), message=message, available=tuple(available)),
        )

    def _new(self, submission: Submission) -> Execution:
        program = submission.program
        language = self._languages[program.language]
        return Execution(
            id=uuid7(),
            owner=submission.owner,
            status=Status.QUEUED,
            language=language.id,
            language_version=self.executor.supports(language).choose(program.language_version),
            limits=submission.limits,
            executor=self.executor.name,
            attempt=1,
            created_at=datetime.now(UTC),
            kind=submission.kind,
            tests=len(program.suite.cases) if program.suite else 0,
            hidden_tests=program.suite.hidden if program.suite else 0,
            subject=submission.subject,
            session_id=submission.session_id,
            label=submission.label,
            metadata=submission.metadata,
            interactive=submission.interactive,
            origin_id=submission.origin_id,
        )


def _until_tomorrow() -> float:
    now = datetime.now(UTC)
    tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (tomorrow - now).total_seconds()


def _version_problems(
    language: Language, support: Support, wanted: str | None
) -> Sequence[Problem]:
    if wanted is None or support.versions is None or support.choose(wanted) is not None:
        return ()
    message = f"{language.name} {wanted} is not here, but {', '.join(support.versions)}."
    path = ("language_version",)
    return (VersionUnavailable(path=path, message=message, available=support.versions),)


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
    bounds: Bounds,
    slots: Slots | None,
    drain: float,
    idle: float,
    tests_time: float,
    workshop: Workshop,
) -> AsyncIterator[ExecutionService]:
    """Recover what dead processes left, serve, and drain in the end; without slots, run nothing."""
    holder = await anyio.to_thread.run_sync(own_name)
    means = Means(
        store=store,
        executor=executor,
        workshop=workshop,
        holder=holder,
        idle=idle,
        tests_time=tests_time,
    )
    async with anyio.create_task_group() as tasks:
        runner = Runner(means, languages, slots, tasks) if slots else None
        house = House(store, holder, runner, means.figures)
        await house.beat()
        tasks.start_soon(store.feed.listen)
        tasks.start_soon(house.keep)
        tasks.start_soon(workshop.forget_erased, store.feed)
        if runner:
            await tasks.start(runner.claim_regularly)
        service = ExecutionService(
            means=means,
            languages=languages,
            rules=rules,
            bounds=bounds,
            runner=runner,
            drain=drain,
        )
        try:
            yield service
        finally:
            # However the server ends: nobody may go on trying to store an outcome.
            means.closing.set()
        await service.close()
        tasks.cancel_scope.cancel()
