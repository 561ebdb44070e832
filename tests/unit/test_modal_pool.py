"""Boxes kept ready, each used once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import pytest

from app.executors.modal.box import Box
from app.executors.modal.bucket import Bucket
from app.executors.modal.errors import ModalError, NoBox, Throttled
from app.executors.modal.pool import Pool, open_pool


class Made:
    """A box that only knows whether it has been ended."""

    def __init__(self) -> None:
        self.has_ended = anyio.Event()

    async def end(self) -> None:
        self.has_ended.set()


class Maker:
    """Makes boxes when it is told to."""

    def __init__(self) -> None:
        self.made: list[Made] = []
        self.asked = 0
        self.errors: list[ModalError] = []
        self.gate = anyio.Event()
        self.gate.set()

    async def __call__(self) -> Box:
        self.asked += 1
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.made.append(Made())
        return cast("Box", self.made[-1])


@asynccontextmanager
async def pool_of(make: Callable[[], Awaitable[Box]], **changes: Any) -> AsyncIterator[Pool]:
    bucket = Bucket(rate=1000, burst=1000)
    usual: dict[str, Any] = {"floor": 2, "ceiling": 4, "age": 100.0, "bucket": bucket}
    async with open_pool(make, **(usual | changes)) as pool:
        yield pool


async def until(holds: Callable[[], bool]) -> None:
    # The pool has no events for tests to wait for; this waits for what it shows.
    with anyio.fail_after(10):
        while not holds():  # noqa: ASYNC110
            await anyio.sleep(0.001)


@pytest.mark.anyio
async def test_the_floor_is_kept_ready() -> None:
    maker = Maker()
    async with pool_of(maker) as pool:
        await until(lambda: pool.figures().ready == 2)
        assert maker.asked == 2


@pytest.mark.anyio
async def test_a_claimed_box_is_replaced_and_never_given_twice() -> None:
    maker = Maker()
    async with pool_of(maker) as pool:
        claimed = [await pool.claim(5) for _ in range(6)]
        assert len({id(box) for box in claimed}) == 6
        await until(lambda: pool.figures().ready >= 2)


@pytest.mark.anyio
async def test_whoever_waits_gets_the_next_box() -> None:
    maker = Maker()
    maker.gate = anyio.Event()
    async with pool_of(maker, floor=0) as pool, anyio.create_task_group() as tasks:
        claimed: list[Box] = []

        async def claim() -> None:
            claimed.append(await pool.claim(10))

        tasks.start_soon(claim)
        await until(lambda: maker.asked == 1)
        maker.gate.set()
        await until(lambda: len(claimed) == 1)


@pytest.mark.anyio
async def test_a_cancelled_claim_leaves_its_box_to_the_next() -> None:
    maker = Maker()
    maker.gate = anyio.Event()
    async with pool_of(maker, floor=0) as pool:
        with anyio.move_on_after(0.05):
            await pool.claim(10)
        maker.gate.set()
        await until(lambda: pool.figures().ready >= 1)
        claimed: object = await pool.claim(1)
        assert claimed is maker.made[0]


@pytest.mark.anyio
async def test_a_bell_that_rang_for_nobody_rings_for_the_next() -> None:
    maker = Maker()
    async with pool_of(maker, floor=0) as pool, anyio.create_task_group() as tasks:
        impatient, bell = anyio.CancelScope(), anyio.Event()
        claimed: list[Box] = []
        maker.gate = anyio.Event()

        async def go_away() -> None:
            with impatient:
                await pool.claim(60)

        async def claim() -> None:
            bell.set()
            claimed.append(await pool.claim(60))

        tasks.start_soon(go_away)
        await until(lambda: maker.asked == 1)
        tasks.start_soon(claim)
        await bell.wait()
        made: object = Made()
        impatient.cancel()
        pool._offer(cast("Box", made))
        await until(lambda: len(claimed) == 1)
        assert claimed[0] is made
        maker.gate.set()


@pytest.mark.anyio
async def test_a_box_that_comes_when_the_pool_closes_is_ended() -> None:
    maker = Maker()
    maker.gate = anyio.Event()

    async def make() -> Box:
        with anyio.CancelScope(shield=True):
            box = await maker()
        return box  # noqa: RET504 - the type checker takes a scope for something that can swallow

    async def open_later() -> None:
        await anyio.sleep(0.05)
        maker.gate.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(open_later)
        async with pool_of(make, floor=1):
            await until(lambda: maker.asked == 1)
    assert [made.has_ended.is_set() for made in maker.made] == [True]


@pytest.mark.anyio
async def test_what_demand_does_not_ask_for_any_more_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.executors.modal.pool._TEND_EVERY", 0.05)
    maker = Maker()
    async with pool_of(maker, floor=1) as pool:
        await until(lambda: pool.figures().ready == 1)
        for _ in range(3):
            pool._offer(cast("Box", Made()))
        await until(lambda: pool.figures().ready == 1)


@pytest.mark.anyio
async def test_without_a_box_in_time_there_is_a_clear_error() -> None:
    maker = Maker()
    maker.gate = anyio.Event()
    async with pool_of(maker) as pool:
        with pytest.raises(NoBox, match=r"no sandbox was ready within 0\.05 s"):
            await pool.claim(0.05)
        maker.gate.set()


@pytest.mark.anyio
async def test_old_boxes_are_ended_and_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.executors.modal.pool._TEND_EVERY", 0.05)
    maker = Maker()
    async with pool_of(maker, floor=1, age=0.0) as pool:
        await until(lambda: len(maker.made) >= 1)
        first = maker.made[0]
        await until(first.has_ended.is_set)
        with pytest.raises(NoBox):
            await pool.claim(0.01)


@pytest.mark.anyio
async def test_leaving_ends_what_is_ready() -> None:
    maker = Maker()
    async with pool_of(maker) as pool:
        await until(lambda: pool.figures().ready == 2)
    assert all(made.has_ended.is_set() for made in maker.made)


@pytest.mark.anyio
async def test_a_refusal_slows_creating_down_and_success_brings_it_back() -> None:
    bucket = Bucket(rate=80.0, burst=4)
    bucket.was_refused(await bucket.take())
    assert bucket.rate == 40.0
    bucket.was_refused(await bucket.take())
    assert bucket.rate == 20.0
    for _ in range(100):
        bucket.went_well()
    assert bucket.rate == 80.0


@pytest.mark.anyio
async def test_a_throttled_create_teaches_the_bucket() -> None:
    maker = Maker()
    maker.errors = [Throttled("slow down")]
    bucket = Bucket(rate=1000.0, burst=10)
    async with pool_of(maker, floor=1, bucket=bucket) as pool:
        await until(lambda: maker.asked >= 1 and bucket.rate < 1000.0)
        assert pool.busy_for(30) is None


@pytest.mark.anyio
async def test_one_burst_of_refusals_is_one_lesson() -> None:
    bucket = Bucket(rate=80.0, burst=8)
    burst = [await bucket.take() for _ in range(8)]
    for taken in burst:
        bucket.was_refused(taken)
    assert bucket.rate == 40.0


@pytest.mark.anyio
async def test_a_burst_of_refusals_fails_nobody() -> None:
    maker = Maker()
    maker.errors = [Throttled("slow down") for _ in range(9)]
    claimed: list[Box] = []
    bucket = Bucket(rate=4000.0, burst=10)
    async with pool_of(maker, floor=0, ceiling=10, bucket=bucket) as pool:

        async def claim() -> None:
            claimed.append(await pool.claim(10))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(claim)
        assert len(claimed) == 10
        assert not pool.figures().is_broken


@pytest.mark.anyio
async def test_creates_that_fail_side_by_side_count_once_and_one_success_lets_all_go_on() -> None:
    maker = Maker()
    maker.gate = anyio.Event()
    maker.errors = [ModalError("it rains") for _ in range(8)]
    async with pool_of(maker, floor=8, ceiling=8) as pool:
        await until(lambda: maker.asked == 8)
        maker.gate.set()
        await until(lambda: not maker.errors)
        assert not pool.figures().is_broken
        with anyio.fail_after(5):  # the pause after one failure, not that after eight
            await pool.claim(30)


@pytest.mark.anyio
async def test_runs_are_refused_while_they_would_wait_in_vain() -> None:
    maker = Maker()
    maker.gate = anyio.Event()
    async with pool_of(maker, floor=0, bucket=Bucket(rate=0.1, burst=1)) as pool:
        assert pool.busy_for(30) is None
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(pool.claim, 60)
            await until(lambda: maker.asked == 1)
            retry_after = pool.busy_for(30)
            assert retry_after
            assert 0 < retry_after < 30
            tasks.cancel_scope.cancel()
        assert pool.busy_for(30) is None
        maker.gate.set()


@pytest.mark.anyio
async def test_a_box_that_was_ordered_apart_goes_to_its_run_alone() -> None:
    maker = Maker()
    async with pool_of(Maker(), floor=0) as pool:
        box: object = await pool.claim_apart(maker, 10)
        assert box is maker.made[0]
        assert pool.figures().ready == 0


@pytest.mark.anyio
async def test_a_box_that_nobody_waits_for_any_more_is_ended() -> None:
    maker = Maker()
    maker.gate = anyio.Event()
    async with pool_of(Maker(), floor=0) as pool:
        with pytest.raises(NoBox):
            await pool.claim_apart(maker, 0.01)
        maker.gate.set()
        await until(lambda: len(maker.made) == 1)
        await maker.made[0].has_ended.wait()


@pytest.mark.anyio
async def test_a_box_ordered_apart_is_tried_again_when_modal_is_in_distress() -> None:
    maker = Maker()
    maker.errors = [Throttled("slow down"), ModalError("it rains")]
    async with pool_of(Maker(), floor=0, bucket=Bucket(rate=1000, burst=9)) as pool:
        await pool.claim_apart(maker, 10)
        assert maker.asked == 3
