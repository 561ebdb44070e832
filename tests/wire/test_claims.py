"""How runs come by their boxes when there are not enough of the right kind."""

import anyio
import pytest

from app.domain.execution import Status
from app.executors.modal.loopback import LoopbackModal, Rate
from tests.wire.adapter import LIMITS, executor_on, run, until_running

pytestmark = pytest.mark.anyio

LARGE = LIMITS.memory * 2


async def test_a_burst_that_modal_finds_too_fast_is_served_all_the_same(
    loopback: LoopbackModal,
) -> None:
    verdicts: list[Status] = []

    async def one() -> None:
        verdicts.append((await run(executor, "print(1)")).outcome.status)

    async with executor_on(loopback, create_rate=8.0, create_burst=8, budget=25.0) as executor:
        loopback.create_rate = Rate(per_second=4.0, burst=1)
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(one)
    assert verdicts == [Status.SUCCEEDED] * 8


async def test_a_large_run_that_is_cancelled_does_not_wait_for_its_box(
    loopback: LoopbackModal,
) -> None:
    async with executor_on(loopback, warm_floor=0) as executor:
        loopback.create_latency = 600.0
        loopback.state.reset()
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: run(executor, "print(1)", memory=LARGE))
                while not loopback.state.boxes:  # noqa: ASYNC110 - the server rings no bell
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
        # One that has not come up yet ends as well, and whoever waits for it hears of that.
        with anyio.fail_after(20):
            await loopback.end_boxes()
        loopback.create_latency = 0.0


async def test_the_box_of_a_large_run_that_was_cancelled_is_ended(loopback: LoopbackModal) -> None:
    async with executor_on(loopback, warm_floor=0) as executor:
        loopback.create_latency = 0.5
        with anyio.move_on_after(0.1):
            await run(executor, "print(1)", memory=LARGE)
        with anyio.fail_after(20):
            while not any(box.ended.is_set() for box in loopback.state.boxes.values()):  # noqa: ASYNC110
                await anyio.sleep(0.01)
        await until_running(loopback, 0)


async def test_a_box_outlives_the_longest_run_that_it_may_be_claimed_for_last(
    loopback: LoopbackModal,
) -> None:
    async with executor_on(loopback, box_age=100.0, longest_run=1800.0) as executor:
        [box] = loopback.state.running()
        assert 1900 < box.definition.timeout_secs < 2000
        await run(executor, "print(1)", memory=LARGE)
    assert all(box.definition.timeout_secs > 1900 for box in loopback.state.boxes.values())


async def test_no_box_is_asked_to_live_longer_than_modal_allows(loopback: LoopbackModal) -> None:
    async with executor_on(loopback, longest_run=1e6):
        [box] = loopback.state.running()
        assert box.definition.timeout_secs == 24 * 3600
