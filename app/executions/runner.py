"""Runs as many executions as this process has slots for: those of its own callers, and the queue's.

Theory of operation. A row that waits belongs to nobody until someone claims it, so it makes no
difference which process was asked. One that has a free slot and knows of nobody who waits need not
go through the queue: the row is inserted as running, and a short program costs two commits.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias
from uuid import UUID

import anyio
import anyio.abc

from app.domain.execution import Execution, Status
from app.domain.language import Language
from app.executions.live import Live, Means
from app.executions.once import TakenError
from app.executions.slots import Slots
from app.storage.feed import QUEUE, Bell
from app.storage.store import Adopted, Arrival, Claimer, Work

log = logging.getLogger(__name__)

Leave: TypeAlias = Callable[[], None]

_LOOK_EVERY = 5.0  # s; the bell tells at once, this is for what no bell tells


class Runner:
    """Looks after the executions of this process."""

    def __init__(
        self,
        means: Means,
        languages: Mapping[str, Language],
        slots: Slots,
        tasks: anyio.abc.TaskGroup,
    ) -> None:
        self.slots = slots
        self._means, self._languages, self._tasks = means, languages, tasks
        self._live: dict[UUID, Live] = {}
        self._starting: set[UUID] = set()
        self._claiming = anyio.Lock()
        self._bell = Bell()
        self._may_be_more = True
        self._is_stopping = False

    @property
    def executor(self) -> str:
        """The kind of executor that runs them."""
        return self._means.executor.name

    def find(self, id: UUID) -> Live | None:
        """Return an execution that this process looks after."""
        return self._live.get(id)

    def may_start_now(self) -> bool:
        """Take a slot when one is free and nobody is known to wait for it."""
        somebody_waits = self._may_be_more or self._bell.is_rung
        return not somebody_waits and self.slots.take(1) == 1

    def give_back(self) -> None:
        """Give back a slot in which nothing has begun, or a part of something has ended."""
        self.slots.give_back(1)
        if self._may_be_more:
            self._bell.ring("")

    async def start_now(self, arrival: Arrival) -> Execution:
        """Begin an execution in the slot that was taken for it; its row is written first.

        Raises:
            TakenError: the wish was fulfilled before.
            NoShareError: its owner has had its share.
        """
        execution = arrival.execution
        running = replace(execution, status=Status.RUNNING, started_at=execution.created_at)
        live = self._new(Work(execution=running, program=arrival.program))
        # Known before its row is: a server that closes now waits for this one too.
        leave = self._enter(live)
        self._starting.add(live.id)
        try:
            arrival = replace(arrival, execution=running)
            if earlier := await self._means.store.insert(arrival, self._means.holder):
                raise TakenError(earlier)  # noqa: TRY301 - what follows is for every error
        except BaseException:
            self._forget(live, leave)
            raise
        finally:
            self._starting.discard(live.id)
        self._tasks.start_soon(self._look_after, live, leave)
        return running

    def adopt(self, adopted: Adopted) -> None:
        """Go on with what a dead process has left; it runs elsewhere, and needs no slot of ours."""
        work = Work(execution=adopted.execution, program=adopted.program)
        live = self._new(work, adopted)
        self.slots.taken += 1
        self._tasks.start_soon(self._look_after, live, self._enter(live))

    async def claim_regularly(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        """Take from the queue what there are slots for, until the server closes."""
        with self._means.store.feed.bell(QUEUE) as self._bell:
            await self._claim_or_log()
            task_status.started()
            while not self._means.closing.is_set():
                with anyio.move_on_after(_LOOK_EVERY):
                    await self._bell.wait()
                    self._may_be_more = True
                await self._claim_or_log()

    async def renew(self) -> None:
        """Renew the leases of what we look after; what is ours no more is ended."""
        live = [each for each in self._live.values() if each.id not in self._starting]
        if not live:
            return
        renewed = await self._means.store.renew(self._means.holder, [each.id for each in live])
        for each in live:
            if renewed.attempts.get(each.id) != each.hold.attempt:
                each.lose()
            elif each.id in renewed.cancelled:
                each.cancel()

    def stop_all(self) -> None:
        """Stop every program now; `until_idle` sees to their ends."""
        self._is_stopping = True
        for live in self._live.values():
            live.stop()

    async def until_idle(self) -> None:
        """Wait until nothing is left to look after."""
        async with self._claiming:
            pass  # what is being claimed is looked after as well
        while self._live:
            await next(iter(self._live.values())).done.wait()

    async def _claim_or_log(self) -> None:
        try:
            async with self._claiming:
                # Shielded: what was claimed is looked after.
                with anyio.CancelScope(shield=True):
                    await self._claim()
        except Exception:
            # Whatever it was, somebody must go on to claim.
            log.exception("nothing claimed")

    async def _claim(self) -> None:
        if self._means.closing.is_set() or not (wanted := self.slots.take(self.slots.count)):
            return
        taken: Sequence[Work] = ()
        try:
            taken = await self._means.store.claim(self._claimer(), wanted)
        finally:
            self.slots.give_back(wanted - len(taken))
        self._may_be_more = len(taken) == wanted
        for work in taken:
            live = self._new(work)
            self._tasks.start_soon(self._look_after, live, self._enter(live))

    def _claimer(self) -> Claimer:
        executor = self._means.executor
        supports = {id: executor.supports(each) for id, each in self._languages.items()}
        runs = {id: each for id, each in supports.items() if each.is_available}
        return Claimer(holder=self._means.holder, executor=executor.name, runs=runs)

    def _new(self, work: Work, adopted: Adopted | None = None) -> Live:
        language = self._languages[work.execution.language]
        return Live(work, language, self._means, self, adopted)

    def _enter(self, live: Live) -> Leave:
        self._live[live.id] = live
        return self.slots.occupy()

    async def _look_after(self, live: Live, leave: Leave) -> None:
        try:
            if self._is_stopping:
                live.stop()
            await live.see_through()
        finally:
            self._forget(live, leave)

    def _forget(self, live: Live, leave: Leave) -> None:
        leave()
        if self._live.get(live.id) is live:  # and not a second try of the same
            del self._live[live.id]
        live.done.set()
        if self._may_be_more:
            self._bell.ring("")
