"""Many at once get along, and who is interrupted leaves a whole row or none."""

import asyncio
import random
from typing import Any
from uuid import UUID

import anyio
import pytest
from anyio import CancelScope, from_thread
from sqlalchemy import Connection, Engine, NullPool, text

from app.domain.execution import Execution, Outcome, Status, Transcript
from app.domain.history import Filter, Window
from app.storage import leases, reads
from app.storage.engine import CONNECTIONS, postgres_engine
from app.storage.store import Arrival, LastWords, Store
from app.storage.transcripts import transcripts
from app.storage.urls import is_sqlite, normal

from .samples import (
    HOLDER,
    NOW,
    OWNER,
    PROGRAM,
    SUCCESS,
    begun,
    entry,
    execution,
    hold,
    listening,
)

PROGRAMS = 50
PIECES = 5
LARGE = b"x" * 100_000
_WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


async def live(store: Store) -> None:
    """Go through one program's life, with a look at the history in its middle."""
    one = execution()
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    for number in range(1, PIECES):
        assert await store.append(hold(one.id), [entry(number, b"x")])
        await store.page(OWNER, Filter(), Window(size=10))
    last = [entry(PIECES, b"x")]
    assert await store.finish(hold(one.id), SUCCESS, at=NOW, last=LastWords(entries=last))


async def complete(store: Store, number: int) -> None:
    page = await store.page(OWNER, Filter(), Window(size=number + 1))
    assert len(page.executions) == number
    assert {one.outcome for one in page.executions} == {SUCCESS}
    transcripts = await store.transcripts(OWNER, [one.id for one in page.executions])
    assert {one.stdout for one in transcripts.values()} == {b"x" * PIECES}


async def test_fifty_programs_live_at_once(store: Store) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(PROGRAMS):
            tasks.start_soon(live, store)
    await complete(store, PROGRAMS)


async def test_two_stores_share_a_database(store: Store, url: str) -> None:
    """As two processes do: neither knows of the other's turn."""
    other = Store(url)
    async with anyio.create_task_group() as tasks:
        for number in range(PROGRAMS):
            tasks.start_soon(live, other if number % 2 else store)
    await other.close()
    await complete(store, PROGRAMS)


async def test_of_many_ends_one_counts(store: Store, url: str) -> None:
    id = await begun(store)
    other = Store(url)
    won: list[bool] = []

    async def end(at: Store, number: int) -> None:
        last = [entry(number, b"end")]
        won.append(await at.finish(hold(id), SUCCESS, at=NOW, last=LastWords(entries=last)))

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(end, other if number % 2 else store, number)
    await other.close()
    assert won.count(True) == 1
    assert (await store.transcripts(OWNER, [id]))[id].stdout == b"end"


