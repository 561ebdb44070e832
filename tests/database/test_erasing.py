"""What is erased is gone: from the tables, and on SQLite from the files."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import pytest
from anyio import to_thread
from sqlalchemy import Connection, func, select

from app.domain.execution import File, Program, Status
from app.domain.history import Filter
from app.domain.limits import DEFAULT_LIMITS, KIB
from app.domain.testing import Case, Suite
from app.storage import erasing
from app.storage.engine import Database
from app.storage.erasing import Chosen, first_id
from app.storage.rows import EXECUTIONS, OUTPUT
from app.storage.store import Arrival, Bounds, LastWords, Store, Wish
from app.storage.urls import is_sqlite, normal

from .samples import (
    HOLDER,
    NOW,
    OWNER,
    PROGRAM,
    SUCCESS,
    Statements,
    begun,
    ended,
    entry,
    execution,
    hold,
)

EVERYTHING = Chosen(owner=OWNER)


async def tidy(store: Store) -> None:
    """Tidy until nothing is left to do."""
    with anyio.fail_after(20):
        while not await store.tidy():
            await anyio.lowlevel.checkpoint()


async def erase_all(store: Store, chosen: Chosen) -> int:
    count = 0
    while True:
        erased = await store.erase(chosen)
        count += erased.count
        if not erased.has_more:
            return count


async def rows(database: Database) -> tuple[int, int]:
    """Count executions and pieces of output, whoever they belong to."""

    def count(connection: Connection) -> tuple[int, int]:
        counts = [
            connection.scalar(select(func.count()).select_from(t)) for t in (EXECUTIONS, OUTPUT)
        ]
        return counts[0] or 0, counts[1] or 0

    return await database.read(count)


async def written(store: Store, **changes: object) -> UUID:
    """Store an execution that has ended and has written something, and return its id."""
    id = await begun(store, **changes)
    await store.finish(hold(id), SUCCESS, at=NOW, last=LastWords(entries=[entry(1), entry(2)]))
    return id


async def test_a_session_is_erased_with_its_log_and_nothing_else_is(
    store: Store, database: Database
) -> None:
    for _ in range(3):
        await written(store, session_id="gone")
    kept = await written(store, session_id="kept")
    foreign = await written(store, session_id="gone", owner="another")
    assert await erase_all(store, Chosen(owner=OWNER, filter=Filter(session_id="gone"))) == 3
    assert await rows(database) == (2, 4)
    assert list(await store.executions(OWNER, [kept])) == [kept]
    assert list(await store.executions("another", [foreign])) == [foreign]


async def test_named_executions_are_erased_if_they_are_the_owners(store: Store) -> None:
    own, other = await written(store), await written(store)
    foreign = await written(store, owner="another")
    named = Chosen(owner=OWNER, ids=(own, foreign))
    assert await erase_all(store, named) == 1
    assert list(await store.executions(OWNER, [own, other])) == [other]
    assert list(await store.executions("another", [foreign])) == [foreign]
    assert await erase_all(store, Chosen(owner=OWNER, ids=())) == 0


async def test_what_has_not_ended_is_left_and_named(store: Store) -> None:
    waiting = execution(status=Status.QUEUED, started_at=None)
    await store.enqueue(Arrival(execution=waiting, program=PROGRAM), Bounds(owned=1, in_all=1))
    running = await begun(store)
    await ended(store)
    assert await erase_all(store, EVERYTHING) == 1
    assert set(await store.unfinished(EVERYTHING, 10)) == {waiting.id, running}
    assert len(await store.unfinished(EVERYTHING, 1)) == 1


async def test_a_repetition_outlives_its_origin_and_forgets_it(store: Store) -> None:
    origin = await ended(store)
    again = await ended(store, origin_id=origin)
    found = (await store.executions(OWNER, [again]))[again]
    assert found.origin_id == origin
    assert await erase_all(store, Chosen(owner=OWNER, ids=(origin,))) == 1
    found = (await store.executions(OWNER, [again]))[again]
    assert found.origin_id is None


# --- By age ----------------------------------------------------------------------------------


def accepted_at(moment: datetime) -> dict[str, Any]:
    """Return what an execution has that was accepted at a moment."""
    chance = UUID(int=first_id(moment).int | random.getrandbits(62) | 7 << 76 | 2 << 62)
    return {"id": chance, "created_at": moment}


async def test_the_old_are_erased_whoever_owns_them_and_the_young_are_kept(store: Store) -> None:
    limit = datetime.now(UTC) - timedelta(days=30)
    for age in (1, 100):
        for owner in (OWNER, "another"):
            await ended(store, owner=owner, **accepted_at(limit - timedelta(days=age)))
    running = await begun(store, **accepted_at(limit - timedelta(days=2)))
    young = await ended(store, **accepted_at(limit + timedelta(seconds=1)))
    assert await store.count_before(limit) == 4
    erased = await store.erase_before(limit)
    assert (erased.count, erased.has_more) == (4, False)
    assert await store.count_before(limit) == 0
    assert set(await store.executions(OWNER, [running, young])) == {running, young}


async def test_one_transaction_erases_only_so_many_and_says_that_there_are_more(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "MOST_EXECUTIONS", 5)
    for _ in range(12):
        await ended(store)
    counts = []
    while True:
        erased = await store.erase(EVERYTHING)
        counts.append((erased.count, erased.has_more))
        if not erased.has_more:
            break
    assert counts == [(5, True), (5, True), (2, False)]


async def test_much_output_makes_a_transaction_shorter(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "MOST_PIECES", 5)
    for size in (3, 2, 1, 9):
        id = await begun(store)
        log = [entry(number) for number in range(size)]
        await store.finish(hold(id), SUCCESS, at=NOW, last=LastWords(entries=log))
    counts = [(await store.erase(EVERYTHING)).count for _ in range(4)]
    assert counts == [2, 1, 1, 0]


async def test_many_tests_and_large_artifacts_make_a_transaction_shorter(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "MOST_PIECES", 5)
    case = Case(name="", limits=DEFAULT_LIMITS)
    for tests in (3, 2, 1, 9):
        one = execution(tests=tests)
        program = replace(PROGRAM, suite=Suite(cases=(case,) * tests))
        await store.insert(Arrival(execution=one, program=program), HOLDER)
        await store.finish(hold(one.id), SUCCESS, at=NOW)
    for pieces in (2, 3, 4, 1):
        id, large = await begun(store), bytes((pieces - 1) * 64 * KIB)
        files = (File(path="out/x", data=large),)
        await store.finish(hold(id), SUCCESS, at=NOW, last=LastWords(artifacts=files))
    counts = [(await store.erase(EVERYTHING)).count for _ in range(6)]
    assert counts == [2, 1, 1, 2, 2, 0]


async def test_the_number_of_statements_does_not_grow_with_what_is_erased(
    store: Store, statements: Statements
) -> None:
    for _ in range(30):
        await written(store)
    with statements() as sent:
        await store.erase(EVERYTHING)
    assert len([statement for statement in sent if "pg_notify" not in statement]) == 2, sent


async def test_two_that_erase_at_once_share_the_work(store: Store, url: str) -> None:
    for _ in range(250):
        await ended(store)
    other = Store(url)
    counts: list[int] = []

    async def erase(at: Store) -> None:
        counts.append(await erase_all(at, EVERYTHING))

    async with anyio.create_task_group() as tasks:
        for at in (store, other):
            tasks.start_soon(erase, at)
    await other.close()
    # Whoever came to its end while the other was still at work has left the rest to it.
    assert sum(counts) + await erase_all(store, EVERYTHING) == 250


# --- On the disk -----------------------------------------------------------------------------


async def tell(store: Store, number: int, *, session_id: str, mark: str) -> None:
    """Store an execution that has `mark` wherever a text can be; sizes vary."""
    size = random.Random(number).choice((1, 30, 300, 1000, 7000))
    one = execution(
        session_id=f"{mark}-session-{session_id}",
        label=f"{mark}-label-{number}",
        metadata={f"{mark}-metadata": f"{mark}-{number}"},
        interactive=True,
    )
    program = Program(
        language="PYTHON",
        source=f"{mark}-source-{number} " * size,
        stdin=f"{mark}-stdin-{number}".encode(),
        args=(f"{mark}-argument",),
    )
    wish = Wish(key=f"{mark}-key-{number}", fingerprint=b"", since=NOW)
    await store.insert(Arrival(execution=one, program=program, wish=wish), HOLDER)
    await store.type_in(OWNER, one.id, f"{mark}-typed-{number}".encode() * size, is_last=True)
    output = f"{mark}-output-{number} ".encode() * size
    await store.append(hold(one.id), [entry(1, output)])
    await store.finish(hold(one.id), SUCCESS, at=NOW, last=LastWords(entries=[entry(2, output)]))


def found_in(folder: Path, text: bytes) -> list[str]:
    return [path.name for path in folder.iterdir() if text in path.read_bytes()]


async def test_an_erased_session_is_in_no_file_of_the_database(
    store: Store, url: str, tmp_path: Path
) -> None:
    if not is_sqlite(normal(url)):
        pytest.skip("PostgreSQL's files are PostgreSQL's matter")
    for number in range(300):
        mark = "secret" if number % 3 else "public"
        await tell(store, number, session_id=str(number % 7), mark=mark)
    assert found_in(tmp_path, b"secret")
    for session in range(7):
        await erase_all(
            store, Chosen(owner=OWNER, filter=Filter(session_id=f"secret-session-{session}"))
        )
    await tidy(store)
    assert found_in(tmp_path, b"secret") == []
    assert found_in(tmp_path, b"public") == ["greenroom.db"]
    assert (await store.count(OWNER, Filter())) == 100


async def test_freed_pages_are_given_back(store: Store, url: str, tmp_path: Path) -> None:
    if not is_sqlite(normal(url)):
        pytest.skip("PostgreSQL has autovacuum")
    empty = (tmp_path / "greenroom.db").stat().st_size
    for number in range(40):
        await tell(store, number, session_id="1", mark="secret")
    await tidy(store)
    full = (tmp_path / "greenroom.db").stat().st_size
    assert full > 2 * empty
    await erase_all(store, EVERYTHING)
    await tidy(store)
    assert (tmp_path / "greenroom.db").stat().st_size < full / 4
    assert (tmp_path / "greenroom.db-wal").stat().st_size == 0


async def test_a_reader_in_the_way_is_waited_for_only_a_moment(
    store: Store, database: Database, url: str, tmp_path: Path
) -> None:
    if not is_sqlite(normal(url)):
        pytest.skip("PostgreSQL has no log to cut")
    await tell(store, 1, session_id="1", mark="secret")
    reading, may_end = anyio.Event(), anyio.Event()

    def look(connection: Connection) -> None:
        connection.execute(select(EXECUTIONS.c.id)).all()
        anyio.from_thread.run_sync(reading.set)
        anyio.from_thread.run(may_end.wait)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(database.read, look)
        await reading.wait()
        await erase_all(store, EVERYTHING)
        assert not await store.tidy()
        await ended(store)  # nobody is locked out
        may_end.set()
    await tidy(store)
    assert await to_thread.run_sync(found_in, tmp_path, b"secret") == []
