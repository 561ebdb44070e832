"""Two servers and a worker on one PostgreSQL, killed at random under load, and then counted.

    python -m benchmarks.soak [seconds]

Not a test of CI: it takes as long as it is told to. It fails when an accepted execution has no end
or two, ran more than twice, or has a gap in its log, and when a program is left.
"""

import random
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import httpx

from app.api.ids import decode_id
from app.domain.access import LOCAL
from app.domain.events import Finished, OutputWritten, StatusChanged
from app.domain.execution import Status
from app.storage.migrations import migrate
from app.storage.store import Store
from tests.api.client import Api
from tests.processes.server import Server, processes_with, serving, working
from tests.servers.postgres import DURABLE, PostgresServer

MARK = "soak"
CALLERS = 6
LEASE = 3  # s
CANCELLED = 0.05  # of all
MOST_TRIES = 2
BEGINNINGS = 2  # events before the first output: that it waits, and that it runs
SOURCES = (
    "print('a'); print('b')",
    "import time\nprint('a', flush=True)\ntime.sleep(0.5)\nprint('b')",
    "import time\ntime.sleep(0.5)\nprint('a'); print('b')",
)
SETTLE = 120  # s for what is left to end when nobody is killed any more


class Soak:
    """What was accepted, and who answers at the moment."""

    def __init__(self, folder: Path, url: str, seconds: float) -> None:
        self.folder, self.url, self.seconds = folder, url, seconds
        self.apis: dict[str, Api] = {}
        self.accepted: list[str] = []
        self.refused = 0
        self.kills: Counter[str] = Counter()
        self.chance = random.Random()
        self.over = anyio.Event()

    @property
    def settings(self) -> dict[str, Any]:
        """Of every process."""
        return {"database_url": self.url, "lease": LEASE, "slots": 2, "drain": 1}

    async def live(self, name: str) -> None:
        """Start a process again and again, and kill it after a while."""
        while not self.over.is_set():
            if name == "worker":
                async with working(self.folder, **self.settings) as server:
                    await self.kill_later(name, server)
                continue
            async with serving(self.folder, **self.settings) as (server, api):
                self.apis[name] = api
                await self.kill_later(name, server)
                self.apis.pop(name, None)

    async def kill_later(self, name: str, server: Server) -> None:
        """End it in one of the ways in which processes end, unless the time is over first."""
        with anyio.move_on_after(self.chance.uniform(2, 15)):
            await self.over.wait()
            return
        way = self.chance.choice(("kill", "kill", "freeze", "stop"))
        self.kills[f"{name}: {way}"] += 1
        if way == "stop":
            await server.stop()
            return
        if way == "freeze":
            server.signal(signal.SIGSTOP)
            await anyio.sleep(LEASE * 1.5)
            server.signal(signal.SIGCONT)
            await anyio.sleep(1)
        server.signal(signal.SIGKILL)
        await server.end()

    async def call(self) -> None:
        """Have programs accepted, cancel some, and go on whoever answers."""
        while not self.over.is_set():
            await anyio.sleep(0.02)
            if not self.apis:
                continue
            api = self.chance.choice(list(self.apis.values()))
            try:
                with anyio.fail_after(10):
                    payload = await api.execute(self.chance.choice(SOURCES), args=[MARK], waitMs=0)
                    if payload["errors"]:
                        self.refused += 1
                        continue
                    self.accepted.append(payload["execution"]["id"])
                    if self.chance.random() < CANCELLED:
                        await api.cancel(self.accepted[-1])
            except (httpx.HTTPError, TimeoutError, AssertionError):
                continue  # it was killed, or is frozen: nothing was promised

    async def run(self) -> None:
        """Kill for as long as was asked, then let everything end."""
        async with anyio.create_task_group() as tasks:
            for name in ("one", "two", "worker"):
                tasks.start_soon(self.live, name)
            for _ in range(CALLERS):
                tasks.start_soon(self.call)
            await anyio.sleep(self.seconds)
            self.over.set()
        async with serving(self.folder, **self.settings):
            await self.settle()

    async def settle(self) -> None:
        """Wait until nothing waits or runs."""
        store = Store(self.url)
        with anyio.fail_after(SETTLE):
            while True:
                if not (await store.queue_length()).length and not await store.leases():
                    break
                await anyio.sleep(0.2)
        await store.close()

    async def count(self) -> list[str]:
        """Say what was accepted and became of it; return what must not be."""
        store, wrong = Store(self.url), list[str]()
        statuses, attempts = Counter[str](), Counter[int]()
        for id in self.accepted:
            uuid = decode_id(id)
            assert uuid
            page = await store.events(LOCAL.owner, uuid, after=0, limit=1000)
            if page is None:
                wrong.append(f"{id} was accepted and is not there")
                continue
            last = page.events[-1]
            if not isinstance(last, Finished):
                wrong.append(f"{id} has not ended")
                continue
            execution = last.execution
            statuses[execution.status] += 1
            attempts[execution.attempt] += 1
            if [event.sequence for event in page.events] != list(range(1, len(page.events) + 1)):
                wrong.append(f"{id} has a gap")
            if sum(isinstance(event, Finished) for event in page.events) != 1:
                wrong.append(f"{id} has more than one end")
            if sum(isinstance(event, StatusChanged) for event in page.events) > BEGINNINGS:
                wrong.append(f"{id} began twice")
            text = b"".join(
                event.output.data for event in page.events if isinstance(event, OutputWritten)
            )
            if not b"a\nb\n".startswith(text):
                wrong.append(f"{id} wrote {text!r}")
            if execution.status is Status.SUCCEEDED and text != b"a\nb\n":
                wrong.append(f"{id} succeeded with {text!r}")
            if execution.attempt > MOST_TRIES:
                wrong.append(f"{id} ran {execution.attempt} times")
        await store.close()
        print(f"kills: {dict(self.kills)}")
        print(f"accepted: {len(self.accepted)}, refused: {self.refused}")
        print(f"ends: {dict(statuses)}, tries: {dict(attempts)}")
        return wrong


async def main(seconds: float) -> int:
    with tempfile.TemporaryDirectory() as folder, PostgresServer.start(DURABLE) as server:
        server.create_database("soak")
        await migrate(server.url("soak"))
        soak = Soak(Path(folder), server.url("soak"), seconds)
        await soak.run()
        wrong = await soak.count()
        left = processes_with(MARK)
        if left:
            wrong.append(f"programs are left: {left}")
    for each in wrong:
        print(f"WRONG: {each}")
    print("nothing is wrong" if not wrong else f"{len(wrong)} things are wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(anyio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else 180.0))
