"""What dead servers leave at Modal is ended, and nothing else."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest
from grpclib.const import Status as Code

from app.executors.modal.account import BoxSize
from app.executors.modal.executor import ModalExecutor
from app.executors.modal.loopback import Box, LoopbackModal
from tests.wire.adapter import LIMITS, Ledger, executor_on

pytestmark = pytest.mark.anyio

LONG_AGO = timedelta(minutes=10)


async def leave(executor: ModalExecutor, owner: str, count: int = 1) -> list[str]:
    """Make boxes as another server would, which then says no more."""
    assert executor._account is not None
    size = BoxSize(memory=LIMITS.memory, cpu=1.0, lifetime=120)
    tags = {"service": "greenroom", "owner": owner}
    return [(await executor._account.create(size, tags)).object_id for _ in range(count)]


async def reap(executor: ModalExecutor) -> int:
    assert executor._account is not None
    return await executor._replica.reap(executor._account)


def running(loopback: LoopbackModal) -> set[str]:
    return {box.id for box in loopback.state.running()}


async def test_boxes_of_the_dead_are_ended_and_those_of_the_living_and_of_strangers_are_not(
    loopback: LoopbackModal,
) -> None:
    ledger = Ledger()
    async with executor_on(loopback, registry=ledger) as executor:
        own = running(loopback)
        dead = await leave(executor, "dead", 3)
        alive = await leave(executor, "alive", 2)
        just_late = await leave(executor, "just late")
        stranger = await leave(executor, "of another installation")
        now = datetime.now(UTC)
        ledger.lives["dead"] = now - LONG_AGO
        ledger.lives["alive"] = now + timedelta(seconds=60)
        ledger.lives["just late"] = now - timedelta(seconds=1)
        assert await reap(executor) == 3
        for id in dead:
            await loopback.state.boxes[id].ended.wait()
        assert running(loopback) == {*own, *alive, *just_late, *stranger}
        assert await reap(executor) == 0


async def test_a_box_with_a_run_that_has_not_ended_is_left_to_whoever_takes_it_over(
    loopback: LoopbackModal,
) -> None:
    ledger = Ledger(lives={"dead": datetime.now(UTC) - LONG_AGO})
    async with executor_on(loopback, registry=ledger) as executor:
        busy, idle = await leave(executor, "dead", 2)
        ledger.placed.append({"sandbox": busy})
        assert await reap(executor) == 1
        await loopback.state.boxes[idle].ended.wait()
        assert busy in running(loopback)


async def test_without_its_database_a_server_ends_nothing(loopback: LoopbackModal) -> None:
    ledger = Ledger(lives={"dead": datetime.now(UTC) - LONG_AGO})
    async with executor_on(loopback, registry=ledger) as executor:
        [left] = await leave(executor, "dead")
        ledger.is_away = True
        assert await reap(executor) == 0
        assert left in running(loopback)
        ledger.is_away = False
        assert await reap(executor) == 1


async def test_without_modal_a_server_ends_nothing(loopback: LoopbackModal) -> None:
    ledger = Ledger(lives={"dead": datetime.now(UTC) - LONG_AGO})
    async with executor_on(loopback, registry=ledger) as executor:
        [left] = await leave(executor, "dead")
        loopback.faults.set("SandboxListV2", status=Code.INTERNAL, times=None)
        assert await reap(executor) == 0
        assert left in running(loopback)


async def test_a_box_that_cannot_be_ended_does_not_save_the_others(
    loopback: LoopbackModal,
) -> None:
    ledger = Ledger(lives={"dead": datetime.now(UTC) - LONG_AGO})
    async with executor_on(loopback, registry=ledger) as executor:
        left = await leave(executor, "dead", 3)
        loopback.faults.set("SandboxTerminateV2", status=Code.NOT_FOUND, times=1)
        assert await reap(executor) == 2
        assert await reap(executor) == 1
        for id in left:
            await loopback.state.boxes[id].ended.wait()


async def test_a_list_that_never_comes_is_not_waited_for(
    loopback: LoopbackModal, pinned: pytest.MonkeyPatch
) -> None:
    pinned.setattr("app.executors.modal.account.LIST_TIMEOUT", 0.2)
    ledger = Ledger(lives={"dead": datetime.now(UTC) - LONG_AGO})
    async with executor_on(loopback, registry=ledger) as executor:
        loopback.faults.set("SandboxListV2", delay=600.0, times=None)
        with anyio.fail_after(20):
            assert await reap(executor) == 0


async def test_a_server_is_known_before_its_first_box_is_there(loopback: LoopbackModal) -> None:
    ledger = Ledger()
    async with executor_on(loopback, registry=ledger) as executor:
        [box] = loopback.state.running()
        assert box.tags["owner"] in ledger.lives
        assert ledger.lives[executor._replica.name] > datetime.now(UTC)
    assert ledger.lives[box.tags["owner"]] <= datetime.now(UTC)


async def test_a_server_reaps_by_itself(loopback: LoopbackModal) -> None:
    ledger = Ledger()
    async with executor_on(loopback, registry=ledger) as first:
        [left] = await leave(first, "dead")
    ledger.lives["dead"] = datetime.now(UTC) - LONG_AGO
    box: Box = loopback.state.boxes[left]
    async with executor_on(loopback, registry=ledger):
        with anyio.fail_after(20):
            await box.ended.wait()
