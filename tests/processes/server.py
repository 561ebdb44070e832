"""The command `greenroom` as a process of its own."""

import fnmatch
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx
from anyio.streams.text import TextReceiveStream

from app.api.ids import decode_id
from app.domain.access import LOCAL
from app.domain.execution import Execution, Transcript
from app.storage.store import Store
from tests.api.client import Api

COMMAND = Path(sys.executable).with_name("greenroom")
START_TIMEOUT = 60  # s; usually 1, but a first start reads everything from the disk
END_TIMEOUT = 30  # s
LOOK_EVERY = 0.02  # s
SECRET = re.compile(r"grk_[0-9a-f]{12}_[\w-]{43}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.|as-\w{22,}")
PLAIN = ("PATH", "HOME", "TMPDIR")
FEW = {"languages": "JAVASCRIPT,PYTHON"}
# Coverage looks into processes that have it, and these start and run at half the pace.
MEASURED = "COVERAGE_PROCESS_CONFIG"


def environment(*, is_measured: bool = False, **settings: Any) -> dict[str, str]:
    """Return a plain environment: nothing of the developer's, and these settings."""
    wanted = (*PLAIN, MEASURED) if is_measured else PLAIN
    kept = {name: os.environ[name] for name in wanted if name in os.environ}
    return {**kept, "LANG": "C.UTF-8", **named(settings)}


def named(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return settings as environment variables, and a terminal that breaks no line of theirs."""
    variables = {f"GREENROOM_{name.upper()}": str(value) for name, value in settings.items()}
    return {"COLUMNS": "200", **variables}


def greenroom(
    *arguments: str, folder: Path, is_measured: bool = False, **settings: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a command that ends by itself."""
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        env=environment(is_measured=is_measured, **settings),
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
        check=False,
    )


class Server:
    """A running server and its log."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self.process = process
        self.log: list[str] = []
        self._grown = anyio.Event()
        self._has_ended = False

    @property
    def pid(self) -> int:
        return self.process.pid

    async def read_log(self) -> None:
        assert self.process.stderr
        rest = ""
        async for text in TextReceiveStream(self.process.stderr, errors="replace"):
            *lines, rest = (rest + text).split("\n")
            self._grow(*lines)
        self._has_ended = True
        self._grow(rest)

    async def says(self, text: str, *, times: int = 1) -> str:
        """Wait for a line of the log that has this text, or for the so-manieth."""
        with anyio.fail_after(START_TIMEOUT):
            while True:
                found = [line for line in self.log if text in line]
                if len(found) >= times:
                    return found[times - 1]
                assert not self._has_ended, f"it ended without saying {text!r}"
                await self._grown.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self) -> int:
        """Wait for the end and return the exit code."""
        with anyio.fail_after(END_TIMEOUT):
            return await self.process.wait()

    async def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return await self.end()

    def _grow(self, *lines: str) -> None:
        # Whatever the test is about: no server may ever write a key or a token.
        assert not any(SECRET.search(line) for line in lines), lines
        self.log += lines
        self._grown.set()
        self._grown = anyio.Event()


@asynccontextmanager
async def starting(
    folder: Path,
    *arguments: str,
    before: tuple[str, ...] = (),
    command: tuple[str, ...] = ("serve", "--port", "0"),
    more: Mapping[str, str] = {},
    is_measured: bool = False,
    **settings: Any,
) -> AsyncIterator[Server]:
    """Start a server and do not wait until it answers; kill it in the end.

    It looks for a few languages alone, which is done in half the time; `languages=""` is for all.

    One that is measured is stopped instead: what was killed cannot tell what it has run.
    """
    async with (
        await anyio.open_process(
            [*before, str(COMMAND), *command, *arguments],
            cwd=folder,
            env=environment(is_measured=is_measured, **FEW | settings) | dict(more),
            stdout=subprocess.DEVNULL,
        ) as process,
        anyio.create_task_group() as tasks,
    ):
        server = Server(process)
        tasks.start_soon(server.read_log)
        try:
            yield server
            if is_measured and process.returncode is None:
                assert await server.stop() == 0
        except BaseException:
            sys.stderr.write("\n".join(("--- log of the server", *server.log, "")))
            raise
        finally:
            if process.returncode is None:
                process.kill()
                with anyio.CancelScope(shield=True):
                    await process.wait()


@asynccontextmanager
async def serving(
    folder: Path, *arguments: str, **settings: Any
) -> AsyncIterator[tuple[Server, Api]]:
    """Start a server and wait until it answers."""
    async with starting(folder, *arguments, **settings) as server:
        line = await server.says("serving")
        address = line[line.index("http://") : line.index("/graphql")]
        async with httpx.AsyncClient(base_url=address, timeout=60) as http:
            yield server, Api(http)


@asynccontextmanager
async def working(folder: Path, **settings: Any) -> AsyncIterator[Server]:
    """Start a worker and wait until it works."""
    async with starting(folder, command=("worker",), **settings) as worker:
        await worker.says("working")
        yield worker


def traces(pid: int) -> list[str]:
    """Name what is left of a server: cgroups and folders."""
    # Not by `rglob`, which fails when a cgroup of somebody else's goes away before its eyes.
    names = (f"{at}/{name}" for at, names, _ in os.walk("/sys/fs/cgroup") for name in names)
    folders = fnmatch.filter(names, f"*/greenroom*-{pid}-*")
    stages = Path(os.environ.get("TMPDIR", "/tmp")).glob(f"greenroom-{pid}-*")
    return [*folders, *map(str, stages)]


def processes_with(mark: str) -> list[int]:
    """Find the processes that have this among their arguments."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended while we looked
        if mark.encode() in words:
            found.append(int(folder.name))
    return found


async def until_gone(mark: str) -> None:
    """Wait until no process has this among its arguments."""
    await until(lambda: not processes_with(mark))


async def until(condition: Callable[[], bool]) -> None:
    """Look again and again: processes and files ring no bell for us."""
    with anyio.fail_after(END_TIMEOUT):
        while True:
            if await anyio.to_thread.run_sync(condition):
                return
            await anyio.sleep(LOOK_EVERY)


async def stored(folder: Path, id: str) -> tuple[Execution, Transcript]:
    """Read an execution from the database of a server that has ended."""
    store, uuid = Store(f"sqlite:///{folder}/greenroom.db"), decode_id(id)
    assert uuid
    try:
        executions = await store.executions(LOCAL.owner, [uuid])
        transcripts = await store.transcripts(LOCAL.owner, [uuid])
    finally:
        await store.close()
    return executions[uuid], transcripts.get(uuid, Transcript())
