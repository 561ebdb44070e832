"""What is broken on purpose: tokens under load, strange servers, and a hundred runs in a row."""

import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import anyio
import anyio.to_thread
import pytest
from grpclib.const import Status as Code
from modal_proto import api_pb2

from app.domain.errors import ExecutorError
from app.domain.execution import Status
from app.executors.modal.executor import ModalExecutor
from app.executors.modal.loopback import LoopbackModal, bytelog, new_token, sandboxes
from app.executors.modal.loopback.faults import How
from app.executors.modal.loopback.sandboxes import Sandboxes
from tests.wire.adapter import executor_on, ours, run, until_ready, until_running

pytestmark = pytest.mark.anyio

LINES = "for i in range(300): print(i)\nimport time; time.sleep(0.2); print('end')"
EXPECTED = "".join(f"{i}\n" for i in range(300)) + "end\n"


async def load(executor: ModalExecutor, verdicts: Counter[str], runs: int) -> None:
    for _ in range(runs):
        try:
            ran = await run(executor, LINES)
        except ExecutorError as error:
            verdicts[type(error).__name__] += 1
        else:
            assert ran.outcome.status is Status.SUCCEEDED
            assert ran.stdout.decode() == EXPECTED
            verdicts["fine"] += 1


async def test_tokens_change_again_and_again_under_load_and_no_run_notices(
    loopback: LoopbackModal,
) -> None:
    verdicts: Counter[str] = Counter()
    async with executor_on(loopback, warm_floor=2, budget=60.0) as executor:
        old = loopback.token
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(load, executor, verdicts, 4)
            for _ in range(3):
                fresh = new_token()
                loopback.accept(fresh)
                await executor.rotate(ours(fresh))
                loopback.revoke(old)
                old = fresh
        assert verdicts == {"fine": 16}
        await until_ready(executor, 2)
        await until_running(loopback, 2)


async def test_a_token_that_is_revoked_under_load_fails_runs_in_time_and_a_new_one_heals(
    loopback: LoopbackModal,
) -> None:
    verdicts: Counter[str] = Counter()
    async with executor_on(loopback, warm_floor=2, budget=2.0) as executor:
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(load, executor, verdicts, 3)
            loopback.revoke(loopback.token)
        assert set(verdicts) <= {"fine", "NoBox", "Unauthorized"}
        assert sum(verdicts.values()) == 9
        fresh = new_token()
        loopback.accept(fresh)
        await executor.rotate(ours(fresh))
        healed: Counter[str] = Counter()
        with anyio.fail_after(90):
            while not healed["fine"]:
                await load(executor, healed, 1)


async def test_what_a_revoked_token_could_not_end_the_next_one_ends(
    loopback: LoopbackModal,
) -> None:
    async with executor_on(loopback, warm_floor=2) as executor:
        used = {box.id for box in loopback.state.running()}
        loopback.state.reset()

        async def run_into_it() -> None:
            await run(executor, "import time; time.sleep(0.5); print(1)")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_into_it)
            with anyio.fail_after(20):
                while loopback.state.rpcs["TaskExecStdinWrite"] == 0:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
            loopback.revoke(loopback.token)
        fresh = new_token()
        loopback.accept(fresh)
        await executor.rotate(ours(fresh))
        for id in used:
            with anyio.fail_after(20):
                await loopback.state.boxes[id].ended.wait()


@pytest.mark.parametrize("how", get_args(How))
async def test_every_stream_cut_three_times_under_load(loopback: LoopbackModal, how: How) -> None:
    verdicts: Counter[str] = Counter()
    async with executor_on(loopback, warm_floor=2, budget=60.0) as executor:
        status = Code.UNAVAILABLE if how == "error" else None
        loopback.faults.set("TaskExecStdioRead", how=how, status=status, after_bytes=400, times=9)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(load, executor, verdicts, 2)
    assert verdicts == {"fine": 6}


def byte_by_byte(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(bytelog, "_CHUNK", 7)


def other_ids(patch: pytest.MonkeyPatch) -> None:
    made = iter(range(1000))
    patch.setattr(
        sandboxes, "new_id", lambda prefix, *_: f"{prefix}-01h-{os.getpid()}_{next(made)}.x"
    )


def nothing_optional(patch: pytest.MonkeyPatch) -> None:
    create = Sandboxes.create

    async def plain(
        self: Sandboxes, request: api_pb2.SandboxCreateV2Request, metadata: dict[str, object]
    ) -> object:
        answer = await create(self, request, metadata)
        for name in ("metadata", "sandbox_token", "tunnels"):
            answer.ClearField(name)
        return answer

    patch.setattr(Sandboxes, "create", plain)


@pytest.mark.parametrize("change", [byte_by_byte, other_ids, nothing_optional])
async def test_another_server_that_speaks_the_protocol_will_do(
    pinned: pytest.MonkeyPatch,
    change: Callable[[pytest.MonkeyPatch], None],
    loopback: LoopbackModal,
) -> None:
    verdicts: Counter[str] = Counter()
    change(pinned)
    async with executor_on(loopback) as executor:
        await load(executor, verdicts, 2)
        assert (await run(executor, "import os; os.abort()")).outcome.status is Status.CRASHED
    assert verdicts == {"fine": 2}


def holdings() -> tuple[int, int]:
    """Count our sockets and threads."""
    sockets = 0
    for path in Path("/proc/self/fd").iterdir():
        try:
            sockets += str(path.readlink()).startswith("socket:")
        except OSError:
            continue  # the one that lists them
    return sockets, threading.active_count()


def is_little_more(before: tuple[int, int], after: tuple[int, int]) -> bool:
    return after[0] <= before[0] + 8 and after[1] <= before[1] + 4


async def test_a_hundred_runs_leave_nothing_behind(loopback: LoopbackModal) -> None:
    async def some(count: int) -> None:
        for _ in range(count):
            assert (await run(executor, "print(1)")).stdout == b"1\n"

    async def hold(count: int) -> tuple[int, int]:
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(some, count // 4)
        await until_ready(executor, 4)
        await until_running(loopback, 4)
        return await anyio.to_thread.run_sync(holdings)

    async with executor_on(loopback, warm_floor=4, create_rate=100.0, budget=60.0) as executor:
        before, after = await hold(4), await hold(96)
        # A few connections may just be hanging up; what has leaked stays.
        with anyio.move_on_after(30):
            while not is_little_more(before, after):
                await anyio.sleep(0.05)
                after = await anyio.to_thread.run_sync(holdings)
        assert is_little_more(before, after), (before, after)
    await loopback.end_boxes()
