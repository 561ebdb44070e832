"""What Modal can do to us, and what we make of it: the fault matrix.

Each row is a fault, the program's verdict (or our error), and how many calls it took.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import anyio
import pytest
from grpclib.const import Status as Code
from modal._utils.async_utils import synchronize_api

from app.domain.errors import ExecutorError, NoSandbox, Unavailable
from app.domain.execution import Output, Status
from app.executors.modal.account import connect
from app.executors.modal.errors import ModalError, NoBox, Throttled, Unauthorized, Unreachable
from app.executors.modal.executor import ModalExecutor
from app.executors.modal.images import APP
from app.executors.modal.loopback import LoopbackModal, Rate, Token, new_token
from tests.wire.adapter import (
    LANGUAGES,
    LIMITS,
    Ledger,
    Ran,
    command_for,
    executor_on,
    options_of,
    ours,
    run,
    token_of,
    until_ready,
)

pytestmark = pytest.mark.anyio

LINES = "for i in range(500): print(i)\nprint('end')"
EXPECTED = "".join(f"{i}\n" for i in range(500)) + "end\n"


@pytest.fixture
async def executor(loopback: LoopbackModal) -> AsyncIterator[ModalExecutor]:
    async with executor_on(loopback) as executor:
        yield executor


@dataclass(frozen=True, slots=True)
class Row:
    """A fault and what becomes of a program that prints 501 lines."""

    name: str
    inject: Callable[[LoopbackModal], None]
    within: float
    """Seconds: a bound on hanging, not a claim of speed."""
    calls: dict[str, int] = field(default_factory=dict)


def on(name: str, **fault: object) -> Callable[[LoopbackModal], None]:
    return lambda server: server.faults.set(name, **fault)  # type: ignore[arg-type]


SURVIVED = [
    Row("nothing", lambda _: None, 10, {"TaskExecStdinWrite": 1}),
    Row(
        "output cut once",
        on("TaskExecStdioRead", status=Code.UNAVAILABLE, after_bytes=700),
        20,
        {"TaskExecStdinWrite": 1},
    ),
    Row(
        "connection reset in the output", on("TaskExecStdioRead", how="reset", after_bytes=700), 20
    ),
    Row("answer to the job lost", on("TaskExecStdinWrite:after", status=Code.UNAVAILABLE), 20),
    Row("job refused once", on("TaskExecStdinWrite", status=Code.UNAVAILABLE), 20),
    Row("terminate fails", on("SandboxTerminateV2", status=Code.INTERNAL, times=9), 20),
]


@pytest.mark.parametrize("row", SURVIVED, ids=lambda row: row.name)
async def test_a_warm_run_survives(
    loopback: LoopbackModal, executor: ModalExecutor, row: Row
) -> None:
    loopback.state.reset()
    row.inject(loopback)
    with anyio.fail_after(row.within):
        ran = await run(executor, LINES)
    assert ran.stdout.decode() == EXPECTED
    assert ran.outcome.status is Status.SUCCEEDED
    for name, count in row.calls.items():
        assert loopback.state.rpcs[name] == count


COLD = [
    Row("create unavailable twice", on("SandboxCreateV2", status=Code.UNAVAILABLE, times=2), 20),
    Row("create slow", on("SandboxCreateV2", delay=1.0), 20),
    Row("answer to create lost", on("SandboxCreateV2:after", status=Code.UNAVAILABLE), 20),
    Row("start of the supervisor lost", on("TaskExecStart:after", status=Code.UNAVAILABLE), 20),
    Row("create throttled", on("SandboxCreateV2", status=Code.RESOURCE_EXHAUSTED, times=1), 30),
]


@pytest.mark.parametrize("row", COLD, ids=lambda row: row.name)
async def test_a_cold_run_survives_and_makes_no_box_twice(
    loopback: LoopbackModal, row: Row
) -> None:
    async with executor_on(loopback, warm_floor=0, budget=25.0) as executor:
        loopback.state.reset()
        row.inject(loopback)
        with anyio.fail_after(row.within):
            ran = await run(executor, LINES)
        assert ran.stdout.decode() == EXPECTED
    keys = list(loopback.state.created.values())
    assert len(keys) == len(set(keys))


async def lose_the_box(
    loopback: LoopbackModal, executor: ModalExecutor, source: str, lose: Callable[[str], None]
) -> Ran | BaseException:
    """Run a program and let Modal take its box away once it has begun."""
    result: list[Ran | BaseException] = []
    [warm] = loopback.state.running()
    [supervisor] = warm.programs.values()
    said_by_now = len(supervisor.stdout)

    async def attempt() -> None:
        try:
            result.append(await run(executor, source))
        except ExecutorError as error:
            result.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(attempt)
        with anyio.fail_after(20):
            await supervisor.stdout.read(said_by_now)
        lose(warm.id)
    return result[0]


QUIET = "import time, os\ntime.sleep(1.5)\nprint('done')"
TALKING = "import time\nprint('first', flush=True)\ntime.sleep(5)\nprint('done')"


@pytest.mark.parametrize("status", [7, 8, 9, 3])
async def test_an_evicted_box_is_replaced_when_nothing_was_seen_of_the_program(
    loopback: LoopbackModal, executor: ModalExecutor, status: int
) -> None:
    loopback.state.reset()
    ran = await lose_the_box(loopback, executor, QUIET, lambda box: loopback.kill_box(box, status))
    assert isinstance(ran, Ran)
    assert (bytes(ran.stdout), ran.outcome.status) == (b"done\n", Status.SUCCEEDED)


async def test_a_box_that_the_kernel_killed_for_its_memory_is_the_programs_doing(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    loopback.state.reset()
    ran = await lose_the_box(loopback, executor, QUIET, lambda box: loopback.kill_box(box, 10))
    assert isinstance(ran, Ran)
    assert ran.outcome.status is Status.MEMORY_LIMIT_EXCEEDED
    assert loopback.state.rpcs["TaskExecStdinWrite"] == 1


async def test_a_box_that_is_lost_after_output_was_seen_is_our_error_and_not_run_again(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    loopback.state.reset()

    async def once_it_spoke() -> Ran | BaseException:
        heard = anyio.Event()
        outcome: list[Ran | BaseException] = []
        chosen = LANGUAGES["PYTHON"]

        async def emit(_: object) -> None:
            heard.set()

        async def attempt() -> None:
            try:
                async with executor.sandbox(chosen, LIMITS) as sandbox:
                    await sandbox.write({"main.py": TALKING.encode()})
                    await sandbox.run(command_for(chosen), emit)
            except ExecutorError as error:
                outcome.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(attempt)
            with anyio.fail_after(20):
                await heard.wait()
            for box in loopback.state.running():
                loopback.kill_box(box.id, 8)
        return outcome[0]

    assert isinstance(await once_it_spoke(), ModalError)
    assert loopback.state.rpcs["TaskExecStdinWrite"] == 1


async def test_cancelling_ends_the_box_within_a_second(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    [warm] = loopback.state.running()
    loopback.state.reset()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, executor, "import time; time.sleep(60)")
        with anyio.fail_after(20):
            while loopback.state.rpcs["TaskExecStdinWrite"] == 0:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    with anyio.fail_after(5):
        await warm.ended.wait()


async def test_throttled_creates_slow_the_pool_down_but_do_not_stop_it(
    loopback: LoopbackModal,
) -> None:
    async with executor_on(loopback) as executor:
        loopback.create_rate = Rate(per_second=2.0, burst=1)
        for _ in range(3):
            assert (await run(executor, "print(1)")).outcome.status is Status.SUCCEEDED


async def test_versions_that_cannot_be_asked_are_asked_again(loopback: LoopbackModal) -> None:
    async with executor_on(loopback):
        pass
    loopback.faults.set("TaskExecStdinWrite", status=Code.INVALID_ARGUMENT, times=2)
    async with executor_on(loopback) as executor:
        assert executor.supports(LANGUAGES["PYTHON"]).version


# The three hangs of Modal's client, each with an end of ours.


async def _busy() -> list[str]:
    return [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]


_busy_in_its_loop = synchronize_api(_busy)  # type: ignore[no-untyped-call]


async def test_a_modal_that_does_not_answer_does_not_hold_the_start_back(
    loopback: LoopbackModal, pinned: pytest.MonkeyPatch
) -> None:
    pinned.setattr("app.executors.modal.account.CONNECT_TIMEOUT", 0.5)
    options = replace(options_of(loopback), server="http://127.0.0.1:9")
    began = time.monotonic()
    async with ModalExecutor(LANGUAGES, token_of(loopback), options, LIMITS, Ledger()) as executor:
        assert time.monotonic() - began < 30  # the client alone would take 63 s
        state = executor.state()
        assert state.problem
        assert not executor.supports(LANGUAGES["PYTHON"]).is_available
    assert not [name for name in await _busy_in_its_loop.aio() if "channel" in name]


async def test_throttling_without_end_ends(loopback: LoopbackModal) -> None:
    async with executor_on(loopback, warm_floor=0) as executor:
        loopback.faults.set(
            "SandboxCreateV2", status=Code.RESOURCE_EXHAUSTED, retry_after=0.3, times=None
        )
        with anyio.fail_after(60), pytest.raises(ModalError):
            await executor._create(LIMITS)


async def test_a_worker_that_falls_silent_does_not_hold_the_answer_back(
    loopback: LoopbackModal, executor: ModalExecutor, pinned: pytest.MonkeyPatch
) -> None:
    pinned.setattr("app.executors.modal.box._GIVE_TIMEOUT", 0.5)
    loopback.faults.set("TaskExecStdinWrite", delay=600.0, times=None)
    with anyio.fail_after(60), pytest.raises(ModalError):
        await run(executor, "print(1)")


async def test_a_create_that_never_ends_does_not_hold_the_server_back(
    loopback: LoopbackModal, pinned: pytest.MonkeyPatch
) -> None:
    pinned.setattr("app.executors.modal.executor._LAST_CREATE", 0.2)
    with anyio.fail_after(60):
        async with executor_on(loopback, warm_floor=0, budget=2.0) as executor:
            loopback.faults.set("SandboxCreateV2", delay=600.0, times=None)
            with pytest.raises(NoBox) as refused:
                await run(executor, "print(1)", memory=LIMITS.memory)
            assert isinstance(refused.value, NoSandbox)  # which callers hear of as `ServerBusy`


async def test_an_output_that_falls_silent_is_no_time_limit(
    loopback: LoopbackModal, executor: ModalExecutor, pinned: pytest.MonkeyPatch
) -> None:
    pinned.setattr("app.executors.modal.attempt._GRACE", 1.0)
    # After "ready" and "started", in the head of the frame that says what it wrote.
    loopback.faults.set("TaskExecStdioRead", after_bytes=12, delay=600.0, times=None)
    with anyio.fail_after(60), pytest.raises(ModalError, match="silent"):
        await run(executor, "print(1)", wall_time=1.0)
    loopback.faults.set("TaskExecStdioRead", after_bytes=12, delay=600.0, times=1)
    with anyio.fail_after(60):
        ran = await run(executor, "print(1)", wall_time=1.0)
    assert (bytes(ran.stdout), ran.outcome.status) == (b"1\n", Status.SUCCEEDED)


async def test_who_is_slow_to_take_the_output_does_not_make_the_program_late(
    executor: ModalExecutor, pinned: pytest.MonkeyPatch
) -> None:
    pinned.setattr("app.executors.modal.attempt._GRACE", 0.5)
    heard = bytearray()

    async def emit(output: Output) -> None:
        heard.extend(output.data)
        await anyio.sleep(2.5)

    chosen = LANGUAGES["PYTHON"]
    async with executor.sandbox(chosen, replace(LIMITS, wall_time=1.5)) as sandbox:
        await sandbox.write({"main.py": b"print('slowly')"})
        end = await sandbox.run(command_for(chosen), emit)
    assert (bytes(heard), end.code, end.kill_reason) == (b"slowly\n", 0, None)


# A Modal that does not answer when we start.


async def test_runs_wait_a_while_for_a_modal_that_does_not_answer_yet(
    loopback: LoopbackModal,
) -> None:
    async with executor_on(loopback):
        pass
    loopback.faults.set("ClientHello", status=Code.UNAVAILABLE, times=None)
    options = options_of(loopback, budget=30.0)
    async with ModalExecutor(LANGUAGES, token_of(loopback), options, LIMITS, Ledger()) as executor:
        assert executor.state().problem
        ran: list[Ran] = []

        async def wait() -> None:
            ran.append(await run(executor, "print(1)"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            loopback.faults.clear()
        assert bytes(ran[0].stdout) == b"1\n"


async def test_a_new_token_ends_the_wait_for_modal(
    loopback: LoopbackModal, pinned: pytest.MonkeyPatch
) -> None:
    pinned.setattr("app.executors.modal.executor._RETRY", (600.0,))
    async with executor_on(loopback):
        pass
    loopback.faults.set("ClientHello", status=Code.UNAVAILABLE, times=None)
    options = options_of(loopback)
    async with ModalExecutor(LANGUAGES, token_of(loopback), options, LIMITS, Ledger()) as executor:
        loopback.faults.clear()
        fresh = new_token()
        loopback.accept(fresh)
        await executor.rotate(ours(fresh))
        assert executor.state().problem is None
        assert (await run(executor, "print(1)")).stdout == b"1\n"


@pytest.mark.parametrize("code", [Code.UNIMPLEMENTED, Code.UNAVAILABLE, Code.PERMISSION_DENIED])
async def test_a_modal_that_does_not_say_whose_the_token_is_will_do(
    loopback: LoopbackModal, code: Code
) -> None:
    loopback.faults.set("TokenInfoGet", status=code, times=None)
    async with executor_on(loopback) as executor:
        assert (await run(executor, "print(1)")).stdout == b"1\n"


# Tokens.


async def test_a_token_that_is_refused_stops_the_start(loopback: LoopbackModal) -> None:
    async with executor_on(loopback):
        pass
    loopback.revoke(loopback.token)
    with pytest.raises(Unavailable, match="Modal") as caught:
        async with ModalExecutor(
            LANGUAGES, token_of(loopback), options_of(loopback), LIMITS, Ledger()
        ):
            pass
    assert loopback.token_secret not in str(caught.value)
    assert "token" in caught.value.checks[0].remedy


async def test_a_missing_image_says_how_to_build_it(loopback: LoopbackModal) -> None:
    with pytest.raises(Unavailable) as caught:
        async with executor_on(loopback, with_image=False):
            pass
    assert "greenroom modal build" in caught.value.checks[0].remedy


async def test_a_token_is_rotated_under_load_without_losing_a_run(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    fresh: Token = new_token()
    loopback.accept(fresh)
    done: list[Ran] = []

    async def load() -> None:
        done.append(await run(executor, "import time; time.sleep(0.3); print(1)"))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(load)
        await executor.rotate(ours(fresh))
        for _ in range(3):
            tasks.start_soon(load)
    assert [ran.outcome.status for ran in done] == [Status.SUCCEEDED] * 6
    loopback.revoke(loopback.token)
    await until_ready(executor)
    assert (await run(executor, "print(2)")).stdout == b"2\n"


async def test_a_new_token_that_does_not_work_changes_nothing(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    wrong = new_token()
    with pytest.raises(Unauthorized):
        await executor.rotate(ours(wrong))
    assert (await run(executor, "print(2)")).stdout == b"2\n"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.UNAUTHENTICATED, Unauthorized),
        (Code.PERMISSION_DENIED, Unauthorized),
        (Code.RESOURCE_EXHAUSTED, Throttled),
        (Code.UNAVAILABLE, Unreachable),
        (Code.INTERNAL, ModalError),
    ],
)
async def test_what_the_client_raises_is_translated(
    loopback: LoopbackModal, code: Code, kind: type[ModalError]
) -> None:
    loopback.faults.set("AppGetOrCreate", status=code, times=None)
    with pytest.raises(kind) as caught:
        await connect(token_of(loopback), server=loopback.url, app=APP, image="greenroom:none")
    assert loopback.token_secret not in str(caught.value)
