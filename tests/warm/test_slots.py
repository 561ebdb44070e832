"""Cells that wait ready: they come and go, and no run fails by that."""

import os
import signal
from collections.abc import AsyncIterator

import anyio
import pytest
from anyio import to_thread

from app.domain.execution import Status
from app.executors.local import warm, zygote
from app.executors.local.census import process_of
from app.executors.local.executor import LocalExecutor
from app.executors.local.warm import WarmCells
from app.languages import all_languages
from tests.contract.runs import Result, run
from tests.contract.subjects import local
from tests.contract.waiting import at_rest, children
from tests.hosted import hosted

LANGUAGES = all_languages()
EACH_LANGUAGE = pytest.mark.parametrize("id", ["PYTHON", "JAVASCRIPT"])


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[LocalExecutor]:
    async with hosted(local()) as subject:
        assert isinstance(subject.executor, LocalExecutor)
        yield subject.executor


@pytest.fixture
async def executor(shared: LocalExecutor) -> LocalExecutor:
    await at_rest(shared)
    return shared


async def hello(executor: LocalExecutor, id: str) -> Result:
    result = await run(executor, LANGUAGES[id], LANGUAGES[id].example)
    assert result.text == "Hello, world!\n", result
    return result


async def kill(*pids: int) -> None:
    """Kill processes, as somebody on this host might, and wait until they have ended."""
    handles = [os.pidfd_open(pid) for pid in pids]
    for handle in handles:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        await anyio.wait_readable(handle)
        os.close(handle)


async def descendants(cells: WarmCells) -> list[int]:
    """Return the fork server's processes, the outermost first."""
    assert cells._zygote
    found = [cells._zygote.process]
    for _ in range(3):
        found += await to_thread.run_sync(children, found[-1])
    return found


@EACH_LANGUAGE
@pytest.mark.parametrize("which", range(4), ids=["outside", "process 1", "keeper", "itself"])
async def test_a_killed_fork_server_is_replaced_without_a_failed_run(
    executor: LocalExecutor, id: str, which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each slot that dies while it is made counts as a failure: three of them, and it pauses long.
    monkeypatch.setattr(warm, "_PAUSES", (0.1,))
    cells = executor._warm.cells[id]
    before = await descendants(cells)
    inits = [os.dup(slot.cell.init) for slot in cells._ready]
    await kill(before[which])
    if before[which] != before[-1]:
        for init in inits:
            await anyio.wait_readable(init)
    for init in inits:
        os.close(init)
    for _ in range(3):
        await hello(executor, id)
    with anyio.fail_after(20):
        while cells._zygote is None or cells._zygote.process == before[0]:
            await hello(executor, id)
            await anyio.sleep(0.01)
    await at_rest(executor)
    assert cells.counts()[0] >= warm.FLOOR


async def test_no_failure_of_a_cell_ends_the_server(
    executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a host that gives no thread: nothing says that it is about cells."""
    cells = executor._warm.cells["PYTHON"]
    failed = anyio.Event()

    def no_thread(*_: object) -> None:
        failed.set()
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(warm, "make_pipes", no_thread)
        patch.setattr(warm, "start_zygote", no_thread)
        await hello(executor, "PYTHON")
        await failed.wait()
        await hello(executor, "PYTHON")
    await at_rest(executor)
    assert cells.counts()[0] >= warm.FLOOR


@EACH_LANGUAGE
async def test_waiting_cells_that_were_killed_are_passed_over(
    executor: LocalExecutor, id: str
) -> None:
    slots = list(executor._warm.cells[id]._ready)
    await kill(*[await to_thread.run_sync(process_of, slot.cell.init) for slot in slots])
    await hello(executor, id)


@EACH_LANGUAGE
async def test_a_program_whose_process_was_killed_before_it_began_gets_another(
    executor: LocalExecutor, id: str
) -> None:
    inits = [os.dup(slot.cell.init) for slot in executor._warm.cells[id]._ready]
    for init in inits:
        pid = await to_thread.run_sync(process_of, init)
        await kill(*await to_thread.run_sync(children, pid))
    await hello(executor, id)
    for init in inits:
        await anyio.wait_readable(init)  # it has noticed, and left
        os.close(init)


async def test_a_wedged_fork_server_costs_time_but_no_run(executor: LocalExecutor) -> None:
    cells = executor._warm.cells["PYTHON"]
    *_, itself = await descendants(cells)
    os.kill(itself, signal.SIGSTOP)
    for _ in range(warm.FLOOR + 2):
        await hello(executor, "PYTHON")
    os.kill(itself, signal.SIGCONT)


async def test_hash_seeds_are_renewed(
    executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zygote, "_MOST_FORKS", 4)
    seeds = set()
    for _ in range(12):
        result = await run(executor, LANGUAGES["PYTHON"], "print(hash('some text'))")
        seeds.add(result.text)
        await at_rest(executor)
    assert len(seeds) >= 2


async def test_slots_follow_demand_up_to_a_ceiling_and_a_long_run_outlives_its_fork_server(
    executor: LocalExecutor,
) -> None:
    cells = executor._warm.cells["PYTHON"]
    up = anyio.Event()
    ended: list[Result] = []

    async def heard(_: object) -> None:
        up.set()

    async def go() -> None:
        source = "import time; print('up', flush=True); time.sleep(3)"
        ended.append(await run(executor, LANGUAGES["PYTHON"], source, heard=heard))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go)
        await up.wait()
        assert cells._zygote
        cells._retire(cells._zygote)
        await at_rest(executor)
        async with anyio.create_task_group() as many:
            for _ in range(warm.CEILING + 4):
                many.start_soon(hello, executor, "PYTHON")
    assert ended[0].status is Status.SUCCEEDED, ended[0]
    await at_rest(executor)
    assert warm.FLOOR < cells.counts()[0] <= warm.CEILING


async def test_other_limits_than_the_usual_hold_in_a_slot(executor: LocalExecutor) -> None:
    source = "import os; s = os.statvfs('/box'); print(s.f_blocks * s.f_frsize)"
    small = await run(executor, LANGUAGES["PYTHON"], source, disk=1 << 20, memory=1 << 30)
    assert small.text == f"{1 << 20}\n", small
    eater = "x = bytearray(400 << 20); print('room')"
    assert (await run(executor, LANGUAGES["PYTHON"], eater, memory=1 << 30)).text == "room\n"
    less = await run(executor, LANGUAGES["PYTHON"], eater, memory=64 << 20)
    assert less.status is Status.MEMORY_LIMIT_EXCEEDED, less


async def test_what_happened_before_the_program_is_not_billed(executor: LocalExecutor) -> None:
    result = await run(executor, LANGUAGES["JAVASCRIPT"], ";")
    usage = result.outcome.usage
    assert usage
    cold = await run(executor, LANGUAGES["JAVASCRIPT"], ";", memory=300 << 20)
    assert cold.outcome.usage
    assert usage.cpu_time < cold.outcome.usage.cpu_time
