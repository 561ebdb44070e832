"""Programs that make it hard for the supervisor to look at them."""

import signal
from collections.abc import AsyncIterator

import pytest

from app.domain.execution import Status, TimeLimit
from app.domain.limits import MIB
from app.executors.modal.executor import ModalExecutor
from app.executors.modal.loopback import LoopbackModal
from tests.wire.adapter import executor_on, run

pytestmark = pytest.mark.anyio

# PR_SET_DUMPABLE: the folders of /proc then belong to root. PR_SET_NAME: any fifteen bytes.
HIDDEN = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None)
libc.prctl({option}, {value}, 0, 0, 0)
"""
UNDUMPABLE = HIDDEN.format(option=4, value=0)
NAMELESS = HIDDEN.format(option=15, value=r'b"\xff\xfe) R 1 \n"')


@pytest.fixture
async def executor(loopback: LoopbackModal) -> AsyncIterator[ModalExecutor]:
    async with executor_on(loopback) as executor:
        yield executor


@pytest.mark.parametrize("trick", [UNDUMPABLE, NAMELESS])
async def test_a_hidden_family_is_held_to_its_cpu_time(executor: ModalExecutor, trick: str) -> None:
    burn = "for _ in range(2):\n    if os.fork() == 0:\n        while True: pass\nos.wait()"
    ran = await run(executor, trick + burn, cpu_time=0.5, wall_time=8.0)
    assert ran.outcome.status is Status.TIME_LIMIT_EXCEEDED
    assert ran.outcome.time_limit is TimeLimit.CPU
    assert ran.outcome.usage
    assert ran.outcome.usage.cpu_time < 1.5


@pytest.mark.parametrize("trick", [UNDUMPABLE, NAMELESS])
async def test_a_hidden_program_is_held_to_its_memory(executor: ModalExecutor, trick: str) -> None:
    ran = await run(executor, trick + "x = bytearray(90 << 20); time.sleep(5)", memory=64 * MIB)
    assert ran.outcome.status is Status.MEMORY_LIMIT_EXCEEDED
    assert ran.outcome.usage


@pytest.mark.parametrize("trick", [UNDUMPABLE, NAMELESS])
async def test_a_hidden_program_ends_as_any_other(executor: ModalExecutor, trick: str) -> None:
    ran = await run(executor, trick + "print('here'); sys.exit(3)")
    assert (bytes(ran.stdout), ran.outcome.exit_code) == (b"here\n", 3)


@pytest.mark.parametrize(
    "trick",
    [
        f"os.kill(int(pid), {signal.SIGSTOP.value})",
        f"os.kill(int(pid), {signal.SIGKILL.value})",
        f"os.kill(int(pid), {signal.SIGSTOP.value}); os.kill(int(pid), {signal.SIGCONT.value})",
        "libc.ptrace(16, int(pid), 0, 0)",  # PTRACE_ATTACH
    ],
    ids=["stops", "kills", "delays", "traces"],
)
async def test_a_program_that_stops_whoever_looks_at_its_memory_is_held_to_it(
    executor: ModalExecutor, trick: str
) -> None:
    lurk = f"""
import ctypes, os, time
libc, own = ctypes.CDLL(None), os.getpid()
if os.fork() == 0:
    while True:
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if int(pid) not in (own, os.getpid()):
                try: {trick}
                except OSError: pass
x = bytearray(90 << 20)
time.sleep(5)
"""
    ran = await run(executor, lurk, memory=64 * MIB)
    assert ran.outcome.status is Status.MEMORY_LIMIT_EXCEEDED
    assert ran.outcome.usage
    assert ran.outcome.usage.wall_time < 3
