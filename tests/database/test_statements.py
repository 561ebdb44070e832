"""How many statements are sent, what they name, and by which index they find their rows."""

import re
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import Connection, Engine, insert, text
from uuid6 import uuid7

from app.domain.execution import File, Kind, Status
from app.domain.history import Filter, Order, Window
from app.domain.limits import DEFAULT_LIMITS
from app.domain.testing import Case, Suite, Verdict
from app.storage import testing
from app.storage.engine import Database
from app.storage.mapping import artifact_values, execution_values, log_values, outcome_values
from app.storage.rows import ARTIFACTS, EXECUTIONS, OUTPUT
from app.storage.store import Arrival, Bounds, LastWords, Store, Wish
from tests.servers.postgres import PostgresServer

from .samples import (
    CLAIMER,
    HEIR,
    HOLDER,
    NOW,
    OWNER,
    PROGRAM,
    SUCCESS,
    Statements,
    ended,
    entry,
    execution,
    hold,
    listening,
)
from .test_testing import result

SIZE = 3000  # enough for PostgreSQL to prefer an index on its own account


async def test_a_short_program_is_two_transactions(store: Store, statements: Statements) -> None:
    commits: list[object] = []
    one = execution()
    with listening(Engine, "commit", commits.append), statements() as sent:
        await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
        await store.finish(hold(one.id), SUCCESS, at=NOW, last=LastWords(entries=[entry(1)]))
    # Where processes share a database, one of them may count what the owner has used.
    counted = ["UPDATE owner_usage SET"] if store.is_shared else []
    assert [words(statement) for statement in changes(sent)] == [
        "INSERT INTO executions",
        "UPDATE executions SET",
        "INSERT INTO execution_output",
        *counted,
    ]
    assert len(commits) == 2


def changes(sent: list[str]) -> list[str]:
    """Leave out what tells other processes of it: on PostgreSQL one statement a transaction."""
    return [statement for statement in sent if "pg_notify" not in statement]


def words(statement: str) -> str:
    return " ".join(statement.split()[:3])


async def test_a_hundred_pieces_of_output_are_one_statement(
    store: Store, statements: Statements
) -> None:
    one = execution()
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    with statements() as sent:
        await store.append(hold(one.id), [entry(number) for number in range(100)])
    assert len(changes(sent)) == 2  # the lock, the rows


async def test_a_hundred_tests_are_as_many_statements_as_one(
    store: Store, statements: Statements
) -> None:
    async def submit(size: int) -> list[str]:
        suite = Suite(cases=(Case(name="", limits=DEFAULT_LIMITS),) * size)
        one = execution(status=Status.QUEUED, started_at=None, tests=size)
        arrival = Arrival(execution=one, program=replace(PROGRAM, suite=suite))
        with statements() as sent:
            await store.enqueue(arrival, Bounds(owned=9, in_all=9))
            await store.claim(CLAIMER, 1)
            await store.record(hold(one.id), [result(each, each + 1) for each in range(size)])
            await store.ended_tests(one.id)
            await store.finish(hold(one.id), SUCCESS, at=NOW)
            await store.events(OWNER, one.id, after=0, limit=1000, sees_hidden=False)
            for name in RESULTS:
                await QUESTIONS[name][1](store, [one.id])
        return list(map(words, sent))

    assert await submit(100) == await submit(1)


Question = Callable[[Store, list[Any]], Awaitable[object]]
QUESTIONS: dict[str, tuple[int, Question]] = {
    "executions": (1, lambda store, ids: store.executions(OWNER, ids)),
    "programs": (1, lambda store, ids: store.programs(OWNER, ids)),
    "transcripts": (1, lambda store, ids: store.transcripts(OWNER, ids)),
    "beginnings": (1, lambda store, ids: store.transcripts(OWNER, ids, stdout=1, stderr=0)),
    "artifacts": (1, lambda store, ids: store.artifacts(OWNER, ids)),
    "tests": (1, lambda store, ids: store.tests(OWNER, ids)),
    "test_details": (1, lambda store, ids: store.test_details(OWNER, ids, sees_hidden=True)),
    "details of one test": (
        1,
        lambda store, ids: store.test_details(OWNER, ids[:1], sees_hidden=False, position=1),
    ),
    "test_groups": (1, lambda store, ids: store.test_groups(OWNER, ids)),
    "first page": (1, lambda store, _: store.page(OWNER, Filter(), Window(size=10))),
    "page after": (2, lambda store, ids: store.page(OWNER, Filter(), Window(size=9, after=ids[5]))),
    "page between": (
        2,
        lambda store, ids: store.page(OWNER, Filter(), Window(size=9, after=ids[9], before=ids[2])),
    ),
    "events": (2, lambda store, ids: store.events(OWNER, ids[0], after=0, limit=10)),
    "count": (1, lambda store, _: store.count(OWNER, Filter())),
    "stats": (2, lambda store, _: store.stats(OWNER, Filter())),
    "leases": (1, lambda store, _: store.leases()),
    "renew": (1, lambda store, ids: store.renew(HOLDER, ids)),
    "recover": (1, lambda store, _: store.recover(HOLDER, HEIR, is_dead=True)),
    "queue": (1, lambda store, _: store.queue_length()),
    "places in the queue": (1, lambda store, ids: store.queue_places(OWNER, ids)),
    "claim": (1, lambda store, _: store.claim(CLAIMER, 0)),
}
RESULTS = ("tests", "test_details", "details of one test", "test_groups", "artifacts")


