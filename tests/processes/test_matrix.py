"""Whatever is killed between two steps of a run: one end, at most one second try, a whole log."""

import json
import signal
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import httpx
import pytest
from blockbuster import BlockBuster

from app.api.ids import decode_id
from app.domain.access import LOCAL
from app.domain.events import Finished, OutputWritten
from app.storage.migrations import migrate
from app.storage.store import Store
from app.storage.urls import normal
from tests.api.client import Api, Json
from tests.servers.postgres import DURABLE, PostgresError, PostgresServer

from . import server as processes
from .server import LOOK_EVERY, Server, processes_with, starting, until, until_gone

# A program in a warm cell shows nobody its arguments, by which we look for it.
serving = partial(processes.serving, warm_cells="0")
working = partial(processes.working, warm_cells="0")
LEASE = 2  # s; short, so that a silent process is given up soon
QUIET = "import time\ntime.sleep({0})\nprint('done')"
LOUD = "import time\nprint('so far', flush=True)\ntime.sleep({0})\nprint('done')"
_numbers = count(1)


@pytest.fixture(autouse=True)
def may_block(blockbuster: BlockBuster) -> None:
    """Allow what blocks no one."""
    for function in blockbuster.functions.values():
        # asyncpg looks for ~/.pgpass and certificates once for each connection.
        function.can_block_in("asyncpg/connect_utils.py", "_parse_connect_dsn_and_args")
        # Alembic reads its files in a loop of its own, in a thread of its own.
        function.can_block_in("app/storage/migrations.py", {"checked", "_in_postgres"})
        # The driver is imported when the first server of this kind starts.
        function.can_block_in("app/storage/engine.py", "postgres_engine")


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(PostgresServer.start(DURABLE))
        except PostgresError as error:
            pytest.skip(f"PostgreSQL does not run here: {error}")
        yield server


