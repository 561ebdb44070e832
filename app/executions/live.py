"""One execution from its acceptance to its stored end."""

import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

import anyio
from structlog.contextvars import bound_contextvars

from app.domain.execution import Execution, Exit, KillReason, Outcome, Output, Program, Status
from app.domain.language import Language
from app.domain.ports import Executor, Placement
from app.domain.verdict import judge
from app.executions.batch import Batch
from app.executions.compiling import Workshop
from app.executions.figures import Figures
from app.executions.keyboard import Keyboard
from app.executions.once import TakenError
from app.executions.recovery import lease
from app.executions.room import Place
from app.executions.run import Workplace, run_program
from app.storage.errors import StorageError
from app.storage.store import LogEntry, Store, Wish

log = logging.getLogger(__name__)

_RETRY_PAUSE = 1.0  # s between tries to store an outcome while the database is away
_STOPPED = Outcome(
    status=Status.INFRASTRUCTURE_ERROR,
    message="The server was stopped before the program had ended. Run it again.",
)


class LeaseLostError(Exception):
    """The row is no longer ours: somebody took us for dead. Nothing more may be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What every execution of this process needs."""

    store: Store
    executor: Executor
    workshop: Workshop
    holder: str
    idle: float
    """Seconds that an interactive program may wait for input."""
    figures: Figures = field(default_factory=Figures)
    closing: anyio.Event = field(default_factory=anyio.Event)
    """Set when the server is about to stop."""


