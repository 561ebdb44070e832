"""What one can do with executions: admission, waiting, cancelling, and the end of the server."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import anyio
import anyio.to_thread

from app.domain.errors import InputRefused, Rejected, ServerBusy
from app.domain.events import Event
from app.domain.execution import Execution, Submission, Transcript
from app.domain.language import Language
from app.domain.ports import Executor
from app.executions.admission import Admission, Noting
from app.executions.compiling import Workshop
from app.executions.follow import follow, follow_session, until_ended
from app.executions.holder import own_name
from app.executions.live import CANCELLED, NO_SANDBOX, Live, Means
from app.executions.pages import Key, Pages
from app.executions.recovery import House
from app.executions.rules import Rules
from app.executions.runner import Runner
from app.executions.slots import Occupancy, Slots
from app.storage.store import Bounds, Store

_CANCEL_PATIENCE = 30.0  # s; a killed program is gone in milliseconds, its end stored soon after
_SANDBOX_PAUSE = 5.0  # s; whoever had to wait for a sandbox in vain has waited longer already


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """An execution as it is after a wait."""

    execution: Execution
    transcript: Transcript | None = None
    """All that it has written, where that is known without a look into the database."""


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
        self._admission = Admission(
            means=means, languages=languages, rules=rules, bounds=bounds, runner=runner
        )
        self._means, self._bounds = means, bounds
        self._runner, self._drain = runner, drain
        self._store, self._pages = means.store, Pages(means.store)
        self._closed = anyio.Event()

    @property
    def is_closing(self) -> bool:
        """Whether nothing more is accepted."""
        return self._means.closing.is_set()

    async def submit(self, submission: Submission, noting: Noting | None = None) -> Execution:
        """Accept a program: its row is written, and it runs as soon as somebody has a slot.

        One that was accepted under the same key before is returned instead.

        Raises:
            Rejected: it breaks a rule or there is no room; nothing was recorded.
        """
        return await self._admission.one(submission, noting)

    async def submit_all(
        self, submissions: Sequence[Submission], noting: Noting | None = None
    ) -> list[Execution | Rejected]:
        """Accept programs, each as by `submit`; whether there is room is decided for all at once.

        Returns:
            For each of them its execution, or why there is none.
        """
        return await self._admission.many(submissions, noting)

    async def wait(self, execution: Execution, seconds: float) -> Waited:
        """Wait until the execution has ended, but not longer."""
        until = anyio.current_time() + seconds
        if not (live := self._find(execution.id)):
            execution = await until_ended(
                self._store,
                execution,
                seconds,
                is_here=lambda: self._find(execution.id) is not None,
                closed=self._closed,
            )
            if not (live := self._find(execution.id)):
                return Waited(execution=execution)
        with anyio.move_on_after(until - anyio.current_time()):
            await live.done.wait()
        return Waited(execution=live.execution, transcript=live.transcript)

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
        live = self._find(id)
        if live and live.execution.owner == owner:
            live.cancel()
            return (await self.wait(live.execution, _CANCEL_PATIENCE)).execution
        found = await self._store.cancel(owner, id, CANCELLED, at=(now := datetime.now(UTC)))
        if found and found.finished_at == now:  # it waited, so nobody else sees its end
            self.figures.ended(found)
        return found and (await self.wait(found, _CANCEL_PATIENCE)).execution

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

    def _find(self, id: UUID) -> Live | None:
        """Return an execution that this process looks after."""
        return self._runner.find(id) if self._runner else None

    def stop_all(self) -> None:
        """Stop every program now; `close` sees to their ends."""
        if self._runner:
            self._runner.stop_all()


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
