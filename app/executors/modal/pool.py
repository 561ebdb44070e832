"""Boxes kept ready, each used once.

Theory of operation. Whoever wants a box takes one that is ready, or waits for the next that is.
Boxes are created by tasks of the pool alone, never by those who wait: a run that is cancelled
while its box is being created leaves a box for the next run, not an orphan. How many are kept
ready follows demand: as many as are claimed in the time that it takes to create one (Little's
law), between a floor and a ceiling. A box is retired well before its own lifetime ends.

A run that none of these is large enough for has a box made for itself, by a task of the pool too.
Being too fast for Modal is no failure: it is the bucket's matter, and who waits goes on waiting.
"""

import logging
import math
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import anyio
import anyio.abc

from app.domain.errors import ExecutorError
from app.domain.ports import PoolFigures
from app.executors.modal.box import Box
from app.executors.modal.breaker import Breaker
from app.executors.modal.bucket import Bucket
from app.executors.modal.errors import NoBox, Throttled

log = logging.getLogger(__name__)

_WEIGHT = 0.2  # of the newest figure in a moving average
_HEADROOM = 1.5  # boxes ready for each that is expected to be claimed while one is created
_TEND_EVERY = 1.0  # s between two looks at ages and demand
_JITTER = 0.1  # of the age at which boxes retire, so that they do not all retire at once
_MOST_STARTING = 24  # creates at a time: enough for 8 a second when each takes 3 s
_FIRST_LATENCY = 2.5  # s that a create takes, before one has been seen

Create = Callable[[], Awaitable[Box]]


@dataclass(slots=True, kw_only=True)
class _Ready:
    box: Box
    retires: float


@dataclass(slots=True, kw_only=True)
class _Order:
    """A box that one run alone waits for."""

    made: anyio.Event
    box: Box | None = None
    given_up: bool = False

    def is_wanted(self) -> bool:
        return not self.given_up


