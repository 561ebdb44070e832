"""A request that is sent again under its key runs once; one that is run again says of what."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from .client import ALL, Api, Json
from .conftest import Open
from .fake import FakeExecutor, Gate

INPUT: Json = {
    "stdin": "in",
    "args": ["a"],
    "limits": {"wallTimeMs": 2000},
    "sessionId": "s",
    "label": "l",
    "metadata": {"a": 1, "b": [1.5, None]},
}
RERUN = """
mutation Rerun($input: RerunExecutionInput!) {
  rerunExecution(input: $input) {
    execution { ...All rerunOf { id rerunOf { id } } }
    errors { __typename code message path ... on LimitTooHigh { limit requested maximum } }
  }
}
"""


@pytest.fixture
def executor_() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
async def fake(open_api: Open, executor_: FakeExecutor) -> AsyncIterator[Api]:
    async with open_api(executor_) as api:
        yield api


async def test_the_same_input_under_the_same_key_runs_once(
    fake: Api, executor_: FakeExecutor
) -> None:
    first = await fake.run("x", idempotencyKey="k", **INPUT)
    assert await fake.run("x", idempotencyKey="k", **INPUT) == first
    turned = dict(reversed(INPUT["metadata"].items()))
    assert await fake.run("x", idempotencyKey="k", **INPUT | {"metadata": turned}) == first
    assert executor_.sandboxes == 1


async def test_without_a_key_or_under_another_one_it_runs_again(
    fake: Api, executor_: FakeExecutor
) -> None:
    for key in (None, None, "a", "b"):
        await fake.run("x", idempotencyKey=key)
    assert executor_.sandboxes == 4


@pytest.mark.parametrize(
    "change",
    [
        {"stdin": "other"},
        {"args": ["a", ""]},
        {"limits": {"wallTimeMs": 2001}},
        {"sessionId": None},
        {"label": "other"},
        {"metadata": {"a": 1, "b": [1.5]}},
        {"language": "JAVASCRIPT"},
        {"source": "y"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_another_input_under_the_same_key_is_a_conflict(fake: Api, change: Json) -> None:
    first = await fake.run("x", idempotencyKey="k", **INPUT)
    [error] = await fake.refuse(**{"source": "x", "idempotencyKey": "k"} | INPUT | change)
    assert error["__typename"] == "IdempotencyConflict"
    assert error["code"] == "IDEMPOTENCY_CONFLICT"
    assert error["path"] == ["idempotencyKey"]
    assert error["execution"] == {"id": first["id"]}


async def test_how_long_to_wait_is_no_part_of_the_input(open_api: Open) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate)) as api:
        first = await api.run("x", idempotencyKey="k", waitMs=0)
        assert first["status"] == "RUNNING"
        await gate.started.wait()
        gate.ends.set()
        again = await api.run("x", idempotencyKey="k")
        assert (again["id"], again["status"]) == (first["id"], "SUCCEEDED")


async def test_the_first_execution_is_found_where_there_is_no_room_for_another(
    open_api: Open,
) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate), slots=1, queue_size=1) as api:
        first = await api.run("x", idempotencyKey="k", waitMs=0)
        await api.run("x", waitMs=0)
        assert (await api.refuse("x"))[0]["code"] == "SERVER_BUSY"
        assert (await api.run("x", idempotencyKey="k", waitMs=0))["id"] == first["id"]
        gate.ends.set()


async def test_of_many_at_once_one_runs(fake: Api, executor_: FakeExecutor) -> None:
    ids: list[str] = []

    async def run() -> None:
        ids.append((await fake.run("x", idempotencyKey="k"))["id"])

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(run)
    assert len(ids) == 20
    assert len(set(ids)) == 1
    assert executor_.sandboxes == 1
    load = (await fake.ask("{ health { load { running queued } } }"))["health"]["load"]
    assert load == {"running": 0, "queued": 0}


async def test_after_a_day_the_key_is_free_again(fake: Api, database: Path) -> None:
    first = await fake.run("x", idempotencyKey="k")
    await anyio.to_thread.run_sync(age, database)
    second = await fake.run("y", idempotencyKey="k")
    assert second["id"] != first["id"]
    assert (await fake.refuse("x", idempotencyKey="k"))[0]["execution"]["id"] == second["id"]
    assert await fake.find(first["id"])


def age(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE executions SET created_at = datetime(created_at, '-25 hours')")


@pytest.mark.parametrize("key", ["", "k" * 201, "k\0", "\ud800"])
async def test_a_key_that_cannot_be_one_is_refused(fake: Api, key: str) -> None:
    [error] = await fake.refuse("x", idempotencyKey=key)
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["idempotencyKey"])


# --- Again -----------------------------------------------------------------------------------


async def rerun(api: Api, id: str, **input: Any) -> Json:
    payload: Json = (await api.ask(RERUN + ALL, input={"id": id} | input))["rerunExecution"]
    return payload


async def test_a_program_is_run_again_as_it_was(api: Api) -> None:
    source = "import sys; print(sys.argv[1:], input()); sys.exit(3)"
    first = await api.run(source, **INPUT)
    payload = await rerun(api, first["id"])
    again = payload["execution"]
    assert payload["errors"] == []
    assert again.pop("rerunOf") == {"id": first["id"], "rerunOf": None}
    own = {"id", "createdAt", "startedAt", "finishedAt", "usage"}
    assert all(again[name] != first[name] for name in own - {"usage"})
    assert {name: value for name, value in again.items() if name not in own} == {
        name: value for name, value in first.items() if name not in own
    }
    third = (await rerun(api, again["id"]))["execution"]
    assert third["rerunOf"] == {"id": again["id"], "rerunOf": {"id": first["id"]}}


async def test_one_need_not_wait_for_it(open_api: Open) -> None:
    gate = Gate()
    gate.ends.set()
    async with open_api(FakeExecutor(gate)) as api:
        first = await api.run("x")
        gate.ends = anyio.Event()
        again = (await rerun(api, first["id"], waitMs=0))["execution"]
        assert again["finishedAt"] is None
        gate.ends.set()
        [error] = (await rerun(api, first["id"], waitMs=-1))["errors"]
        assert (error["code"], error["path"]) == ("INVALID_INPUT", ["waitMs"])


async def test_what_is_not_there_cannot_be_run_again(fake: Api, database: Path) -> None:
    foreign = (await fake.run("x"))["id"]
    await anyio.to_thread.run_sync(give_away, database)
    for id in (foreign, "no id of ours"):
        payload = await rerun(fake, id)
        assert payload["execution"] is None
        [error] = payload["errors"]
        assert (error["code"], error["path"]) == ("NOT_FOUND", ["id"])


def give_away(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE executions SET owner = 'another'")


async def test_limits_that_are_too_high_by_now_are_refused(open_api: Open) -> None:
    async with open_api(FakeExecutor()) as api:
        first = await api.run("x", limits={"wallTimeMs": 50_000})
    async with open_api(FakeExecutor(), max_wall_time=20) as api:
        payload = await rerun(api, first["id"])
        assert payload["execution"] is None
        [error] = payload["errors"]
        assert error["__typename"] == "LimitTooHigh"
        assert (error["limit"], error["requested"], error["maximum"]) == (
            "wallTimeMs",
            50_000,
            20_000,
        )


async def test_the_origins_of_a_page_are_one_statement(fake: Api, statements: list[str]) -> None:
    first = (await fake.run("x"))["id"]
    for _ in range(5):
        await rerun(fake, first)
    statements.clear()
    data = await fake.ask("{ executions { nodes { id rerunOf { id } } } }")
    assert [node["rerunOf"] for node in data["executions"]["nodes"]].count({"id": first}) == 5
    assert len(statements) == 2
