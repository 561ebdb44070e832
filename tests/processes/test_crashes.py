"""What happens around a server: it is killed, its callers leave or flood it, its disk is full."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import anyio
import httpx
import pytest

from tests.api.client import ALL, EXECUTE, Api, Json

from .server import serving, traces, until_gone

RUNNING = "{ executions(filter: { statusIn: [QUEUED, RUNNING] }) { totalCount } }"
NONE = {"executions": {"totalCount": 0}}


async def test_a_killed_servers_programs_are_ended_or_run_by_the_next_one(folder: Path) -> None:
    source = "import time\nprint('so far', flush=True)\ntime.sleep(60)"
    # Cold: a program in a warm cell shows nobody its arguments, by which we look for it.
    async with serving(folder, slots=1, warm_cells="0") as (server, api):
        running, queued = [
            (await api.run(source, args=["killed"], waitMs=0))["id"] for _ in range(2)
        ]
        await api.until(running, lambda execution: execution["stdout"] == "so far\n")
        server.signal(signal.SIGKILL)
        await server.end()
    await until_gone("killed")
    async with serving(folder) as (_, api):
        execution = await api.look(running)
        assert execution["status"] == "INFRASTRUCTURE_ERROR"
        assert "stopped unexpectedly" in execution["message"]
        assert execution["stdout"] == "so far\n"
        assert execution["finishedAt"]
        # Nobody had begun it: it is a program like any other.
        await api.until(queued, lambda execution: execution["stdout"] == "so far\n")
        assert (await api.cancel(queued))["execution"]["attempt"] == 1
        assert await api.ask(RUNNING) == NONE
        assert await anyio.to_thread.run_sync(traces, server.pid) == []


async def test_two_servers_share_a_file_and_leave_each_others_programs_alone(
    folder: Path,
) -> None:
    source = "import time\nprint('so far', flush=True)\ntime.sleep(60)"
    async with serving(folder) as (_, first):
        id = (await first.run(source, limits={"wallTimeMs": 60_000}, waitMs=0))["id"]
        async with serving(folder) as (_, second):
            assert (await second.look(id))["status"] == "RUNNING"
        assert (await first.cancel(id))["execution"]["status"] == "CANCELLED"


async def test_a_caller_that_goes_away_does_not_stop_its_program(folder: Path) -> None:
    source = "import time\nprint('so far', flush=True)\ntime.sleep(1)\nprint('done')"
    async with serving(folder) as (server, api):
        async with (
            httpx.AsyncClient(base_url=api.http.base_url) as impatient,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(Api(impatient).run, source)
            await server.says("execution accepted")
            tasks.cancel_scope.cancel()
        [node] = (await api.ask("{ executions { nodes { id } } }"))["executions"]["nodes"]
        ended = await api.end_of(node["id"])
        assert (ended["status"], ended["stdout"]) == ("SUCCEEDED", "so far\ndone\n")
        assert not any("Traceback" in line for line in server.log)


async def test_a_flood_is_refused_in_part_and_what_is_accepted_ends(folder: Path) -> None:
    payloads: list[Json] = []

    async with serving(folder, slots=2, queue_size=20) as (server, api):

        async def ask() -> None:
            payloads.append(await api.execute("print(42)", waitMs=60_000))

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(ask)
        accepted = [payload["execution"] for payload in payloads if payload["execution"]]
        refused = [payload["errors"] for payload in payloads if payload["errors"]]
        assert len(accepted) + len(refused) == 100
        assert len(accepted) >= 22
        assert refused
        assert all(execution["stdout"] == "42\n" for execution in accepted)
        assert {error["code"] for errors in refused for error in errors} == {"SERVER_BUSY"}
        assert all(error["retryAfterMs"] >= 100 for errors in refused for error in errors)
        assert await api.ask(RUNNING) == NONE
        total = await api.ask("{ executions { totalCount } }")
        assert total == {"executions": {"totalCount": len(accepted)}}
        load = (await api.ask("{ health { load { running queued } } }"))["health"]["load"]
        assert load == {"running": 0, "queued": 0}
        assert await server.stop() == 0


@pytest.fixture
def small_disk(tmp_path: Path, migrated: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "greenroom-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount the small disk that this test fills")
    try:
        shutil.copy(migrated, folder)
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    """Write until the disk is full."""
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


async def test_a_full_disk_leaves_nothing_stuck_when_there_is_room_again(small_disk: Path) -> None:
    source = "import time\ntime.sleep(1)\nprint('x' * 20_000)"
    large = f"# {'x' * 200_000}"
    async with serving(small_disk) as (server, api):
        id = (await api.run(source, waitMs=0))["id"]
        await anyio.to_thread.run_sync(fill, small_disk)
        await server.says("not stored yet")
        error = await api.fail(EXECUTE + ALL, input={"language": "PYTHON", "source": large})
        assert error["extensions"]["code"] == "UNAVAILABLE"
        assert (await api.look(id))["status"] == "RUNNING"
        await anyio.to_thread.run_sync((small_disk / "filler").unlink)
        ended = await api.end_of(id)
        assert ended["status"] in {"SUCCEEDED", "INFRASTRUCTURE_ERROR"}
        assert ended["stdoutStream"]["byteSize"] == 20_001
        assert (await api.run(large))["status"] == "SUCCEEDED"
        assert await api.ask(RUNNING) == NONE
        assert await server.stop() == 0