class Pool:
    """Made by `open_pool`."""

    def __init__(  # noqa: PLR0913 - all that a pool is made from
        self,
        create: Create,
        tasks: anyio.abc.TaskGroup,
        *,
        floor: int,
        ceiling: int,
        age: float,
        bucket: Bucket,
    ) -> None:
        self._create, self._tasks, self._bucket = create, tasks, bucket
        self._floor, self._ceiling, self._age = floor, ceiling, age
        self._ready: deque[_Ready] = deque()
        self._waiting: deque[anyio.Event] = deque()
        self._breaker = Breaker()
        self._starting = 0
        self._claims = self._warm = 0
        self._arrivals = 0
        self._rate = 0.0  # claims a second
        self._latencies: deque[float] = deque(maxlen=200)

    async def claim(self, budget: float) -> Box:
        """Take a box for one run; the caller must end it.

        Raises:
            NoBox: none was ready within `budget` seconds.
        """
        self._claims += 1
        self._arrivals += 1
        if box := self._take():
            self._warm += 1
            self._fill()
            return box
        with anyio.move_on_after(budget):
            while True:
                bell = anyio.Event()
                self._waiting.append(bell)
                self._fill()
                try:
                    await bell.wait()
                except BaseException:
                    self._give_up(bell)
                    raise
                if box := self._take():
                    return box
        raise self._no_box(budget)

    async def claim_apart(self, create: Create, budget: float) -> Box:
        """Have a box made for one run alone; the caller must end it.

        Raises:
            NoBox: it was not there within `budget` seconds.
        """
        self._claims += 1
        order = _Order(made=anyio.Event())
        self._tasks.start_soon(self._fulfil, order, create)
        try:
            with anyio.move_on_after(budget):
                await order.made.wait()
            if order.box is None:
                raise self._no_box(budget)
            box, order.box = order.box, None
            return box
        finally:
            order.given_up = True
            if order.box is not None:
                self._tasks.start_soon(order.box.end)

    def busy_for(self, budget: float) -> float | None:
        """Return in how many seconds to try again when a run would wait in vain for so long."""
        if self._is_broken:
            return self._breaker.pause
        wait = self._bucket.wait_for(len(self._waiting) + 1)
        return wait - budget if wait > budget and not self._ready else None

    def figures(self) -> PoolFigures:
        """Look at the pool."""
        ordered = sorted(self._latencies)
        return PoolFigures(
            ready=len(self._ready),
            starting=self._starting,
            target=self._target,
            create_p50=_rank(ordered, 0.5),
            create_p95=_rank(ordered, 0.95),
            warm_hit_rate=self._warm / self._claims if self._claims else None,
            is_broken=self._is_broken,
        )

    async def tend(self) -> None:
        """Retire old boxes and follow demand, until cancelled."""
        while True:
            self._rate += _WEIGHT * (self._arrivals / _TEND_EVERY - self._rate)
            self._arrivals = 0
            self._retire()
            self._shrink()
            self._fill()
            await anyio.sleep(_TEND_EVERY)

    async def renew(self) -> None:
        """End the boxes that are ready and make others, without waiting for what went wrong."""
        self._breaker.went_well()
        await self.drain()
        self._fill()

    async def drain(self) -> None:
        """End every box that is ready."""
        async with anyio.create_task_group() as endings:
            while self._ready:
                endings.start_soon(self._ready.popleft().box.end)

    @property
    def _is_broken(self) -> bool:
        return self._breaker.is_open and not self._ready

    @property
    def _latency(self) -> float:
        return _rank(sorted(self._latencies), 0.5) or _FIRST_LATENCY

    @property
    def _target(self) -> int:
        expected = self._rate * self._latency
        return max(self._floor, min(self._ceiling, math.ceil(expected * _HEADROOM)))

    def _take(self) -> Box | None:
        now = anyio.current_time()
        while self._ready:
            ready = self._ready.popleft()
            if ready.retires > now:
                return ready.box
            self._tasks.start_soon(ready.box.end)
        return None

    def _retire(self) -> None:
        now = anyio.current_time()
        for ready in [each for each in self._ready if each.retires <= now]:
            self._ready.remove(ready)
            self._tasks.start_soon(ready.box.end)

    def _shrink(self) -> None:
        """End one box that demand does not ask for any more: it costs what a used one does."""
        if len(self._ready) > self._target:
            self._tasks.start_soon(self._ready.popleft().box.end)

    def _fill(self) -> None:
        wanted = self._target + len(self._waiting) - len(self._ready) - self._starting
        for _ in range(min(wanted, _MOST_STARTING - self._starting)):
            self._starting += 1
            self._tasks.start_soon(self._add)

    async def _add(self) -> None:
        try:
            if (box := await self._make(self._create, await self._permission())) is not None:
                self._offer(box)
        finally:
            self._starting -= 1
        self._fill()

    async def _fulfil(self, order: _Order, create: Create) -> None:
        while order.is_wanted():
            permission = await self._permission()
            if order.is_wanted() and (box := await self._make(create, permission)) is not None:
                order.box = box
                order.made.set()
                break
        if order.box is not None and not order.is_wanted():
            await order.box.end()

    async def _permission(self) -> int:
        await self._breaker.wait()
        return await self._bucket.take()

    async def _make(self, create: Create, permission: int) -> Box | None:
        began = anyio.current_time()
        try:
            box = await create()
        except Throttled as error:
            self._bucket.was_refused(permission)
            log.warning("sandboxes are made slower", extra={"reason": str(error)})
            return None
        except ExecutorError as error:
            self._breaker.failed(str(error), began=began)
            log.warning("no sandbox", extra={"reason": str(error)})
            return None
        self._latencies.append(anyio.current_time() - began)
        self._bucket.went_well()
        self._breaker.went_well()
        return box

    def _offer(self, box: Box) -> None:
        age = self._age * (1 - _JITTER * random.random())  # noqa: S311 - no secret
        self._ready.append(_Ready(box=box, retires=anyio.current_time() + age))
        self._wake()

    def _wake(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()

    def _give_up(self, bell: anyio.Event) -> None:
        """Wait no more; a bell that has rung for us rings for the next."""
        if bell in self._waiting:
            self._waiting.remove(bell)
        elif self._ready:
            self._wake()

    def _no_box(self, budget: float) -> NoBox:
        reason = f": {self._breaker.reason}" if self._breaker.reason else ""
        return NoBox(f"Modal: no sandbox was ready within {budget:g} s{reason}")


@asynccontextmanager
async def open_pool(
    create: Create, *, floor: int, ceiling: int, age: float, bucket: Bucket
) -> AsyncIterator[Pool]:
    """Keep boxes ready; end those that are left on leaving."""
    async with AsyncExitStack() as resources:
        tasks = anyio.create_task_group()
        pool = Pool(create, tasks, floor=floor, ceiling=ceiling, age=age, bucket=bucket)
        # After the tasks: a box that was on its way when they were cancelled is there then.
        resources.push_async_callback(_shielded, pool.drain)
        await resources.enter_async_context(tasks)
        tasks.start_soon(pool.tend)
        try:
            yield pool
        finally:
            tasks.cancel_scope.cancel()


async def _shielded(close: Callable[[], Awaitable[None]]) -> None:
    with anyio.CancelScope(shield=True):
        await close()


def _rank(ordered: list[float], share: float) -> float | None:
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