@pytest.mark.parametrize(("number", "ask"), QUESTIONS.values(), ids=QUESTIONS.keys())
async def test_the_number_of_statements_does_not_grow_with_the_rows(
    store: Store, statements: Statements, number: int, ask: Question
) -> None:
    ids = [await ended(store) for _ in range(30)]
    with statements() as sent:
        await ask(store, ids)
    assert len(changes(sent)) == number, sent


async def test_a_list_never_names_what_is_big(store: Store, statements: Statements) -> None:
    ids = [await ended(store) for _ in range(3)]
    with statements() as sent:
        await store.page(OWNER, Filter(label="x"), Window(size=2, after=ids[1], before=ids[0]))
        await store.executions(OWNER, ids)
        await store.count(OWNER, Filter())
        await store.stats(OWNER, Filter())
    named = set(re.findall(r"\w+", " ".join(sent)))
    assert not named & {"source", "stdin", "args", "data", "execution_output"}


# --- Plans -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full_file(template_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full") / "greenroom.db"
    shutil.copy(template_file, path)
    anyio.run(fill, f"sqlite+aiosqlite:///{path}")
    return path


@pytest.fixture(scope="module")
def full_database(postgres: PostgresServer, template_database: str) -> str:
    postgres.create_database("full", like=template_database)
    anyio.run(fill, postgres.url("full"))
    return "full"


@pytest.fixture
def full(store: Store) -> Store:
    """Return a store whose database is a copy of one of these."""
    return store


async def fill(url: str) -> None:
    """Make a history: ten owners, few executions in each session and label, two pieces each."""
    rows, pieces, artifacts = [], [], []
    done = outcome_values(SUCCESS, NOW)
    unfinished = dict.fromkeys(done) | {"status": "RUNNING", "lease_holder": HOLDER}
    waiting = dict.fromkeys(done) | {"status": "QUEUED", "turn_at": NOW}
    for number in range(SIZE):
        one = execution(
            owner=f"{OWNER}{number % 10 or ''}",
            session_id=f"s{number % 150}",
            label=f"l{number % 150}" if number % 2 == 0 else None,
            created_at=NOW + timedelta(seconds=number),
        )
        row = execution_values(one, replace(PROGRAM, source="#" * 1000))
        rows.append(row | {0: unfinished, 1: waiting}.get(number % 500, done))
        pieces += log_values(one.id, [entry(1), entry(2)])
        artifacts += artifact_values(one.id, [File(path="out/x", data=bytes(100))])

    def insert_all(connection: Connection) -> None:
        connection.execute(insert(EXECUTIONS), rows)
        connection.execute(insert(OUTPUT), pieces)
        connection.execute(insert(ARTIFACTS), artifacts)
        connection.execute(text("ANALYZE"))

    store = Store(url)
    await store._database.write(insert_all)
    await store.close()