@pytest.fixture
async def url(postgres: PostgresServer) -> AsyncIterator[str]:
    """Name a database of this test's own on PostgreSQL; nobody is connected to it in the end."""
    name = f"matrix_{next(_numbers)}"
    await anyio.to_thread.run_sync(postgres.create_database, name)
    await migrate(postgres.url(name))
    yield postgres.url(name)
    async with connected(postgres.url(name)) as connection:
        query = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with anyio.fail_after(30):
            while True:  # a killed client is noticed in a moment
                if not await connection.fetchval(query):
                    break
                await anyio.sleep(0.05)


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, folder: Path) -> str:
    """Name a database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{folder}/greenroom.db"
    url: str = request.getfixturevalue("url")
    return url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    parsed = normal(url)
    connection = await asyncpg.connect(
        user=parsed.username,
        database=parsed.database,
        host=parsed.query["host"],
        port=5432,
    )
    try:
        yield connection
    finally:
        await connection.close()


async def until_status(api: Api, id: str, status: str) -> None:
    await api.until(id, lambda execution: execution["status"] == status)


async def accepted(api: Api, source: str, mark: str, **more: Any) -> str:
    """Have a program accepted, with a mark among its arguments by which its process is found."""
    limits = {"wallTimeMs": 60_000}
    id: str = (await api.run(source, args=[mark], limits=limits, waitMs=0, **more))["id"]
    return id


async def whole(url: str, id: str, output: str) -> None:
    """Make sure that the log has no gap and no double, and ends."""
    store, uuid = Store(url), decode_id(id)
    assert uuid
    try:
        page = await store.events(LOCAL.owner, uuid, after=0, limit=1000)
    finally:
        await store.close()
    assert page
    assert [event.sequence for event in page.events] == list(range(1, len(page.events) + 1))
    assert isinstance(page.events[-1], Finished)
    pieces = [event.output.data for event in page.events if isinstance(event, OutputWritten)]
    assert b"".join(pieces).decode() == output


async def kill(server: Server) -> None:
    server.signal(signal.SIGKILL)
    await server.end()


# --- The process that runs it is killed ------------------------------------------------------


async def test_killed_after_the_insert(folder: Path, url: str) -> None:
    async with serving(folder, "--no-execute", database_url=url) as (server, api):
        id = await accepted(api, QUIET.format(0), "m-inserted")
        await kill(server)
    async with serving(folder, database_url=url) as (_, api):
        ended = await api.end_of(id)
        assert (ended["status"], ended["attempt"], ended["stdout"]) == ("SUCCEEDED", 1, "done\n")
    await whole(url, id, "done\n")


async def test_killed_after_the_claim(folder: Path, shared: str) -> None:
    async with serving(folder, database_url=shared) as (server, api):
        id = await accepted(api, QUIET.format(2), "m-claimed")
        await until_status(api, id, "RUNNING")
        await kill(server)
    await until_gone("m-claimed")
    async with serving(folder, database_url=shared) as (_, api):
        ended = await api.end_of(id)
        assert (ended["status"], ended["attempt"], ended["stdout"]) == ("SUCCEEDED", 2, "done\n")
    await whole(shared, id, "done\n")


async def test_killed_after_the_first_output(folder: Path, shared: str) -> None:
    async with serving(folder, database_url=shared) as (server, api):
        id = await accepted(api, LOUD.format(60), "m-heard")
        await api.until(id, lambda execution: execution["stdout"] == "so far\n")
        await kill(server)
    await until_gone("m-heard")
    async with serving(folder, database_url=shared) as (_, api):
        ended = await api.end_of(id)
        assert (ended["status"], ended["attempt"]) == ("INFRASTRUCTURE_ERROR", 1)
    await whole(shared, id, "so far\n")


async def test_killed_after_the_end_and_before_its_commit(folder: Path, shared: str) -> None:
    async with serving(folder, database_url=shared) as (server, api):
        id = await accepted(api, QUIET.format(1), "m-ended")
        await until_status(api, id, "RUNNING")
        async with nobody_may_write(shared):
            await until_gone("m-ended")
            await anyio.sleep(0.2)  # it has gone, and its server meets the lock
            await kill(server)
    async with serving(folder, database_url=shared) as (_, api):
        ended = await api.end_of(id)
        assert (ended["status"], ended["attempt"], ended["stdout"]) == ("SUCCEEDED", 2, "done\n")
    await whole(shared, id, "done\n")


@asynccontextmanager
async def nobody_may_write(url: str) -> AsyncIterator[None]:
    """Keep the tables to ourselves, so that an end waits for us."""
    if "sqlite" in url:
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
        return
    async with connected(url) as connection, connection.transaction():
        await connection.execute("LOCK TABLE executions, execution_output IN EXCLUSIVE MODE")
        yield


async def test_a_killed_worker(folder: Path, url: str) -> None:
    settings: Json = {"database_url": url, "slots": 2, "lease": LEASE}
    async with serving(folder, "--no-execute", **settings) as (_, api):
        async with working(folder, **settings) as worker:
            quiet = await accepted(api, QUIET.format(2), "m-worker")
            loud = await accepted(api, LOUD.format(60), "m-worker")
            await until_status(api, quiet, "RUNNING")
            await api.until(loud, lambda execution: execution["stdout"] == "so far\n")
            await kill(worker)
        await until_gone("m-worker")
        async with working(folder, **settings):
            ended = await api.end_of(quiet)
            assert (ended["status"], ended["attempt"]) == ("SUCCEEDED", 2)
            assert (await api.end_of(loud))["status"] == "INFRASTRUCTURE_ERROR"
    await whole(url, quiet, "done\n")
    await whole(url, loud, "so far\n")


# --- The process that carries out tests is killed --------------------------------------------


SUBMIT = """mutation($input: ExecuteCodeInput!) {
  executeCode(input: $input) { execution { id } errors { message } }
}"""
TESTS = """query($id: ID!) { execution(id: $id) {
  status verdict attempt finishedAt tests { verdict stdout endedAt } } }"""
UNFINISHED = "{ executions(filter: { statusIn: [QUEUED, RUNNING] }) { totalCount } }"
# Becomes a process that can be told from others: one that waited ready shows no arguments.
TESTED = """
import os, sys, time
print(time.time_ns(), flush=True)
mark, seconds = sys.argv[1:]
os.execv("/bin/sleep", (mark, seconds))
"""
SECONDS = {"quick": 0, "first": 0.5, "slow": 1.5, "hang": 60}


async def submitted(api: Api, mark: str, *tests: str) -> str:
    """Have a program with tests accepted, which are carried out one after the other."""
    asked = {
        "language": "PYTHON",
        "source": TESTED,
        "tests": [{"args": [f"{mark}-{each}", str(SECONDS[each])]} for each in tests],
        "stopOnFailure": True,
        "limits": {"wallTimeMs": 60_000},
        "waitMs": 0,
    }
    id: str = (await api.ask(SUBMIT, input=asked))["executeCode"]["execution"]["id"]
    return id


async def until_judged(api: Api, id: str, count: int) -> Json:
    """Wait until so many tests are judged."""
    with anyio.fail_after(30):
        while True:
            found: Json = (await api.ask(TESTS, id=id))["execution"]
            if sum(test["verdict"] is not None for test in found["tests"]) >= count:
                return found
            await anyio.sleep(0.02)


def verdicts(found: Json) -> list[str | None]:
    return [test["verdict"] for test in found["tests"]]


@asynccontextmanager
async def never_running(mark: str) -> AsyncIterator[None]:
    """Make sure that no process with this among its arguments is seen meanwhile."""
    seen: list[int] = []

    async def look() -> None:
        while True:
            seen.extend(await anyio.to_thread.run_sync(processes_with, mark))
            await anyio.sleep(LOOK_EVERY)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        yield
        tasks.cancel_scope.cancel()
    assert not seen


GOOD, BAD = ("first", "quick", "slow", "quick"), ("first", "hang", "quick")


async def begun(api: Api, mark: str) -> tuple[str, str, Json]:
    """Begin two submissions; return them when the first tests of both are judged."""
    good, bad = [await submitted(api, mark, *tests) for tests in (GOOD, BAD)]
    await until(lambda: bool(processes_with(f"{mark}-first")))
    before = await until_judged(api, good, 2)
    await until_judged(api, bad, 1)
    return good, bad, before


async def goes_on(api: Api, mark: str, good: str, before: Json) -> None:
    """See another process carry out what is left of the good one, and nothing twice."""
    async with never_running(f"{mark}-first"):
        await api.end_of(good)
        # It sleeps: another has begun it.
        await until(lambda: bool(processes_with(f"{mark}-hang")))
    found = await until_judged(api, good, 4)
    assert (found["status"], found["verdict"], found["attempt"]) == ("SUCCEEDED", "PASSED", 2)
    assert found["tests"][:2] == before["tests"][:2]
    assert before["tests"][2]["verdict"] is None


async def is_given_up(api: Api, bad: str) -> None:
    """See a submission ended whose second process was killed as well."""
    await api.end_of(bad)
    found = await until_judged(api, bad, 3)
    assert (found["status"], found["verdict"]) == ("INFRASTRUCTURE_ERROR", "ERROR")
    assert (found["attempt"], verdicts(found)) == (2, ["PASSED", "SKIPPED", "SKIPPED"])
    assert (await api.ask(UNFINISHED))["executions"]["totalCount"] == 0


async def test_the_next_server_goes_on_with_tests_and_gives_up_after_two(folder: Path) -> None:
    mark = "m-server"
    async with serving(folder, slots=2) as (server, api):
        good, bad, before = await begun(api, mark)
        await kill(server)
    await until_gone(f"{mark}-hang")
    async with serving(folder, slots=2) as (server, api):
        await goes_on(api, mark, good, before)
        await kill(server)
    await until_gone(f"{mark}-hang")
    async with serving(folder, slots=2) as (_, api):
        await is_given_up(api, bad)


async def test_another_worker_goes_on_with_tests(folder: Path, url: str) -> None:
    mark = "m-worker-tests"
    settings: Json = {"database_url": url, "slots": 2, "lease": LEASE}
    async with serving(folder, "--no-execute", **settings) as (_, api):
        async with working(folder, **settings) as worker:
            good, bad, before = await begun(api, mark)
            await kill(worker)
        async with working(folder, **settings):
            await goes_on(api, mark, good, before)
            assert (await api.cancel(bad))["execution"]["attempt"] == 2


# --- What it stands on is killed -------------------------------------------------------------


EVENTS = """subscription($id: ID!) {
  executionEvents(id: $id) { sequence ... on ExecutionOutput { text } }
}"""


async def watch(api: Api, id: str, seen: list[Json]) -> None:
    body = {"query": EVENTS, "variables": {"id": id}}
    headers = {"Accept": "text/event-stream"}
    async with api.http.stream("POST", "/graphql", json=body, headers=headers) as response:
        async for line in response.aiter_lines():
            _, found, result = line.partition("data: ")
            seen += [json.loads(result)["data"]["executionEvents"]] if found and result else []


async def test_a_killed_database(folder: Path, url: str, postgres: PostgresServer) -> None:
    seen: list[Json] = []
    async with serving(folder, database_url=url) as (server, api):
        id = await accepted(api, LOUD.format(2), "m-database")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch, api, id, seen)
            await until(lambda: len(seen) == 3)
            await anyio.to_thread.run_sync(postgres.kill)
            await server.says("not listening to the database")
            await anyio.to_thread.run_sync(postgres.restart)
            ended = await api.end_of(id)
        # Who watches has noticed nothing.
        assert [event["sequence"] for event in seen] == [1, 2, 3, 4, 5]
        assert [event["text"] for event in seen[2:4]] == ["so far\n", "done\n"]
        assert (ended["status"], ended["attempt"]) == ("SUCCEEDED", 1)
        again = await api.run("print(42)")
        assert (again["status"], again["stdout"]) == ("SUCCEEDED", "42\n")
    await whole(url, id, "so far\ndone\n")


# --- A process is silent, or believes in another time ----------------------------------------


async def test_a_frozen_process_does_not_overwrite_what_others_did(folder: Path, url: str) -> None:
    settings: Json = {"database_url": url, "lease": LEASE}
    async with (
        working(folder, **settings) as zombie,
        serving(folder, "--no-execute", **settings) as (_, api),
    ):
        id = await accepted(api, QUIET.format(3), "m-frozen")
        await until_status(api, id, "RUNNING")
        zombie.signal(signal.SIGSTOP)
        async with working(folder, **settings):
            ended = await api.end_of(id)
            assert (ended["status"], ended["attempt"]) == ("SUCCEEDED", 2)
            zombie.signal(signal.SIGCONT)
            await zombie.says("lease lost")
            await until_gone("m-frozen")
            assert await api.look(id) == ended
    await whole(url, id, "done\n")


SKEWED = """
import datetime, os
class Skewed(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=float(os.environ["SKEW"]))
datetime.datetime = Skewed
"""


@pytest.mark.parametrize("skew", [-3600, 3600])
async def test_a_host_with_another_time_takes_nothing_and_loses_nothing(
    folder: Path, url: str, skew: int
) -> None:
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SKEWED)
    settings: Json = {"database_url": url, "lease": LEASE, "slots": 1}
    more = {"PYTHONPATH": str(site), "SKEW": str(skew)}
    async with serving(folder, more=more, **settings) as (_, skewed):
        theirs = await accepted(skewed, QUIET.format(LEASE + 2), "m-skew")
        await until_status(skewed, theirs, "RUNNING")
        async with serving(folder, **settings) as (_, right):
            ours = await accepted(right, QUIET.format(LEASE + 2), "m-skew")
            for id in (theirs, ours):
                ended = await right.end_of(id)
                assert (ended["status"], ended["attempt"]) == ("SUCCEEDED", 1)
                assert ended["createdAt"] <= ended["startedAt"] <= ended["finishedAt"]


# --- Processes work together -----------------------------------------------------------------


async def test_a_worker_that_stops_hands_back_what_was_not_seen_to_write(
    folder: Path, url: str
) -> None:
    settings: Json = {"database_url": url, "drain": 0.2, "slots": 1}
    async with serving(folder, "--no-execute", **settings) as (_, api):
        async with working(folder, **settings) as worker:
            id = await accepted(api, QUIET.format(2), "m-back")
            await until_status(api, id, "RUNNING")
            assert await worker.stop() == 0
        assert (await api.look(id))["status"] == "QUEUED"
        async with working(folder, **settings):
            ended = await api.end_of(id)
            assert (ended["status"], ended["attempt"]) == ("SUCCEEDED", 2)
    await whole(url, id, "done\n")


async def test_a_worker_says_how_it_is(folder: Path, url: str) -> None:
    settings: Json = {"database_url": url, "log_format": "json", "drain": 60}
    async with (
        serving(folder, "--no-execute", database_url=url) as (_, api),
        working(folder, worker_port=0, is_measured=True, **settings) as worker,
    ):
        assert (await api.run("print(42)"))["stdout"] == "42\n"
        address = json.loads(await worker.says("watched"))["metrics"].removesuffix("/metrics")
        async with httpx.AsyncClient(base_url=address) as http:
            figures = await Api(http).metrics()
            ended = 'greenroom_executions_total{language="PYTHON",status="SUCCEEDED"}'
            assert figures[ended] == 1
            assert figures["greenroom_slots_used"] == 0
            assert (await http.get("/readyz")).status_code == 200
            assert (await http.post("/graphql", json={"query": "{a}"})).status_code == 404
            id = await accepted(api, QUIET.format(2), "m-watched")
            await until_status(api, id, "RUNNING")
            worker.signal(signal.SIGTERM)
            await worker.says("stopping")
            assert (await http.get("/readyz")).status_code == 503
        assert await worker.end() == 0
        assert (await api.look(id))["status"] == "SUCCEEDED"
        facts = [json.loads(line) for line in worker.log if line]
    [end] = [fact for fact in facts if fact["message"] == "execution ended"][1:]
    assert end["status"] == "SUCCEEDED"


async def test_any_process_answers_for_what_another_one_runs(folder: Path, url: str) -> None:
    settings: Json = {"database_url": url, "slots": 1}
    async with (
        serving(folder, "--no-execute", **settings) as (_, api),
        working(folder, **settings),
    ):
        # The mutation waits for an end that happens elsewhere.
        assert (await api.run("print(42)"))["stdout"] == "42\n"
        running = await accepted(api, LOUD.format(60), "m-cancel")
        queued = await accepted(api, LOUD.format(60), "m-cancel")
        await api.until(running, lambda execution: execution["stdout"] == "so far\n")
        for id, output in ((queued, ""), (running, "so far\n")):
            for _ in range(2):
                payload = await api.cancel(id)
                assert not payload["errors"]
                assert payload["execution"]["status"] == "CANCELLED"
            assert (await api.look(id))["stdout"] == output
        await until_gone("m-cancel")


async def test_processes_that_could_not_share_the_work_do_not_start(folder: Path) -> None:
    for command in (("worker",), ("serve", "--port", "0", "--no-execute")):
        async with starting(folder, command=command) as server:
            await server.says("An SQLite file is for one process")
            assert await server.end() == 1