class Live:
    """An execution that this process looks after."""

    def __init__(
        self, execution: Execution, program: Program, language: Language, place: Place, means: Means
    ) -> None:
        self.execution = execution
        self.place = place
        self.done = anyio.Event()
        """Set when its end is stored and no process of it is left."""
        self._program, self._language, self._means = program, language, means
        self._batch = Batch(self._write)
        self._scope = anyio.CancelScope()
        self._has_written = False
        self._end_by: KillReason | None = None
        self._keyboard: Keyboard | None = None
        if execution.interactive:
            self._keyboard = Keyboard(means.store, execution.id, means.holder, means.idle)

    @property
    def id(self) -> UUID:
        """Of the execution."""
        return self.execution.id

    def cancel(self) -> None:
        """End it, because somebody wants that."""
        self._end_by = KillReason.CANCELLED
        self._scope.cancel()

    def stop(self) -> None:
        """End it, because the server ends."""
        self._scope.cancel()

    async def insert(self, wish: Wish | None) -> None:
        """Write its first row.

        Raises:
            TakenError: the wish was fulfilled before.
        """
        store, held = self._means.store, lease(self._means.holder)
        if wish is None:
            await store.insert(self.execution, self._program, held)
        elif earlier := await store.insert_once(self.execution, self._program, held, wish):
            raise TakenError(earlier)

    async def see_through(self) -> None:
        """Run it and store its end; whatever goes wrong here is one execution's matter."""
        with bound_contextvars(id=str(self.id)):
            await self._see_through()

    async def _see_through(self) -> None:
        log.info("execution accepted", extra={"id": self.id})
        try:
            outcome = await self._outcome()
            # Shielded: an end that was reached must be stored.
            with anyio.CancelScope(shield=True):
                await self._finish(outcome)
        except LeaseLostError:
            log.warning("lease lost", extra={"id": self.id})
            await self._read_again()
        except Exception:
            log.exception("execution without a stored end", extra={"id": self.id})

    async def _outcome(self) -> Outcome:
        try:
            with self._scope:
                await self._take_slot()
                return judge(await self._run())
        except Exception as error:
            if _is_lease_lost(error):
                raise LeaseLostError from error
            log.exception("execution failed", extra={"id": self.id})
            if self._end_by is None:
                return _failed(self.id)
        return _STOPPED if self._end_by is None else judge(Exit(kill_reason=self._end_by))

    async def _take_slot(self) -> None:
        if self.place.has_slot:
            return
        await self.place.wait()
        at, held = datetime.now(UTC), lease(self._means.holder)
        if not await self._means.store.mark_running(self.id, at=at, lease=held):
            raise LeaseLostError
        self.execution = replace(self.execution, status=Status.RUNNING, started_at=at)

    async def _run(self) -> Exit:
        async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
            tasks.start_soon(self._batch.flush_regularly)
            typed = None
            if self._keyboard:
                tasks.start_soon(self._end_when_idle, self._keyboard)
                typed = await stack.enter_async_context(aclosing(self._keyboard.pieces()))
            end = await run_program(
                Workplace(
                    executor=self._means.executor,
                    workshop=self._means.workshop,
                    owner=self.execution.owner,
                    version=self.execution.language_version,
                ),
                self._language,
                self._program,
                self.execution.limits,
                self._emit,
                self._place,
                typed,
            )
            tasks.cancel_scope.cancel()
        return end

    async def _emit(self, output: Output) -> None:
        if self._keyboard:
            self._keyboard.stirred()
        if not self._has_written:
            self._has_written = True
            self._means.figures.first_output(self.execution)
        await self._batch.emit(output)

    async def _end_when_idle(self, keyboard: Keyboard) -> None:
        await keyboard.idle()
        self._end_by = KillReason.WALL_TIME
        self._scope.cancel()

    async def _place(self, placement: Placement) -> None:
        if not await self._means.store.place(self.id, placement, holder=self._means.holder):
            raise LeaseLostError

    async def _write(self, entries: Sequence[LogEntry]) -> None:
        while True:
            try:
                holder = self._means.holder
                if not await self._means.store.append(self.id, entries, holder=holder):
                    raise LeaseLostError
            except StorageError as error:
                # The program waits as well, when it writes more than we hold.
                if self._scope.cancel_called or self._means.closing.is_set():
                    raise
                log.error("output not stored yet", extra={"id": self.id, "reason": str(error)})  # noqa: TRY400
                await anyio.sleep(_RETRY_PAUSE)
            else:
                return

    async def _finish(self, outcome: Outcome) -> None:
        at, entries = datetime.now(UTC), self._batch.take()
        self.execution = replace(
            self.execution, status=outcome.status, outcome=outcome, finished_at=at
        )
        while True:
            try:
                await self._store_end(outcome, at, entries)
            except StorageError as error:
                log.error("outcome not stored yet", extra={"id": self.id, "reason": str(error)})  # noqa: TRY400
                if self._means.closing.is_set():
                    return  # the next server finds the row and ends it
                await anyio.sleep(_RETRY_PAUSE)
            else:
                self._means.figures.ended(self.execution)
                log.info("execution ended", extra={"id": self.id, "status": outcome.status})
                return

    async def _store_end(self, outcome: Outcome, at: datetime, entries: Sequence[LogEntry]) -> None:
        store, holder = self._means.store, self._means.holder
        try:
            is_ours = await store.finish(self.id, outcome, at=at, entries=entries, holder=holder)
        except StorageError:
            raise
        except Exception:
            # Better an end without its last output than none: nobody else would end this row.
            log.exception("last output not stored", extra={"id": self.id})
            is_ours = await store.finish(self.id, outcome, at=at, holder=holder)
        if not is_ours:
            raise LeaseLostError

    async def _read_again(self) -> None:
        """Take over what somebody else made of it."""
        try:
            found = await self._means.store.executions(self.execution.owner, [self.id])
        except StorageError:
            return
        self.execution = found.get(self.id, self.execution)


def _failed(id: UUID) -> Outcome:
    return Outcome(
        status=Status.INFRASTRUCTURE_ERROR,
        message="The sandbox or the database failed, not the program. The operator finds the "
        f"reason in the server's log at id={id}.",
    )


def _is_lease_lost(error: Exception) -> bool:
    if isinstance(error, ExceptionGroup):
        return error.subgroup(LeaseLostError) is not None
    return isinstance(error, LeaseLostError)