async def plans(database: Database, ask: Callable[[], Awaitable[object]]) -> list[str]:
    """Ask, and tell how the database finds the answer: a line for each step of its plans."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    with listening(Engine, "before_cursor_execute", note):
        await ask()

    def explain(connection: Connection) -> list[str]:
        how = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        answers = [connection.exec_driver_sql(f"{how} {one}", values) for one, values in sent]
        return [row[-1] for answer in answers for row in answer]

    return await database.read(explain)


HISTORY = "ix_executions_owner_history"
# PostgreSQL may also walk all owners' history where so much of it matches.
COMMON = f"{HISTORY}|pk_executions"
SESSION = "ix_executions_owner_session_id_id"
LABEL = "ix_executions_owner_label_id"
LEASE = "ix_executions_lease_holder"
FILTERS = {
    "everything": (Filter(), COMMON),
    "a status": (Filter(statuses=frozenset({Status.SUCCEEDED})), COMMON),
    "rare statuses": (Filter(statuses=frozenset({Status.CRASHED, Status.FAILED})), HISTORY),
    "a language": (Filter(languages=frozenset({"PYTHON"})), COMMON),
    "a rare language": (Filter(languages=frozenset({"COBOL"})), HISTORY),
    "submissions": (Filter(kinds=frozenset({Kind.SUBMIT})), HISTORY),
    "a verdict": (Filter(verdicts=frozenset({Verdict.FAILED})), HISTORY),
    "long ago": (Filter(created_before=NOW), HISTORY),
    "a session": (Filter(session_id="s50"), SESSION),
    "a label": (Filter(label="l50"), LABEL),
    "a session and more": (
        Filter(session_id="s50", statuses=frozenset({Status.FAILED}), created_after=NOW),
        SESSION,
    ),
}
FULL_SCAN = re.compile(r"Seq Scan|SCAN execution")
OF_RESULTS = re.compile(r"(pk|autoindex)_execution_(tests|artifacts)")
SORT = re.compile(r"Sort|TEMP B-TREE")


@pytest.mark.parametrize("order", Order)
async def test_a_page_is_found_by_an_index_and_read_in_its_order(
    full: Store, database: Database, order: Order
) -> None:
    window = Window(size=10, order=order, after=uuid7() if order is Order.NEWEST_FIRST else None)
    for filter, index in FILTERS.values():
        plan = await plans(database, partial(full.page, OWNER, filter, window))
        assert any(re.search(index, line) for line in plan), plan
        assert not any(FULL_SCAN.search(line) for line in plan), plan
        if index not in {SESSION, LABEL}:  # of a few rows, PostgreSQL may prefer to sort them
            assert not any(SORT.search(line) for line in plan), plan


async def test_a_count_is_found_by_an_index(full: Store, database: Database) -> None:
    for filter, _ in FILTERS.values():
        plan = await plans(database, partial(full.count, OWNER, filter))
        assert any("ix_executions_owner" in line for line in plan), plan
        assert not any(FULL_SCAN.search(line) for line in plan), plan


@pytest.mark.parametrize("name", ["leases", "recover"])
async def test_leases_are_found_by_their_own_index(
    full: Store, database: Database, name: str
) -> None:
    _, ask = QUESTIONS[name]
    plan = await plans(database, lambda: ask(full, []))
    assert any(LEASE in line for line in plan), plan


@pytest.mark.parametrize("name", ["claim", "queue", "places in the queue"])
async def test_the_queue_is_found_by_its_own_index(
    full: Store, database: Database, name: str
) -> None:
    _, ask = QUESTIONS[name]
    plan = await plans(database, lambda: ask(full, [uuid7()]))
    assert any("ix_executions_turn_at" in line for line in plan), plan
    assert not any(FULL_SCAN.search(line) for line in plan if "Subquery" not in line), plan


@pytest.mark.parametrize("name", ["executions", "programs", "transcripts", "beginnings", "events"])
async def test_named_executions_are_found_by_an_index(
    full: Store, database: Database, name: str
) -> None:
    page = await full.page(OWNER, Filter(), Window(size=10))
    _, ask = QUESTIONS[name]
    plan = await plans(database, lambda: ask(full, [one.id for one in page.executions]))
    assert not any(FULL_SCAN.search(line) for line in plan), plan


async def test_tests_and_artifacts_are_found_by_an_index(full: Store, database: Database) -> None:
    page = await full.page(OWNER, Filter(), Window(size=50))
    ids = [one.id for one in page.executions]
    suite = Suite(cases=(Case(name="", limits=DEFAULT_LIMITS),) * 40)
    files = [{"path": f"out/{number}", "data": b"#" * 100} for number in range(20)]

    def fill(connection: Connection) -> None:
        for id in ids:
            testing.add(connection, id, suite)
            connection.execute(insert(ARTIFACTS), [{"execution_id": id, **each} for each in files])
        connection.execute(text("ANALYZE"))

    await database.write(fill)
    for name in RESULTS:
        _, ask = QUESTIONS[name]
        plan = await plans(database, partial(ask, full, ids[:3]))
        assert any(OF_RESULTS.search(line) for line in plan), plan
        assert not any(FULL_SCAN.search(line) for line in plan), plan


async def test_the_old_are_found_by_their_ids(full: Store, database: Database) -> None:
    for ask in (full.count_before, full.erase_before):
        plan = await plans(database, partial(ask, NOW))
        assert not any(FULL_SCAN.search(line) for line in plan), plan


async def test_who_has_a_key_is_found_by_its_own_index(full: Store, database: Database) -> None:
    wish = Wish(key="k", fingerprint=b"", since=NOW)
    plan = await plans(database, lambda: full.earlier(OWNER, wish))
    assert any("ix_executions_owner_idempotency_key" in line for line in plan), plan


async def test_plans_are_made_for_the_values_asked_for(store: Store, database: Database) -> None:
    """PostgreSQL's plan for any value walks the whole history when a value is rare."""

    def mode(connection: Connection) -> object:
        if connection.dialect.name == "sqlite":
            pytest.skip("SQLite has no such plans")
        return connection.scalar(text("SHOW plan_cache_mode"))

    assert await database.read(mode) == "force_custom_plan"
