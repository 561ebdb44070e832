"""One execution from its acceptance to its stored end."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import anyio
from structlog.contextvars import bound_contextvars

from app.domain.errors import NoSandbox
from app.domain.execution import Exit, File, KillReason, Outcome, Output, Status, Transcript
from app.domain.language import Language
from app.domain.ports import Executor, Placement
from app.domain.results import CaseResult
from app.domain.testing import Suite, Verdict
from app.domain.verdict import judge
from app.executions.batch import Batch
from app.executions.compiling import Scope, Workshop
from app.executions.figures import Figures
from app.executions.keyboard import Keyboard
from app.executions.run import ARTIFACTS, Input, Prepared, Workplace, prepare, run_prepared
from app.executions.testing import Examination, SpareSlots
from app.storage.errors import StorageError
from app.storage.feed import cancels_of, events_of
from app.storage.store import Adopted, Hold, LastWords, LogEntry, Store, Work

log = logging.getLogger(__name__)

_RETRY_PAUSE = 1.0  # s between tries to store something while the database is away
CANCELLED = judge(Exit(kill_reason=KillReason.CANCELLED))
LOST = Outcome(
    status=Status.INFRASTRUCTURE_ERROR,
    message="The server that ran this program stopped unexpectedly; what it had written by "
    "then is kept. Run it again.",
)
NO_SANDBOX = Outcome(
    status=Status.INFRASTRUCTURE_ERROR,
    message="No sandbox could be had in time, so nothing of the program has run. Run it again "
    "later.",
)
_STOPPED = Outcome(
    status=Status.INFRASTRUCTURE_ERROR,
    message="The server was stopped before the program had ended. Run it again.",
)


class LeaseLostError(Exception):
    """The row is no longer ours: somebody took us for dead. Nothing more may be written."""


class EndUnknownError(Exception):
    """Of a program that another process had started, nothing is left to be found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What every execution of this process needs."""

    store: Store
    executor: Executor
    workshop: Workshop
    holder: str
    idle: float
    """Seconds that an interactive program may wait for input."""
    tests_time: float
    """Seconds that all tests of an execution may take together, by the clock."""
    figures: Figures = field(default_factory=Figures)
    comparing: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))
    """For outputs of tests: to compare takes our own processor, and one is enough."""
    closing: anyio.Event = field(default_factory=anyio.Event)
    """Set when the server is about to stop."""


class Live:
    """An execution that runs and that this process looks after."""

    def __init__(
        self,
        work: Work,
        language: Language,
        means: Means,
        slots: SpareSlots,
        adopted: Adopted | None = None,
    ) -> None:
        self.execution = work.execution
        self.hold = Hold(id=self.id, holder=means.holder, attempt=work.execution.attempt)
        self.done = anyio.Event()
        """Set when its end is stored and no process of it is left."""
        self.transcript: Transcript | None = None
        """All that it has written, once that is stored; None where it is much."""
        self._program, self._language, self._means = work.program, language, means
        self._slots, self._adopted = slots, adopted
        self._batch = Batch(
            self._write,
            is_followed=partial(means.store.feed.may_be_heard, events_of(self.id)),
            first=adopted.next_seq if adopted else 1,
        )
        self._scope = anyio.CancelScope()
        self._has_written = False
        self._end_by: KillReason | None = None
        self._is_lost = False
        self._verdict: Verdict | None = None
        self._artifacts: Sequence[File] = ()
        self._keyboard: Keyboard | None = None
        if self.execution.interactive:
            self._keyboard = Keyboard(means.store, self.id, means.holder, means.idle)

    @property
    def id(self) -> UUID:
        """Of the execution."""
        return self.execution.id

    def cancel(self) -> None:
        """End it, because somebody wants that."""
        self._end(KillReason.CANCELLED)

    def stop(self) -> None:
        """End it, because the server ends."""
        self._scope.cancel()

    def lose(self) -> None:
        """End it and say no word, because another process has it now."""
        self._is_lost = True
        self._scope.cancel()

    async def see_through(self) -> None:
        """Run it and store its end; whatever goes wrong here is one execution's matter."""
        with bound_contextvars(id=str(self.id)):
            await self._see_through()

    async def _see_through(self) -> None:
        log.info("execution accepted", extra={"id": self.id, "attempt": self.hold.attempt})
        try:
            outcome = await self._outcome()
            # Shielded: an end that was reached must be stored.
            with anyio.CancelScope(shield=True):
                if outcome in {_STOPPED, LOST} and await self._hand_back():
                    return
                await self._finish(outcome)
        except LeaseLostError:
            log.warning("lease lost", extra={"id": self.id})
            await self._read_again()
        except Exception:
            log.exception("execution without a stored end", extra={"id": self.id})

    async def _outcome(self) -> Outcome:
        try:
            with self._scope:
                return await self._run()
        except Exception as error:
            if _has(error, LeaseLostError):
                raise LeaseLostError from error
            if _has(error, EndUnknownError):
                return LOST
            has_begun = self._has_written or not _has(error, NoSandbox)
            if has_begun:
                log.exception("execution failed", extra={"id": self.id})
            else:
                log.warning("no sandbox in time", extra={"id": self.id, "reason": str(error)})
            if self._end_by is None:
                return _failed(self.id) if has_begun else NO_SANDBOX
        if self._is_lost:
            raise LeaseLostError
        return _STOPPED if self._end_by is None else judge(Exit(kill_reason=self._end_by))

    async def _run(self) -> Outcome:
        async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
            tasks.start_soon(self._batch.flush_regularly)
            tasks.start_soon(self._heed_wishes)
            typed = None
            if self._keyboard:
                tasks.start_soon(self._end_when_idle, self._keyboard)
                typed = await stack.enter_async_context(aclosing(self._keyboard.pieces()))
            outcome = await self._carry_out(typed)
            tasks.cancel_scope.cancel()
        return outcome

    async def _carry_out(self, typed: AsyncIterator[bytes] | None) -> Outcome:
        if self._adopted:
            return self._judge(await self._reattach(self._adopted))
        place = Workplace(
            executor=self._means.executor,
            workshop=self._means.workshop,
            scope=self._scope_of_products(),
            version=self.execution.language_version,
            environment=self._program.environment,
        )
        prepared = await prepare(place, self._language, self._program)
        if prepared.is_ready and (suite := self._program.suite):
            return await self._examine(place, prepared, suite)
        program, limits = self._program, self.execution.limits
        given = Input(stdin=program.stdin, args=program.args, typed=typed, collect=ARTIFACTS)
        return self._judge(
            await run_prepared(place, prepared, given, limits, self._emit, self._place)
        )

    def _judge(self, end: Exit) -> Outcome:
        self._artifacts = end.product or ()
        return judge(end)

    async def _examine(self, place: Workplace, prepared: Prepared, suite: Suite) -> Outcome:
        is_first = self.hold.attempt == 1
        examination = Examination(
            place=place,
            prepared=prepared,
            program=self._program,
            suite=suite,
            slots=self._slots,
            record=self._record,
            comparing=self._means.comparing,
            done=() if is_first else await self._means.store.ended_tests(self.id),
        )
        outcome = _too_slow(self._means.tests_time)
        with anyio.move_on_after(self._means.tests_time):
            outcome, self._verdict = await examination()
        return outcome

    def _scope_of_products(self) -> Scope:
        # A person knows one session, and must not learn from a hit what others have compiled.
        execution = self.execution
        return execution.owner, execution.session_id if execution.subject else None

    async def _reattach(self, adopted: Adopted) -> Exit:
        end = await self._means.executor.reattach(
            adopted.placement,
            self.execution.limits,
            self._emit,
            skip=adopted.stored,
            collect=ARTIFACTS,
            placed=self._place,
        )
        if end is None:
            raise EndUnknownError
        return end

    async def _heed_wishes(self) -> None:
        """End it when another process is asked to; after a silence, look whether it was."""
        with self._means.store.feed.bell(cancels_of(self.id)) as bell:
            while await bell.wait() is None:
                with suppress(StorageError):
                    if await self._means.store.is_unwanted(self.hold):
                        break
        self.cancel()

    async def _emit(self, output: Output) -> None:
        if self._keyboard:
            self._keyboard.stirred()
        if not self._has_written:
            self._has_written = True
            self._means.figures.first_output(self.execution)
        await self._batch.emit(output)

    async def _end_when_idle(self, keyboard: Keyboard) -> None:
        await keyboard.idle()
        self._end(KillReason.WALL_TIME)

    def _end(self, reason: KillReason) -> None:
        """Write the reason down, then kill; the first reason stands."""
        self._end_by = self._end_by or reason
        self._scope.cancel()

    async def _place(self, placement: Placement) -> None:
        if not await self._means.store.place(self.hold, placement):
            raise LeaseLostError

    async def _write(self, entries: Sequence[LogEntry]) -> None:
        await self._store(partial(self._means.store.append, self.hold, entries))

    async def _record(self, results: Sequence[CaseResult]) -> None:
        self._has_written = True
        await self._store(partial(self._means.store.record, self.hold, results))

    async def _store(self, write: Callable[[], Awaitable[bool]]) -> None:
        while True:
            try:
                if not await write():
                    raise LeaseLostError
            except StorageError as error:
                # The program waits as well, when it writes more than we hold.
                if self._scope.cancel_called or self._means.closing.is_set():
                    raise
                log.error("output not stored yet", extra={"id": self.id, "reason": str(error)})  # noqa: TRY400
                await anyio.sleep(_RETRY_PAUSE)
            else:
                return

    async def _hand_back(self) -> bool:
        """Let it run again from its beginning, if nothing of it has been seen."""
        try:
            is_queued = await self._means.store.hand_back(self.hold)
        except StorageError:
            return False
        if is_queued:
            attempt = self.hold.attempt + 1
            self.execution = replace(self.execution, status=Status.QUEUED, attempt=attempt)
            log.info("execution handed back", extra={"id": self.id})
        return is_queued

    async def _finish(self, outcome: Outcome) -> None:
        entries = self._batch.take()
        # Not before it began, whatever another host's clock says.
        at = max(datetime.now(UTC), self.execution.started_at or self.execution.created_at)
        self.execution = replace(
            self.execution,
            status=outcome.status,
            outcome=outcome,
            finished_at=at,
            verdict=(self._verdict or Verdict.ERROR) if self.execution.tests else None,
        )
        while True:
            try:
                await self._store_end(outcome, at, entries)
            except StorageError as error:
                log.error("outcome not stored yet", extra={"id": self.id, "reason": str(error)})  # noqa: TRY400
                if self._means.closing.is_set():
                    return  # the next server finds the row and decides
                await anyio.sleep(_RETRY_PAUSE)
            else:
                self._means.figures.ended(self.execution)
                log.info("execution ended", extra={"id": self.id, "status": outcome.status})
                return

    async def _store_end(self, outcome: Outcome, at: datetime, entries: Sequence[LogEntry]) -> None:
        store, transcript = self._means.store, None
        try:
            last = LastWords(entries=entries, artifacts=self._artifacts, verdict=self._verdict)
            is_ours = await store.finish(self.hold, outcome, at=at, last=last)
            transcript = self._batch.transcript()
        except StorageError:
            raise
        except Exception:
            # Better an end without its last output than none: nobody else would end this row.
            log.exception("last output not stored", extra={"id": self.id})
            last = LastWords(verdict=self._verdict)
            is_ours = await store.finish(self.hold, outcome, at=at, last=last)
        if not is_ours:
            raise LeaseLostError
        self.transcript = transcript

    async def _read_again(self) -> None:
        """Take over what somebody else made of it."""
        try:
            found = await self._means.store.executions(self.execution.owner, [self.id])
        except StorageError:
            return
        self.execution = found.get(self.id, self.execution)


def _too_slow(seconds: float) -> Outcome:
    message = f"All tests together may take {seconds:g} s; the rest was not run."
    return replace(judge(Exit(kill_reason=KillReason.WALL_TIME)), message=message)


def _failed(id: UUID) -> Outcome:
    return Outcome(
        status=Status.INFRASTRUCTURE_ERROR,
        message="The sandbox or the database failed, not the program. The operator finds the "
        f"reason in the server's log at id={id}.",
    )


def _has(error: Exception, kind: type[Exception]) -> bool:
    if isinstance(error, ExceptionGroup):
        return error.subgroup(kind) is not None
    return isinstance(error, kind)
