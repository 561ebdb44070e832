"""How soon the first output is seen, and how many events a second, by so many subscribers.

    python -m benchmarks.streams [subscribers ...]

Each subscriber has a WebSocket of its own to one server on SQLite. The program says when it writes,
by the clock that its readers have too. The readers are in this process, in Python, on the same
processors: with many of them, their share is in the figures.
"""

import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import quantiles
from typing import Any

import anyio

from app.storage.migrations import migrate
from tests.api.client import Api
from tests.api.socket import Socket, socket
from tests.processes.server import serving

SUBSCRIBERS = (1, 50, 500)
FIRST = "import time\ntime.sleep({0})\nprint(time.time(), flush=True)\ntime.sleep(0.1)"
MANY = (
    "import time\ntime.sleep({0})\nfor n in range(200):\n print(n, flush=True)\n time.sleep(0.02)"
)
SEEN = 200  # first outputs in all, for each number of subscribers
EVENTS = """subscription($id: ID!) {
  executionEvents(id: $id) { ... on ExecutionOutput { text } }
}"""


async def outputs(reader: Socket, id: str, name: str, seen: list[tuple[float, str]]) -> None:
    """Note each output of an execution and when it came."""
    await reader.subscribe(name, EVENTS, variables={"id": id})
    while (message := await reader.hear())["type"] == "next":
        if text := message["payload"]["data"]["executionEvents"].get("text"):
            seen.append((time.time(), text))


async def watched(api: Api, readers: list[Socket], source: str, name: str) -> Any:
    """Run a program that all of them watch from before its first output."""
    seen: list[tuple[float, str]] = []
    wait = 0.5 + len(readers) / 100  # s, until everybody has subscribed
    execution = await api.run(source.format(wait), waitMs=0)
    async with anyio.create_task_group() as tasks:
        for reader in readers:
            tasks.start_soon(outputs, reader, execution["id"], name, seen)
    return seen


async def measure(api: Api, count: int) -> None:
    async with AsyncExitStack() as stack:
        assert api.http.base_url.port
        port = api.http.base_url.port
        readers = [await stack.enter_async_context(socket(port)) for _ in range(count)]
        delays: list[float] = []
        for number in range(max(SEEN // count, 2)):
            seen = await watched(api, readers, FIRST, f"first-{number}")
            delays += [at - float(text) for at, text in seen]
        cuts = quantiles(delays, n=20)
        seen = await watched(api, readers, MANY, "many")
        took = max(at for at, _ in seen) - min(at for at, _ in seen)
    print(
        f"{count} subscribers: first output {cuts[9] * 1000:.0f} ms (p50), "
        f"{cuts[18] * 1000:.0f} ms (p95); {len(seen) / took:.0f} events/s, "
        f"load {os.getloadavg()[0]:.1f}"
    )


async def main(counts: tuple[int, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        await migrate(f"sqlite:///{folder}/greenroom.db")
        async with serving(Path(folder)) as (_, api):
            await api.run("print(42)")
            for count in counts:
                await measure(api, count)


if __name__ == "__main__":
    anyio.run(main, tuple(map(int, sys.argv[1:])) or SUBSCRIBERS)
