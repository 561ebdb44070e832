"""The host goes on as if nothing had happened."""

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from time import monotonic
from uuid import uuid4

import anyio
import anyio.to_thread
import pytest

from app.domain.execution import Status
from app.languages import all_languages
from tests.contract.runs import Box, Result
from tests.contract.subjects import Subject
from tests.hostile.traces import traces

LANGUAGES = all_languages()
FORK_BOMB = "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n"
MEMORY_BOMB = """
import os
while True:
    if os.fork() == 0:
        eaten = []
        while True: eaten.append(bytearray(b"x") * (1 << 20))
    os.wait()
"""
FLOOD = "import os\nwhile True: os.write(1, b'x' * 65536)"
GOOD = "print(sum(range(10 ** 6)))"
PULSE = 0.02  # s


@pytest.fixture
def python(subject: Subject) -> Box:
    return Box(subject.executor, LANGUAGES["PYTHON"])


async def test_eight_bombs_of_each_kind_at_once_disturb_nobody(
    subject: Subject, python: Box
) -> None:
    before = await traces(subject)
    ended: list[Result] = []
    late: list[float] = []

    async def bomb(source: str) -> None:
        ended.append(await python(source, wall_time=3.0, cpu_time=30.0))

    async def pulse() -> None:
        """Feel how late the server's event loop is."""
        while True:
            began = monotonic()
            await anyio.sleep(PULSE)
            late.append(monotonic() - began - PULSE)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pulse)
        async with anyio.create_task_group() as bombs:
            for source in (FORK_BOMB, MEMORY_BOMB, FLOOD) * 8:
                bombs.start_soon(bomb, source)
            await anyio.sleep(0.5)  # not to wait for an event, but for the bombs to have burst
            began = monotonic()
            good = [await python(GOOD) for _ in range(3)]
            own = await anyio.to_thread.run_sync(_start_a_process_of_the_host)
            took = monotonic() - began
        tasks.cancel_scope.cancel()
    print(f"\n3 good runs and a process of the host took {took:.2f} s; {max(late):.3f} s late")  # noqa: T201
    assert [(result.status, result.text) for result in good] == [
        (Status.SUCCEEDED, "499999500000\n")
    ] * 3
    assert own == 0
    assert took < 30
    assert max(late) < 1
    ends = Counter(result.status for result in ended)
    assert ends[Status.OUTPUT_LIMIT_EXCEEDED] == 8, ends
    assert ends[Status.TIME_LIMIT_EXCEEDED] + ends[Status.MEMORY_LIMIT_EXCEEDED] == 16, ends
    assert max(result.seconds for result in ended) < 30
    assert await traces(subject) == before


def _start_a_process_of_the_host() -> int:
    return subprocess.run([sys.executable, "-S", "-c", "pass"], check=False).returncode


@pytest.fixture
def abstract_name() -> Iterator[str]:
    """Listen on this host as its services do: by a name without a file, and on loopback."""
    name = f"greenroom-{uuid4().hex}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        yield name


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_services_of_the_host_are_out_of_reach(
    python: Box, abstract_name: str, port: int
) -> None:
    source = """
import socket, sys
local, internet = socket.AF_UNIX, socket.AF_INET
for family, address in ((local, "\\0" + sys.argv[1]), (internet, ("127.0.0.1", int(sys.argv[2]))),
                        (local, "/run/docker.sock"), (local, "/run/systemd/notify")):
    with socket.socket(family) as probe: print(probe.connect_ex(address))
"""
    result = await python(source, args=[abstract_name, str(port)])
    assert result.text == "111\n111\n2\n2\n", result


async def test_a_program_cannot_be_joined_from_another_run_by_its_files(python: Box) -> None:
    """Two runs at once write and lock the same names, and neither notices."""
    source = """
import fcntl, os, time
for name in ("/tmp/x", "/box/x", "/dev/shm/x"):
    file = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("mine alone", flush=True)
time.sleep(3600)
"""
    async with anyio.create_task_group() as tasks:
        await python.until_it_speaks(source, tasks)
        result = await python(source, wall_time=0.3)
        tasks.cancel_scope.cancel()
    assert result.text == "mine alone\n", result