async def test_a_reader_sees_an_end_with_the_last_of_its_log_or_neither(store: Store) -> None:
    ids = [await begun(store) for _ in range(20)]
    seen: set[tuple[bool, bool]] = set()

    async def watch() -> None:
        while True:
            before = await store.executions(OWNER, ids)
            logs = await store.transcripts(OWNER, ids)
            after = await store.executions(OWNER, ids)
            for id in ids:
                ended = before[id].outcome is not None
                if ended == (after[id].outcome is not None):  # it did not end while we looked
                    seen.add((ended, logs[id].stdout == b"42\n"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        for id in ids:
            await store.finish(hold(id), SUCCESS, at=NOW, last=LastWords(entries=[entry(1)]))
        tasks.cancel_scope.cancel()
    assert seen <= {(False, False), (True, True)}


async def test_a_cancel_that_meets_a_hand_back_is_heard(store: Store, url: str) -> None:
    if is_sqlite(normal(url)):
        pytest.skip("SQLite has one writer: they do not meet")
    id = await begun(store)
    other = postgres_engine(normal(url), poolclass=NullPool)
    cancelled: list[Execution | None] = []

    async def cancel() -> None:
        outcome = Outcome(status=Status.CANCELLED)
        cancelled.append(await store.cancel(OWNER, id, outcome, at=NOW))

    def hand_back(connection: Connection) -> bool:
        return leases.hand_back(connection, lambda _: None, hold(id))

    async with other.connect() as connection, anyio.create_task_group() as tasks:
        assert await connection.run_sync(hand_back)
        tasks.start_soon(cancel)
        while not await connection.scalar(_WAITING):
            await anyio.lowlevel.checkpoint()
        await connection.commit()
    [found] = cancelled
    assert found
    assert found.status is Status.CANCELLED


# --- Interruption ----------------------------------------------------------------------------


async def whole(store: Store, id: UUID) -> bool:
    """Make sure that the end is whole or not there, and tell which."""

    def look(connection: Connection) -> tuple[Execution, Transcript]:
        found = reads.executions(connection, OWNER, [id])
        return found[id], transcripts(connection, OWNER, [id])[id]

    execution, log = await store._database.read(look)
    assert (execution.outcome, log.stdout) in [(None, b""), (SUCCESS, b"42\n" * 20)]
    return execution.outcome is not None


async def end(store: Store, id: UUID) -> None:
    log = [entry(number) for number in range(20)]
    assert await store.finish(hold(id), SUCCESS, at=NOW, last=LastWords(entries=log))


async def test_an_end_cancelled_between_its_statements_is_rolled_back(
    store: Store, url: str
) -> None:
    if is_sqlite(normal(url)):
        pytest.skip("On SQLite it goes on: see below")
    id = await begun(store)
    other = postgres_engine(normal(url), poolclass=NullPool)
    async with other.connect() as connection, anyio.create_task_group() as tasks:
        await connection.execute(text("LOCK TABLE execution_output"))
        tasks.start_soon(end, store, id)
        while not await connection.scalar(_WAITING):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert not await whole(store, id)
    await end(store, id)


async def test_an_end_cancelled_in_its_thread_goes_on_and_is_told(store: Store, url: str) -> None:
    if not is_sqlite(normal(url)):
        pytest.skip("On PostgreSQL it is rolled back: see above")
    id = await begun(store)
    with CancelScope() as scope:

        def interrupt(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.startswith("UPDATE"):
                from_thread.run_sync(scope.cancel)

        with listening(Engine, "after_cursor_execute", interrupt):
            last = LastWords(entries=[entry(1, LARGE)])  # too much for the event loop
            assert await store.finish(hold(id), SUCCESS, at=NOW, last=last)
    assert scope.cancel_called
    assert (await store.executions(OWNER, [id]))[id].outcome == SUCCESS
    assert (await store.transcripts(OWNER, [id]))[id].stdout == LARGE


@pytest.mark.parametrize("way", ["scope", "task"])
async def test_what_is_cancelled_at_any_moment_is_whole_and_harms_nobody(
    store: Store, way: str
) -> None:
    chance = random.Random(way)
    for _ in range(40):
        ids = [await begun(store) for _ in range(3)]
        await interrupted(store, ids, way, after=chance.random() * 0.01)
        for id in ids:
            await whole(store, id)
    # Every connection is still there.
    async with anyio.create_task_group() as tasks:
        for _ in range(3 * CONNECTIONS):
            tasks.start_soon(live, store)


async def interrupted(store: Store, ids: list[UUID], way: str, *, after: float) -> None:
    """End some executions and read beside it, for so long."""
    if way == "scope":
        with anyio.move_on_after(after):
            async with anyio.create_task_group() as tasks:
                for id in ids:
                    tasks.start_soon(end, store, id)
                    tasks.start_soon(store.count, OWNER, Filter())
        return
    ends = [asyncio.create_task(end(store, id)) for id in ids]
    looks = [asyncio.create_task(store.ping()) for _ in ids]
    await anyio.sleep(after)
    for task in (*ends, *looks):
        task.cancel()
    await asyncio.gather(*ends, *looks, return_exceptions=True)


async def test_who_is_cancelled_while_waiting_has_done_nothing(store: Store) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(PROGRAMS):
            tasks.start_soon(live, store)
        await anyio.lowlevel.checkpoint()
        one = execution()
        with anyio.move_on_after(0) as scope:
            await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    assert scope.cancelled_caught
    assert await store.executions(OWNER, [one.id]) == {}
