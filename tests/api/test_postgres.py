"""The same from end to end on PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import anyio
import pytest
from blockbuster import BlockBuster
from sqlalchemy import NullPool, text

from app.storage.engine import postgres_engine
from app.storage.migrations import migrate
from app.storage.urls import normal
from tests.servers.postgres import PostgresError, PostgresServer

from .client import Api
from .conftest import Open
from .fake import FakeExecutor, Gate


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
    with ExitStack() as resources:
        try:
            server = resources.enter_context(PostgresServer.start())
        except PostgresError as error:
            pytest.skip(f"PostgreSQL does not run here: {error}")
        yield server


@pytest.fixture
async def url(postgres: PostgresServer) -> AsyncIterator[str]:
    postgres.create_database("greenroom")
    try:
        await migrate(postgres.url("greenroom"))
        yield postgres.url("greenroom")
    finally:
        postgres.drop_database("greenroom")


@pytest.fixture
async def api(open_api: Open, url: str) -> AsyncIterator[Api]:
    async with open_api(database_url=url) as api:
        yield api


async def test_a_program_runs_and_is_kept_as_it_was(api: Api) -> None:
    execution = await api.run(
        "import sys; print(sys.argv[1], input()); print('é\\0', file=sys.stderr)",
        stdin="in\0put\n",
        args=["ü"],
        sessionId="s",
        label="l",
        metadata={"b": 1.0, "a": [None, "\\u0000", 10**30]},
    )
    assert execution["status"] == "SUCCEEDED"
    assert execution["stdout"] == "ü in\0put\n"
    assert execution["stderr"] == "é\0\n"
    assert await api.look(execution["id"]) == execution


async def test_history_and_statistics_are_the_same(api: Api) -> None:
    ran = [await api.run(f"print({number})", label=f"l{number % 2}") for number in range(5)]
    query = """query($after: String) {
      executions(first: 2, after: $after, filter: { label: "l0" }) {
        totalCount nodes { id createdAt stdout } pageInfo { hasNextPage endCursor }
      }
      executionStats { totalCount byStatus { status count } }
    }"""
    first = await api.ask(query)
    assert first["executionStats"] == {
        "totalCount": 5,
        "byStatus": [{"status": "SUCCEEDED", "count": 5}],
    }
    page = first["executions"]
    assert page["totalCount"] == 3
    assert [node["id"] for node in page["nodes"]] == [ran[4]["id"], ran[2]["id"]]
    assert page["nodes"][0]["createdAt"] == ran[4]["createdAt"]
    second = (await api.ask(query, after=page["pageInfo"]["endCursor"]))["executions"]
    assert [node["stdout"] for node in second["nodes"]] == ["0\n"]
    assert not second["pageInfo"]["hasNextPage"]


async def test_progress_can_be_seen_and_stopped(open_api: Open, url: str) -> None:
    async with open_api(FakeExecutor(Gate()), database_url=url) as api:
        id = (await api.run("", waitMs=0))["id"]
        await api.until(id, lambda execution: execution["stdout"] == "so far\n")
        assert (await api.cancel(id))["execution"]["status"] == "CANCELLED"
        assert (await api.look(id))["stdout"] == "so far\n"


async def test_a_database_that_goes_away_and_comes_back_leaves_nothing_stuck(
    open_api: Open, url: str, postgres: PostgresServer
) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate), database_url=url, slots=1) as api:
        id = (await api.run("", waitMs=0))["id"]
        await api.until(id, lambda execution: execution["stdout"] == "so far\n")
        postgres.stop()
        error = await api.fail("{ executions { totalCount } }")
        assert error["extensions"]["code"] == "UNAVAILABLE"
        gate.ends.set()
        postgres.restart()
        ended = await api.end_of(id)
        assert ended["status"] in {"SUCCEEDED", "INFRASTRUCTURE_ERROR"}
        assert ended["stdout"] == "so far\nand on\n"
        assert (await api.run(""))["status"] == "SUCCEEDED"


async def test_a_database_that_is_gone_shows_wherever_one_looks(
    open_api: Open, url: str, postgres: PostgresServer
) -> None:
    query = "{ health { status database { status } } }"
    async with open_api(FakeExecutor(), database_url=url) as api:
        assert (await api.http.get("/readyz")).status_code == 200
        postgres.stop()
        ready = await api.http.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"status": "database unavailable"})
        health = {"status": "DEGRADED", "database": {"status": "DEGRADED"}}
        assert await api.ask(query) == {"health": health}
        assert (await api.metrics())["greenroom_database_up"] == 0
        postgres.restart()
        assert (await api.http.get("/readyz")).status_code == 200
        assert (await api.metrics())["greenroom_database_up"] == 1


async def test_a_database_that_hangs_does_not_keep_who_asks_how_it_is(
    open_api: Open, url: str
) -> None:
    engine = postgres_engine(normal(url), poolclass=NullPool)
    async with open_api(FakeExecutor(), database_url=url) as api:
        async with engine.connect() as connection:
            await connection.execute(text("LOCK TABLE executions"))
            ready = await api.http.get("/readyz")
            assert (ready.status_code, ready.json()) == (503, {"status": "database unavailable"})
        assert (await api.http.get("/readyz")).status_code == 200


async def test_an_erased_session_and_a_key_are_the_same_here(open_api: Open, url: str) -> None:
    delete = """mutation($session: String!) {
      deleteExecutions(input: { sessionId: $session }) { deletedCount hasMore errors { code } }
    }"""
    async with (
        open_api(executor := FakeExecutor(), database_url=url) as api,
        open_api(other := FakeExecutor(), database_url=url) as elsewhere,
    ):
        ids: set[str] = set()

        async def run(where: Api) -> None:
            ids.add((await where.run("", sessionId="s", idempotencyKey="k"))["id"])

        async with anyio.create_task_group() as tasks:
            for where in (api, elsewhere) * 5:
                tasks.start_soon(run, where)
        assert len(ids) == 1
        assert executor.sandboxes + other.sandboxes == 1
        [error] = await elsewhere.refuse("other", sessionId="s", idempotencyKey="k")
        assert error["execution"] == {"id": ids.pop()}
        deleted = {"deletedCount": 1, "hasMore": False, "errors": []}
        assert await api.ask(delete, session="s") == {"deleteExecutions": deleted}
        assert await api.ask("{ executions { totalCount } }") == {"executions": {"totalCount": 0}}
        await elsewhere.run("other", sessionId="s", idempotencyKey="k")
