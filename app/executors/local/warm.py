"""Cells that wait for their program: made ahead, used once, refilled off the way of the answers.

Theory of operation
-------------------
For each language a fork server is up (`zygote.py`). A *slot* is a cell that came out of it, with
its cgroup, its pipes, its scratch space and the process that will be the program, enclosed behind
every wall and blocked. A task of its own owns each slot, from the fork until its last trace is
removed, so whoever runs a program in one waits for nothing but the end of its processes.

What a run has used is replaced and cleared away while the next one's program runs, for only then
has the server nothing else to do; or a moment later, when nobody comes.

A run takes the slot that has waited longest. Without one it waits a moment for the next, for to
fork is quicker than to start a cold cell; if none comes, or the fork server is broken, the caller
starts a cold cell instead, so nothing here can fail a run. As many slots are kept ready as were in
use at one time lately, between a floor and a ceiling.

All that comes out of one fork server shares its hash seed and its layout in memory. So it is
replaced after so many forks or so much time; the old one ends with its last run.
"""

import logging
import math
import os
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import anyio
import anyio.abc
import anyio.to_thread

from app.domain.errors import ExecutorError
from app.domain.limits import Limits
from app.executors.local.cell import Cell, Start
from app.executors.local.cgroups import Cgroups
from app.executors.local.control import Part
from app.executors.local.meter import CensusMeter, CgroupMeter
from app.executors.local.pipes import make_pipes
from app.executors.local.run import INODES
from app.executors.local.seccomp import seccomp_filter
from app.executors.local.stage import Stage
from app.executors.local.zygote import Recipe, Zygote, start_zygote

log = logging.getLogger(__name__)

_CPUS = len(os.sched_getaffinity(0))
FLOOR, CEILING = 2, 2 + 2 * _CPUS  # slots; no more programs run at one time than there are CPUs
_PATIENCE = 1.0  # s; a fork takes two milliseconds, a cold cell forty
_REST = 0.02  # s; an answer is stored and sent before its slot is replaced and cleared away
_PAUSES = (0.1, 1.0, 10.0, 60.0)  # s between starts that fail one after another
_FADES = 0.9  # of the demand that is remembered, at each use


@dataclass(slots=True, kw_only=True)
class Slot:
    """A cell that waits, or that is in use."""

    cell: Cell
    meter: CgroupMeter | CensusMeter
    zygote: Zygote
    over: anyio.Event = field(default_factory=anyio.Event)
    """Set when it is of no more use; then its owner removes it."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody who came when no slot was ready."""

    slot: Slot | None = None
    bell: anyio.Event = field(default_factory=anyio.Event)


