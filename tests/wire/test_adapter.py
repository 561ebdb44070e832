"""Programs on Modal: Modal's own client, our loopback server, real processes."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from modal_proto import api_pb2

from app.domain.execution import Status, Stream, TimeLimit
from app.domain.limits import MIB
from app.executors.modal.executor import ModalExecutor
from app.executors.modal.loopback import LoopbackModal
from tests.wire.adapter import LANGUAGES, LIMITS, executor_on, run, until_ready

pytestmark = pytest.mark.anyio


@pytest.fixture
async def executor(loopback: LoopbackModal) -> AsyncIterator[ModalExecutor]:
    async with executor_on(loopback) as executor:
        yield executor


async def test_a_program_runs_and_its_bytes_are_exact(executor: ModalExecutor) -> None:
    ran = await run(
        executor,
        "import os, sys\nos.write(1, sys.stdin.buffer.read() + b'\\xff\\xfe\\x00')\n"
        "os.write(2, b'err')\nsys.exit(3)",
        stdin=b"in\x00\xe9",
    )
    assert bytes(ran.stdout) == b"in\x00\xe9\xff\xfe\x00"
    assert bytes(ran.stderr) == b"err"
    assert (ran.outcome.status, ran.outcome.exit_code) == (Status.FAILED, 3)
    assert ran.outcome.usage
    assert ran.outcome.usage.peak_memory > 1 * MIB


async def test_javascript_runs_too(executor: ModalExecutor) -> None:
    ran = await run(executor, "console.log([1, 2].map(x => x * 21))", language="JAVASCRIPT")
    assert bytes(ran.stdout) == b"[ 21, 42 ]\n"


async def test_the_versions_are_those_in_the_box(executor: ModalExecutor) -> None:
    said = await run(executor, "import platform; print(platform.python_version())")
    assert executor.supports(LANGUAGES["PYTHON"]).version == said.stdout.decode().strip()


@pytest.mark.parametrize(
    ("source", "limits", "status", "time_limit"),
    [
        ("while True: pass", {"cpu_time": 0.5}, Status.TIME_LIMIT_EXCEEDED, TimeLimit.CPU),
        (
            "import time; print('a', flush=True); time.sleep(60)",
            {"wall_time": 0.5},
            Status.TIME_LIMIT_EXCEEDED,
            TimeLimit.WALL,
        ),
        (
            "x = bytearray(200 << 20); input()",
            {"memory": 64 * MIB},
            Status.MEMORY_LIMIT_EXCEEDED,
            None,
        ),
        ("while True: print('x' * 999)", {"output": 10_000}, Status.OUTPUT_LIMIT_EXCEEDED, None),
        ("import os; os.abort()", {}, Status.CRASHED, None),
        ("import os; os.kill(os.getpid(), 9)", {}, Status.CRASHED, None),
        ("import os; os._exit(137)", {}, Status.FAILED, None),
        ("1 / 0", {}, Status.FAILED, None),
        ("print(1)", {}, Status.SUCCEEDED, None),
    ],
)
async def test_each_end_has_its_verdict(
    executor: ModalExecutor,
    source: str,
    limits: dict[str, Any],
    status: Status,
    time_limit: TimeLimit | None,
) -> None:
    ran = await run(executor, source, **limits)
    assert (ran.outcome.status, ran.outcome.time_limit) == (status, time_limit)


async def test_output_is_kept_to_the_byte(executor: ModalExecutor) -> None:
    ran = await run(executor, "while True: print('x' * 999)", output=100_000)
    assert len(ran.stdout) == 100_000
    assert ran.outcome.truncated == {Stream.STDOUT}


async def test_the_program_can_neither_read_nor_forge_what_the_supervisor_reports(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    if not loopback.has_two_uids:
        pytest.skip("an ordinary user can give a box one uid only")
    ran = await run(
        executor,
        """
import os, struct, sys
forged = struct.pack(">cI", b"X", 2) + b"{}"
for pid in [name for name in os.listdir("/proc") if name.isdigit()]:
    if int(pid) == os.getpid():
        continue
    for path in ("fd/0", "fd/1", "fd/2", "mem", "environ"):
        try:
            with open(f"/proc/{pid}/{path}", "r+b", buffering=0) as file:
                file.write(forged)
                print("BREACH", pid, path)
        except OSError:
            pass
    try:
        os.kill(int(pid), 9)
        print("BREACH kill", pid)
    except OSError:
        pass
for fd in range(3, 64):
    try:
        os.write(fd, forged)
        print("BREACH fd", fd)
    except OSError:
        pass
sys.stdout.buffer.write(forged)
sys.exit(7)
""",
    )
    assert b"BREACH" not in ran.stdout
    assert (ran.outcome.status, ran.outcome.exit_code) == (Status.FAILED, 7)


async def test_no_process_and_no_box_outlives_its_run(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    [box] = loopback.state.running()
    await run(
        executor,
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)\nprint('main')",
    )
    with anyio.fail_after(10):
        await box.ended.wait()
    assert box not in loopback.state.running()


async def test_a_box_has_limits_and_neither_network_nor_secrets_nor_identity(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    [box, *_] = loopback.state.running()
    definition = box.definition
    assert definition.network_access.network_access_type == api_pb2.NetworkAccess.BLOCKED
    assert not definition.secret_ids
    assert not definition.include_oidc_identity_token
    assert definition.resources.memory_mb == definition.resources.memory_mb_max
    assert definition.resources.memory_mb_max * MIB > LIMITS.memory
    assert definition.resources.milli_cpu == definition.resources.milli_cpu_max == 1000
    assert 0 < definition.timeout_secs < 300
    assert box.tags["service"] == "greenroom"


async def test_a_warm_run_costs_one_call_before_its_program_starts(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    [box] = loopback.state.running()
    loopback.state.reset()
    await run(executor, "print(1)")
    assert loopback.state.rpcs["TaskExecStdinWrite"] == 1
    with anyio.fail_after(10):
        await box.ended.wait()
    await until_ready(executor)
    refill = ("SandboxCreateV2", "TaskExecStart", "TaskExecStdioRead", "SandboxTerminateV2")
    assert {name: loopback.state.rpcs[name] for name in refill} == dict.fromkeys(refill, 1)


async def test_a_large_run_gets_a_box_of_its_own(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    await run(executor, "print(1)", memory=LIMITS.memory * 2)
    sizes = [box.definition.resources.memory_mb_max for box in loopback.state.boxes.values()]
    assert max(sizes) * MIB >= LIMITS.memory * 2


async def test_leaving_the_executor_ends_every_box(loopback: LoopbackModal) -> None:
    async with executor_on(loopback, warm_floor=2) as executor:
        await until_ready(executor, 2)
        assert len(loopback.state.running()) == 2
    for box in loopback.state.boxes.values():
        await box.ended.wait()
