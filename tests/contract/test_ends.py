"""When a result is there, nothing of its program lives; when a run is cancelled, likewise.

That no process survives is asserted after every test, see `nothing_survives`.
"""

import anyio
import pytest

from app.domain.execution import Output, Status
from tests.contract import programs
from tests.contract.runs import Box, limits_with
from tests.contract.subjects import Subject


async def test_who_is_left_behind_dies_with_the_program(box: Box, subject: Subject) -> None:
    result = await box(programs.DAEMON[box.language.id])
    assert await subject.survivors() == []
    assert result.status is Status.SUCCEEDED, result
    assert "done" in result.text.splitlines()
    assert result.seconds < 5  # and not for as long as somebody holds the output


WAYS_TO_STAY = {
    "a plain child": "if os.fork() == 0: time.sleep(3600)",
    "a child that ignores signals": """
if os.fork() == 0:
    for number in range(1, 65):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
    while True: time.sleep(3600)
""",
    "a daemon": """
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    os.chdir("/")
    for fd in (0, 1, 2): os.close(fd)
    time.sleep(3600)
""",
    "a chain that forks on": """
def on(depth):
    while True:
        if os.fork(): os._exit(0)
        os.setsid()
        depth += 1
if os.fork() == 0: on(0)
""",
    "a stopped child": """
if (child := os.fork()) == 0: time.sleep(3600)
os.kill(child, signal.SIGSTOP)
""",
    "a child in a group of its own": """
if os.fork() == 0:
    os.setpgid(0, 0)
    time.sleep(3600)
""",
    "sixty children": "for _ in range(60):\n    if os.fork() == 0: time.sleep(3600)",
}


@pytest.mark.parametrize("way", WAYS_TO_STAY)
async def test_no_way_to_stay_works(python: Box, subject: Subject, way: str) -> None:
    source = f"import os, signal, time\n{WAYS_TO_STAY[way]}\nprint('done', flush=True)\nos._exit(7)"
    result = await python(source)
    assert await subject.survivors() == []
    assert (result.text, result.outcome.exit_code) == ("done\n", 7), result
    assert result.seconds < 5


async def test_a_cancelled_run_leaves_no_process(box: Box, subject: Subject) -> None:
    async with anyio.create_task_group() as tasks:
        await box.until_it_speaks(programs.SLEEP[box.language.id], tasks)
        began = anyio.current_time()
        tasks.cancel_scope.cancel()
    assert await subject.survivors() == []
    assert anyio.current_time() - began < 2


@pytest.mark.parametrize("after", [0, 0.003, 0.01, 0.02, 0.04])
async def test_a_run_can_be_cancelled_while_it_starts(
    box: Box, subject: Subject, after: float
) -> None:
    began = anyio.current_time()
    with anyio.move_on_after(after):
        await box(programs.SLEEP[box.language.id])
    assert await subject.survivors() == []
    assert anyio.current_time() - began < 2


async def test_a_run_can_be_cancelled_while_nobody_takes_its_output(
    box: Box, subject: Subject
) -> None:
    stuck = anyio.Event()

    async def heard(_: Output) -> None:
        stuck.set()
        await anyio.sleep_forever()

    async def go() -> None:
        await box(programs.FLOOD_FOR_EVER[box.language.id], heard=heard)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go)
        await stuck.wait()
        tasks.cancel_scope.cancel()
    assert await subject.survivors() == []


async def test_who_hears_the_output_may_fail(box: Box, subject: Subject) -> None:
    async def heard(_: Output) -> None:
        raise LookupError

    with pytest.raises((LookupError, ExceptionGroup)) as caught:
        await box(programs.SLEEP[box.language.id], heard=heard)
    assert caught.type is LookupError or caught.group_contains(LookupError)
    assert await subject.survivors() == []


async def test_a_sandbox_may_be_left_unused(box: Box, subject: Subject) -> None:
    began = anyio.current_time()
    async with box.executor.sandbox(box.language, limits_with()) as sandbox:
        await sandbox.write({"main.txt": b"never read"})
    assert await subject.survivors() == []
    assert anyio.current_time() - began < 2


async def test_eight_at_once_do_not_mix(box: Box) -> None:
    said: dict[str, str] = {}

    async def go(name: str) -> None:
        said[name] = (await box(programs.ECHO[box.language.id], stdin=name.encode())).text

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(go, f"program {number}")
    assert said == {name: name for name in (f"program {number}" for number in range(8))}