class WarmCells:
    """The warm cells of one language; made by `keep_warm`."""

    def __init__(
        self, stage: Stage, recipe: Recipe, cgroups: Cgroups | None, tasks: anyio.abc.TaskGroup
    ) -> None:
        self.recipe = recipe
        self._stage, self._cgroups, self._tasks = stage, cgroups, tasks
        self._zygote: Zygote | None = None
        self._ready: deque[Slot] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._owned = self._forking = self._in_use = self._failures = 0
        self._demand = 0.0
        self._lull = anyio.Event()
        self.asked = self.found = self.served = 0
        """How many runs wanted a slot, found one that was ready, and got one in the end."""
        self.latencies: deque[float] = deque(maxlen=200)
        """Seconds that it took to make a slot."""
        self.tried = anyio.Event()
        """Set when the first slot is ready, or could not be made."""
        self.problem = ""
        """What went wrong last."""
        self._part = Part(
            kind=recipe.kind.value,
            argv=recipe.started,
            known=len(recipe.argv),
            environment=recipe.environment,
            covered=recipe.covered,
            disk=recipe.limits.disk,
            inodes=INODES,
            seccomp=seccomp_filter(),
        )

    @asynccontextmanager
    async def slot(self, limits: Limits) -> AsyncIterator[Slot | None]:
        """Take a slot for one run under these limits, or None where a cold cell is needed."""
        slot = await self._take()
        if slot is None:
            yield None
            return
        self._in_use += 1
        self.served += 1
        self._demand = max(self._demand * _FADES, self._in_use + len(self._waiters))
        try:
            yield slot if await self._fits(slot, limits) else None
        finally:
            slot.cell.kill()
            with anyio.CancelScope(shield=True), suppress(ExecutorError):
                await slot.cell.wait()
            slot.over.set()
            self._in_use -= 1
            if not self._ready:
                self._fill()

    @property
    def _target(self) -> int:
        return max(FLOOR, min(CEILING, math.ceil(self._demand) + 1))

    def counts(self) -> tuple[int, int, int]:
        """Return how many slots are ready, how many are being made, and how many are wanted."""
        return len(self._ready), self._forking, self._target

    async def _fits(self, slot: Slot, limits: Limits) -> bool:
        """Give a slot the limits of its run; False if it cannot have them."""
        if limits == self.recipe.limits:
            return True
        try:
            await anyio.to_thread.run_sync(slot.meter.change, limits)
        except OSError:
            return False  # less memory than it holds by now
        return True

    async def _take(self) -> Slot | None:
        self.asked += 1
        if slot := self._next():
            self.found += 1
            return slot
        if self._zygote is None:
            return None
        waiter = _Waiter()
        self._waiters.append(waiter)
        self._fill()
        try:
            with anyio.move_on_after(_PATIENCE):
                await waiter.bell.wait()
        except BaseException:
            if waiter.slot:
                self._offer(waiter.slot)
            raise
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
        return waiter.slot

    def _next(self) -> Slot | None:
        while self._ready:
            slot = self._ready.popleft()
            if slot.cell.is_alive():
                return slot
            slot.over.set()
        return None

    def _offer(self, slot: Slot) -> None:
        if self._waiters:
            waiter = self._waiters.popleft()
            waiter.slot = slot
            waiter.bell.set()
        else:
            self._ready.append(slot)

    def begun(self) -> None:
        """Say that a program has begun: while it runs, there is time to clear up."""
        self._lull.set()
        self._lull = anyio.Event()

    def _fill(self) -> None:
        zygote = self._zygote
        if zygote is None:
            return
        if zygote.is_old:
            self._retire(zygote)
            return
        wanted = self._target + len(self._waiters) - len(self._ready) - self._forking
        for _ in range(wanted):
            self._forking += 1
            self._tasks.start_soon(self._own, zygote)

    def _retire(self, zygote: Zygote) -> None:
        """Let go of a fork server: another takes its place, and it ends with its last run."""
        if self._zygote is zygote:
            self._zygote = None
            for slot in [each for each in self._ready if each.zygote is zygote]:
                self._ready.remove(slot)
                slot.over.set()
            zygote.retire()
            self._tasks.start_soon(self.raise_zygote)

    async def raise_zygote(self) -> None:
        """Own a fork server, until it is retired and nothing of it lives."""
        if self._failures:
            await anyio.sleep(_PAUSES[min(self._failures, len(_PAUSES)) - 1])
        try:
            async with start_zygote(self._stage, self.recipe) as zygote:
                self._zygote = zygote
                self._fill()
                await zygote.ended.wait()
        except Exception as error:  # noqa: BLE001 - whatever it was, it is one cell's matter
            self._failed(error)
            self._tasks.start_soon(self.raise_zygote)

    async def _own(self, zygote: Zygote) -> None:
        """Own a slot, from the fork until its last trace is removed."""
        self._owned += 1
        forking, began = True, anyio.current_time()
        try:
            with zygote.held():
                async with self._made(zygote) as slot:
                    self._forking, forking = self._forking - 1, False
                    self._failures = 0
                    self.latencies.append(anyio.current_time() - began)
                    self.tried.set()
                    self._offer(slot)
                    await slot.over.wait()
                    with anyio.move_on_after(_REST):
                        await self._lull.wait()
                    self._fill()
        except Exception as error:  # noqa: BLE001 - whatever it was, it is one cell's matter
            self._failed(error)
            self._retire(zygote)
        finally:
            self._forking -= forking
            self._owned -= 1

    @asynccontextmanager
    async def _made(self, zygote: Zygote) -> AsyncIterator[Slot]:
        async with AsyncExitStack() as slot:
            leaf = None
            if self._cgroups is not None:
                make = partial(CgroupMeter.make, self._cgroups, self.recipe.limits)
                leaf = await anyio.to_thread.run_sync(make)
                slot.push_async_callback(_remove, leaf)
            ends = slot.enter_context(ExitStack())
            control = zygote.fork(ends)
            ours, theirs = make_pipes(ends, zygote.owner)
            descriptors = [*(end.fd for end in theirs), *(leaf.joins if leaf else ())]
            await control.send(self._part, descriptors)
            for end in theirs:
                end.close()
            start = Start(control, zygote.complaint, zygote.owner)
            cell = await slot.enter_async_context(start.ready())
            cell.pipes = ours
            meter = leaf or CensusMeter(cell)
            meter.begin()
            yield Slot(cell=cell, meter=meter, zygote=zygote)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self.problem = str(error)
        self.tried.set()
        log.warning(
            "no warm cell",
            extra={"reason": str(error), "failures": self._failures},
            exc_info=not isinstance(error, ExecutorError | OSError),
        )


@asynccontextmanager
async def keep_warm(
    stage: Stage, recipe: Recipe, cgroups: Cgroups | None
) -> AsyncIterator[WarmCells]:
    """Keep cells of one language warm; on leaving, nothing of them is left."""
    async with anyio.create_task_group() as tasks:
        cells = WarmCells(stage, recipe, cgroups, tasks)
        tasks.start_soon(cells.raise_zygote)
        try:
            yield cells
        finally:
            tasks.cancel_scope.cancel()


async def _remove(leaf: CgroupMeter) -> None:
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(leaf.remove)
