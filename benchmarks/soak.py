"""Two servers and a worker on one PostgreSQL, killed at random under load, and then counted.

    python -m benchmarks.soak [seconds]

Not a test of CI: it takes as long as it is told to. The database is killed now and then as well,
and watchers follow programs, are cut off, and come back. What is counted in the end, and what is
wrong, says `benchmarks/counting.py`.
"""

import json
import random
import signal
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx

from app.storage.migrations import migrate
from app.storage.store import Store
from benchmarks.counting import Seen, count
from tests.api.client import JSON, Api, Json
from tests.processes.server import Server, processes_with, serving, working
from tests.servers.postgres import DURABLE, PostgresServer

MARK = "soak"
CALLERS, WATCHERS = 6, 4
LEASE = 3  # s
QUEUE_SIZE = 50  # so few that what is watched begins soon
CANCELLED = 0.05  # of all
CUT = 0.2  # of all events: after them, a watcher loses its connection
DATABASE_LIVES = (40, 80)  # s
DATABASE_AWAY = (0, 5)  # s; sometimes longer than a lease
SOURCES = (
    "print('a'); print('b')",
    "import time\nprint('a', flush=True)\ntime.sleep(0.5)\nprint('b')",
    "import time\ntime.sleep(0.5)\nprint('a'); print('b')",
)
SETTLE = 120  # s for what is left to end when nobody is killed any more
WATCH = """
subscription Watch($id: ID!, $after: Int!) {
  executionEvents(id: $id, after: $after) {
    __typename sequence ... on ExecutionOutput { text } ... on ExecutionFinished { execution { status } }
  }
}
"""  # noqa: E501
GONE = (httpx.HTTPError, TimeoutError, AssertionError, KeyError, ValueError)


class Soak:
    """What was accepted, what was seen, and who answers at the moment."""

    def __init__(self, folder: Path, database: PostgresServer, seconds: float) -> None:
        self.folder, self.database, self.seconds = folder, database, seconds
        self.url = database.url("soak")
        self.apis: dict[str, Api] = {}
        self.servers: list[Server] = []
        self.accepted: list[str] = []
        self.seen: dict[str, Seen] = {}
        self.refused = 0
        self.kills: Counter[str] = Counter()
        self.chance = random.Random()
        self.over = anyio.Event()

    @property
    def settings(self) -> dict[str, Any]:
        """Of every process."""
        return {
            "database_url": self.url,
            "lease": LEASE,
            "slots": 2,
            "drain": 1,
            "queue_size": QUEUE_SIZE,
        }

    async def live(self, name: str) -> None:
        """Start a process again and again, and kill it after a while."""
        while not self.over.is_set():
            try:
                await (self.work() if name == "worker" else self.serve(name))
            except* AssertionError:
                await anyio.sleep(1)  # the database was away when it started

    async def work(self) -> None:
        """Run programs until it is killed."""
        async with working(self.folder, **self.settings) as server:
            self.servers.append(server)
            await self.kill_later("worker", server)

    async def serve(self, name: str) -> None:
        """Answer, and run programs, until it is killed."""
        async with serving(self.folder, **self.settings) as (server, api):
            self.servers.append(server)
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

    async def kill_database(self) -> None:
        """Kill it again and again, and start it after a while."""
        while True:
            with anyio.move_on_after(self.chance.uniform(*DATABASE_LIVES)):
                await self.over.wait()
                return
            self.kills["database"] += 1
            await anyio.to_thread.run_sync(self.database.kill)
            await anyio.sleep(self.chance.uniform(*DATABASE_AWAY))
            await anyio.to_thread.run_sync(self.database.restart)

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
            except GONE:
                continue  # it was killed, or is frozen: nothing was promised

    async def watch(self) -> None:
        """Follow one program after the other to its end, whoever has to be asked."""
        while not self.over.is_set():
            await anyio.sleep(0.02)
            if not self.accepted or (id := self.accepted[-1]) in self.seen:
                continue
            self.seen[id] = seen = Seen()
            while not (seen.is_over or self.over.is_set()):
                await anyio.sleep(0.02)
                if self.apis:
                    api = self.chance.choice(list(self.apis.values()))
                    await self.watch_for_a_while(api, id, seen)

    async def watch_for_a_while(self, api: Api, id: str, seen: Seen) -> None:
        """Go on after the last event that was seen, until the end or a cut."""
        body = {"query": WATCH, "variables": {"id": id, "after": seen.last}}
        headers = JSON | {"Accept": "text/event-stream"}
        try:
            with anyio.fail_after(20):
                async with api.http.stream("POST", "/graphql", json=body, headers=headers) as lines:
                    async for line in lines.aiter_lines():
                        if line.startswith("data: "):
                            event: Json = json.loads(line[6:])["data"]["executionEvents"]
                            seen.add(event)
                            if self.chance.random() < CUT:
                                return
        except GONE:
            return  # as above

    async def run(self) -> None:
        """Kill for as long as was asked, then let everything end."""
        async with anyio.create_task_group() as tasks:
            for name in ("one", "two", "worker"):
                tasks.start_soon(self.live, name)
            for _ in range(CALLERS):
                tasks.start_soon(self.call)
            for _ in range(WATCHERS):
                tasks.start_soon(self.watch)
            tasks.start_soon(self.kill_database)
            await anyio.sleep(self.seconds)
            self.over.set()
        async with serving(self.folder, **self.settings) as (server, _):
            self.servers.append(server)
            await self.settle()

    async def settle(self) -> None:
        """Wait until nothing waits or runs."""
        store = Store(self.url)
        with anyio.move_on_after(SETTLE):
            while True:
                if not (await store.queue_length()).length and not await store.leases():
                    break
                await anyio.sleep(0.2)
        await store.close()


async def main(seconds: float) -> int:
    with tempfile.TemporaryDirectory() as folder, PostgresServer.start(DURABLE) as database:
        database.create_database("soak")
        await migrate(database.url("soak"))
        soak = Soak(Path(folder), database, seconds)
        await soak.run()
        print(f"kills: {dict(soak.kills)}")
        print(f"accepted: {len(soak.accepted)}, refused: {soak.refused}, seen: {len(soak.seen)}")
        logs = [line for server in soak.servers for line in server.log]
        wrong = await count(soak.url, soak.accepted, soak.seen, logs)
        if left := await anyio.to_thread.run_sync(partial(processes_with, MARK)):
            wrong.append(f"programs are left: {left}")
    for each in wrong:
        print(f"WRONG: {each}")
    print("nothing is wrong" if not wrong else f"{len(wrong)} things are wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(anyio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else 600.0))
