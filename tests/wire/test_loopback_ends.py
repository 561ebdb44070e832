"""The loopback server leaves nothing behind: when it is left, and when it is killed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import anyio
import anyio.to_thread
import modal
import pytest

from app.domain.language import Toolchain
from app.executors.local.mounts import cgroup_folders
from app.executors.modal.loopback import LoopbackModal

Create = Callable[..., Awaitable[modal.Sandbox]]
MARK = "73.0919"  # s; how long the programs here sleep, by which they are known
ROOT = Path(__file__).parents[2]

SERVER = """
import anyio, os, sys
import modal
from app.executors.modal.loopback import LoopbackModal
from app.languages import all_languages

async def main():
    tools = {"python3": all_languages()["PYTHON"].find(None)[0]}
    async with LoopbackModal(tools) as server:
        os.environ["MODAL_SERVER_URL"] = server.url
        client = await modal.Client.from_credentials.aio(server.token_id, server.token_secret)
        app = await modal.App.lookup.aio("x", client=client, create_if_missing=True)
        image = modal.Image.debian_slim("3.13")
        box = await modal.Sandbox.create.aio(app=app, client=client, image=image)
        await box.exec.aio("sleep", sys.argv[1])
        print("ready", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


async def test_leaving_the_server_leaves_nothing(
    tools: Mapping[str, Toolchain], pinned: pytest.MonkeyPatch
) -> None:
    pid = os.getpid()
    before = set(own_cgroups(pid))
    async with LoopbackModal(tools) as server:
        pinned.setenv("MODAL_SERVER_URL", server.url)
        client = await modal.Client.from_credentials.aio(server.token_id, server.token_secret)
        app = await modal.App.lookup.aio("greenroom", client=client, create_if_missing=True)
        box = await modal.Sandbox.create.aio(
            app=app, client=client, image=modal.Image.debian_slim("3.13")
        )
        await box.exec.aio("sh", "-c", f"sleep {MARK} & setsid sleep {MARK}")
        await anyio.to_thread.run_sync(wait_until, lambda: len(list(sleepers())) == 2)
        folder = server._host.stage.path
    await client.close.aio()

    assert not list(sleepers())
    assert not folder.exists()
    assert set(own_cgroups(pid)) == before


async def test_ending_a_box_leaves_nothing_of_it(loopback: LoopbackModal, create: Create) -> None:
    before, others = open_files(), len(list(leaves(os.getpid())))
    for _ in range(3):
        box = await create()
        await box.exec.aio("sleep", MARK)
        await box.terminate.aio(wait=True)
        await box.detach.aio()  # type: ignore[no-untyped-call]
    await loopback.end_boxes()
    assert not list(sleepers())
    # Cells of other tests wait in this process as well.
    await anyio.to_thread.run_sync(wait_until, lambda: len(list(leaves(os.getpid()))) <= others)
    await anyio.to_thread.run_sync(wait_until, lambda: open_files() <= before + 2)


def test_killing_the_server_ends_its_boxes(pinned: pytest.MonkeyPatch) -> None:
    server = start_server()
    wait_until(lambda: bool(list(sleepers())))
    server.send_signal(signal.SIGKILL)
    server.wait()
    wait_until(lambda: not list(sleepers()))


async def test_the_next_server_cleans_up_after_a_killed_one(
    tools: Mapping[str, Toolchain], pinned: pytest.MonkeyPatch
) -> None:
    server = await anyio.to_thread.run_sync(start_server)
    server.send_signal(signal.SIGKILL)
    await anyio.to_thread.run_sync(server.wait)
    await anyio.to_thread.run_sync(wait_until, lambda: not list(sleepers()))
    async with LoopbackModal(tools):
        assert not list(own_cgroups(server.pid))
        assert not list(folders(server.pid))


def start_server() -> "subprocess.Popen[bytes]":
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, MARK],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "MODAL_CONFIG_PATH": os.devnull, "PYTHONPATH": str(ROOT)},
    )
    assert server.stdout is not None
    with server.stdout as said:
        assert said.readline() == b"ready\n"
    return server


def sleepers() -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            argv = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if argv[:2] == [b"sleep", MARK.encode()]:
            yield int(path.parent.name)


def own_cgroups(pid: int) -> Iterator[Path]:
    own = Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text()
    v1, v2 = cgroup_folders(*own)
    for folder in (*v1.values(), *((v2,) if v2 else ())):
        yield from folder.glob(f"greenroom-{pid}-*")


def folders(pid: int) -> Iterator[Path]:
    return Path(tempfile.gettempdir()).glob(f"greenroom-{pid}-*")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def leaves(pid: int) -> Iterator[Path]:
    for folder in own_cgroups(pid):
        yield from (path for path in folder.iterdir() if path.is_dir())


def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)
