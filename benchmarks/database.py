"""How fast processes claim work from one PostgreSQL, and how a page of history grows.

    python -m benchmarks.database [executions]

Claims: 1, 2 and 4 processes empty a queue together. History: a page of 20 among all executions
against a page among 1,000; the ratio should stay below 2.
"""

import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from statistics import median
from typing import Any

import anyio
from sqlalchemy import Connection, insert, text
from uuid6 import uuid7

from app.domain.execution import Execution, Outcome, Program, Status
from app.domain.history import Filter, Window
from app.domain.limits import DEFAULT_LIMITS
from app.domain.ports import Support
from app.storage.mapping import execution_values, outcome_values
from app.storage.migrations import migrate
from app.storage.rows import EXECUTIONS
from app.storage.store import Claimer, Store
from tests.servers.postgres import DURABLE, PostgresServer

QUEUED = 1000  # rows that are claimed, of 10 owners
SLOTS = 2  # claimed at once, as a process with two slots does
PROGRAM = Program(language="PYTHON", source="print(42)")
DONE = Outcome(status=Status.SUCCEEDED, exit_code=0)
SMALL, PAGE, ROUNDS = 1_000, 20, 50
BATCH = 5_000


def row(number: int, *, owner: str, waits: bool) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(days=1) + timedelta(milliseconds=number)
    execution = Execution(
        id=uuid7(),
        owner=owner,
        status=Status.QUEUED,
        language="PYTHON",
        language_version=None,
        limits=DEFAULT_LIMITS,
        executor="local",
        attempt=1,
        created_at=at,
    )
    values = execution_values(execution, PROGRAM)
    if waits:
        return values | {"turn_at": at}
    return values | {"started_at": at} | outcome_values(DONE, at)


async def fill(store: Store, rows: Iterable[dict[str, Any]]) -> None:
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):

        def add(connection: Connection, batch: list[dict[str, Any]] = batch) -> None:
            connection.execute(insert(EXECUTIONS), batch)

        await store._database.write(add)  # noqa: SLF001 - the store inserts one at a time


def claim_all(url: str, name: int) -> int:
    """Claim until nothing is left; the inside of one process."""

    async def claim() -> int:
        store, count = Store(url), 0
        by = Claimer(holder=f"process-{name}", executor="local", runs={"PYTHON": Support()})
        while taken := await store.claim(by, SLOTS):
            count += len(taken)
        await store.close()
        return count

    return anyio.run(claim, backend_options={"use_uvloop": True})


async def claims(url: str) -> None:
    for processes in (1, 2, 4):
        store = Store(url)
        rows = (row(number, owner=f"o{number % 10}", waits=True) for number in range(QUEUED))
        await fill(store, rows)
        await store.close()
        with ProcessPoolExecutor(processes) as pool:
            began = time.perf_counter()
            counts = await anyio.to_thread.run_sync(
                lambda: list(pool.map(claim_all, [url] * processes, range(processes)))  # noqa: B023
            )
            took = time.perf_counter() - began
        print(f"{processes} processes: {sum(counts) / took:.0f} claims/s")


async def history(url: str, size: int) -> None:
    store = Store(url)
    for owner, count in (("small", SMALL), ("large", size)):
        await fill(store, (row(number, owner=owner, waits=False) for number in range(count)))
    await store._database.write(_analyze)  # noqa: SLF001 - as above
    times = {}
    for owner in ("small", "large"):
        took = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            await store.page(owner, Filter(), Window(size=PAGE))
            took.append(time.perf_counter() - began)
        times[owner] = median(took)
        print(f"{owner}: a page takes {times[owner] * 1000:.2f} ms")
    print(f"ratio: {times['large'] / times['small']:.2f}")
    await store.close()


def _analyze(connection: Connection) -> None:
    connection.execute(text("ANALYZE"))


async def main(size: int) -> None:
    with PostgresServer.start(DURABLE) as server:
        for name in ("claims", "history"):
            server.create_database(name)
            await migrate(server.url(name))
        await claims(server.url("claims"))
        await history(server.url("history"), size)


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
