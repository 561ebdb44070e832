"""When we fail, not the program: it is said so, under a name that the log knows; nothing sticks."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import cast
from uuid import UUID

import anyio
import httpx
import pytest
from graphql import GraphQLError

from app.access.doorkeeper import Doorkeeper
from app.api.context import Services
from app.api.entrance import Entrance
from app.api.guards import mask
from app.api.http import GraphQLView
from app.api.ids import decode_id
from app.api.operations import Operations
from app.api.requests import BodyBounds
from app.api.schema import schema
from app.api.streams import Room, Streams
from app.domain.errors import ExecutorError, NoSandbox
from app.domain.execution import Exit, Status
from app.domain.ports import Emit, ExecutorState
from app.main import bounds_of, create_app, open_services

from .client import Api, Json
from .conftest import Open, client_of, settings_of
from .fake import SUCCESS, FakeExecutor, Gate, says, succeed

RUN = 'mutation { executeCode(input: { language: PYTHON, source: "" }) { errors { code } } }'


async def break_down(emit: Emit) -> Exit:
    await emit(says("so far\n"))
    raise ExecutorError("the cell is on fire in secret/place")


async def have_a_bug(emit: Emit) -> Exit:
    await emit(says("so far\n"))
    raise ZeroDivisionError


async def find_no_room(emit: Emit) -> Exit:
    del emit
    raise NoSandbox("every box is taken in secret/place")


def say(database: Path, *statements: str) -> list[tuple[object, ...]]:
    """Speak to the database as another program would; return the last answer's rows."""
    rows: list[tuple[object, ...]] = []
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            rows = connection.execute(statement).fetchall()
    return rows


@contextmanager
def tables_away(database: Path) -> Iterator[None]:
    """Hide the table of executions: everything about them fails meanwhile."""
    say(database, "ALTER TABLE executions RENAME TO hidden")
    try:
        yield
    finally:
        say(database, "ALTER TABLE hidden RENAME TO executions")


async def test_who_gets_no_sandbox_in_time_is_told_to_come_again(
    open_api: Open, caplog: pytest.LogCaptureFixture
) -> None:
    query = """mutation { executeCode(input: { language: PYTHON, source: "" }) {
        execution { id status message stdout }
        errors { code message ... on ServerBusy { retryAfterMs } } } }"""
    async with open_api(FakeExecutor(find_no_room)) as api:
        payload = (await api.ask(query))["executeCode"]
        [busy] = payload["errors"]
        assert (busy["code"], busy["retryAfterMs"] > 0) == ("SERVER_BUSY", True)
        ended = payload["execution"]
        assert (ended["status"], ended["stdout"]) == ("INFRASTRUCTURE_ERROR", "")
        assert "nothing of the program has run" in ended["message"]
        assert "secret/place" not in str(payload)
        assert (await api.look(ended["id"]))["message"] == ended["message"]
    [said] = [each for each in caplog.records if each.getMessage() == "no sandbox in time"]
    assert said.levelno == logging.WARNING
    assert not said.exc_info


async def nothing_is_stuck(api: Api) -> None:
    """Make sure that a program can be run, and that nobody is in its way."""
    assert (await api.run(""))["status"] != "INFRASTRUCTURE_ERROR"
    query = "{ executions(filter: { statusIn: [QUEUED, RUNNING] }) { totalCount } }"
    assert await api.ask(query) == {"executions": {"totalCount": 0}}
    load = (await api.ask("{ health { load { running queued } } }"))["health"]["load"]
    assert load == {"running": 0, "queued": 0}


def uuid_of(execution: Json) -> UUID:
    id = decode_id(execution["id"])
    assert id
    return id


@pytest.mark.parametrize("failure", [break_down, have_a_bug])
async def test_a_sandbox_that_fails_is_our_failure(
    open_api: Open, caplog: pytest.LogCaptureFixture, failure: object
) -> None:
    executor = FakeExecutor(break_down if failure is break_down else have_a_bug)
    async with open_api(executor, slots=1) as api:
        execution = await api.run("")
        assert execution["status"] == "INFRASTRUCTURE_ERROR"
        assert execution["stdout"] == "so far\n"
        assert execution["exitCode"] is None
        message = execution["message"]
        assert "not the program" in message
        assert f"id={uuid_of(execution)}" in message
        assert "secret" not in message
        assert await api.look(execution["id"]) == execution
        [record] = [record for record in caplog.records if record.exc_info]
        assert record.message == "execution failed"
        assert vars(record)["id"] == uuid_of(execution)
        executor.program = succeed
        await nothing_is_stuck(api)


async def test_a_verdict_without_facts_is_our_failure(open_api: Open) -> None:
    async def tell_nothing(_: Emit) -> Exit:
        return Exit()

    async with open_api(FakeExecutor(tell_nothing)) as api:
        execution = await api.run("")
        assert execution["status"] == "INFRASTRUCTURE_ERROR"
        assert "no valid result" in execution["message"]


async def test_who_cancels_what_breaks_has_cancelled_it(open_api: Open) -> None:
    started = anyio.Event()

    async def break_when_stopped(_: Emit) -> Exit:
        started.set()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as error:
            raise ExecutorError("it would not die") from error
        return SUCCESS

    async with open_api(FakeExecutor(break_when_stopped)) as api:
        id = (await api.run("", waitMs=0))["id"]
        await started.wait()
        assert (await api.cancel(id))["execution"]["status"] == "CANCELLED"


async def test_a_history_that_is_away_refuses_without_telling_why(
    open_api: Open, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_api(executor := FakeExecutor(), slots=1, queue_size=1) as api:
        with tables_away(database):
            for query in (
                RUN,
                "{ executions { nodes { id } } }",
                "{ executionStats { totalCount } }",
            ):
                error = await api.fail(query)
                assert error["message"] == "The history cannot be reached now; try again later."
                assert error["extensions"]["code"] == "UNAVAILABLE"
                assert error["extensions"]["reference"] in references(caplog)
            health = (await api.ask("{ health { status database { status } } }"))["health"]
            assert health == {"status": "DEGRADED", "database": {"status": "DEGRADED"}}
            ready = await api.http.get("/readyz")
            assert (ready.status_code, ready.json()) == (503, {"status": "database unavailable"})
            assert (await api.http.get("/healthz")).status_code == 200
        assert executor.sandboxes == 0
        assert (await api.http.get("/readyz")).status_code == 200
        await nothing_is_stuck(api)


def references(caplog: pytest.LogCaptureFixture) -> set[str]:
    return {vars(record).get("reference", "") for record in caplog.records}


async def test_a_bug_is_masked_and_its_reference_stands_in_the_log(
    open_api: Open, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(FakeExecutor):
        def state(self) -> ExecutorState:
            raise RuntimeError("the secret reason")

    async with open_api(Broken()) as api:
        answer = (await api.post("{ health { executor { name } } }")).json()
    [error] = answer["errors"]
    assert answer["data"] is None
    assert error["path"] == ["health"]
    assert error["extensions"]["code"] == "INTERNAL_ERROR"
    assert error["message"].startswith("Something went wrong on our side. Reference: ")
    assert error["extensions"]["reference"] in references(caplog)
    assert error["extensions"]["reference"] in error["message"]
    assert "secret" not in str(answer)
    assert "secret" in caplog.text


async def test_an_outcome_waits_for_the_database_and_the_caller_with_it(
    open_api: Open, database: Path
) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate), slots=1) as api:
        id = (await api.run("", waitMs=0))["id"]
        await gate.started.wait()
        await api.until(id, lambda execution: execution["stdout"] == "so far\n")
        with tables_away(database):
            gate.ends.set()
            await until_logged("outcome not stored yet")
        ended = await api.end_of(id)
        assert (ended["status"], ended["stdout"]) == ("SUCCEEDED", "so far\nand on\n")
        await nothing_is_stuck(api)


async def until_logged(message: str) -> None:
    """Wait for a line of the log."""
    logged = anyio.Event()

    class Watcher(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == message:
                logged.set()

    watcher = Watcher()
    logging.getLogger().addHandler(watcher)
    try:
        with anyio.fail_after(20):
            await logged.wait()
    finally:
        logging.getLogger().removeHandler(watcher)


async def test_output_that_cannot_be_stored_waits_for_the_database(
    open_api: Open, database: Path
) -> None:
    more, goes_on, returns = anyio.Event(), anyio.Event(), anyio.Event()

    async def write_on(emit: Emit) -> Exit:
        await emit(says("first\n"))
        more.set()
        await goes_on.wait()
        await emit(says("second\n"))
        await returns.wait()
        return SUCCESS

    async with open_api(FakeExecutor(write_on), slots=1) as api:
        id = (await api.run("", waitMs=0))["id"]
        await more.wait()
        await api.until(id, lambda execution: execution["stdout"] == "first\n")
        with tables_away(database):
            goes_on.set()
            await until_logged("output not stored yet")
        returns.set()
        ended = await api.end_of(id)
        assert (ended["status"], ended["stdout"]) == ("SUCCEEDED", "first\nsecond\n")
        numbers = say(database, "SELECT seq FROM execution_output ORDER BY seq")
        assert numbers == [(1,), (2,)]
        await nothing_is_stuck(api)


async def test_an_end_is_stored_even_if_its_output_cannot_be(
    open_api: Open, database: Path
) -> None:
    refuse = "BEGIN SELECT RAISE(ABORT, 'staged'); END"
    say(database, f"CREATE TRIGGER t BEFORE INSERT ON execution_output {refuse}")
    async with open_api(FakeExecutor(), slots=1) as api:
        execution = await api.run("")
        assert (execution["status"], execution["stdout"]) == ("SUCCEEDED", "")
        await nothing_is_stuck(api)


async def test_one_execution_that_cannot_be_stored_at_all_is_not_the_servers_end(
    open_api: Open, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refuse = "BEGIN SELECT RAISE(ABORT, 'staged'); END"
    say(database, f"CREATE TRIGGER t BEFORE UPDATE ON executions {refuse}")
    async with open_api(FakeExecutor(), slots=1) as api:
        assert (await api.run(""))["status"] == "SUCCEEDED"
        assert "execution without a stored end" in caplog.text
        say(database, "DROP TRIGGER t")
        assert (await api.run(""))["status"] == "SUCCEEDED"


async def test_whoever_took_us_for_dead_has_the_last_word(open_api: Open, database: Path) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate), slots=1) as api:
        id = (await api.run("", waitMs=0))["id"]
        await api.until(id, lambda execution: execution["stdout"] == "so far\n")
        say(
            database,
            "UPDATE executions SET lease_holder = NULL, lease_expires_at = NULL, "
            "status = 'INFRASTRUCTURE_ERROR', outcome = '{}', finished_at = '2026-01-01 00:00:00'",
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_logged, "lease lost")
            gate.ends.set()
        ended = await api.look(id)
        assert (ended["status"], ended["stdout"]) == ("INFRASTRUCTURE_ERROR", "so far\n")


TAKEN = (
    "UPDATE executions SET turn_at = NULL, lease_holder = NULL, lease_expires_at = NULL, "
    "outcome = '{}', "
    "status = 'INFRASTRUCTURE_ERROR', finished_at = '2026-01-01 00:00:00' WHERE status = "
)


async def test_a_caller_is_not_told_what_was_written_too_late(
    open_api: Open, database: Path
) -> None:
    started, goes_on = anyio.Event(), anyio.Event()
    answers = []

    async def write_at_the_end(emit: Emit) -> Exit:
        started.set()
        await goes_on.wait()
        await emit(says("too late\n"))
        return SUCCESS

    async with open_api(FakeExecutor(write_at_the_end), slots=1) as api:

        async def call() -> None:
            answers.append(await api.run(""))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await started.wait()
            say(database, TAKEN + "'RUNNING'")
            goes_on.set()
        [answer] = answers
        assert (answer["status"], answer["stdout"]) == ("INFRASTRUCTURE_ERROR", "")
        assert await api.look(answer["id"]) == answer


async def test_output_after_the_lease_is_lost_ends_the_program(
    open_api: Open, database: Path
) -> None:
    goes_on, ended = anyio.Event(), anyio.Event()

    async def write_for_ever(emit: Emit) -> Exit:
        await emit(says("so far\n"))
        await goes_on.wait()
        await emit(says("too late\n"))
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
        return SUCCESS

    async with open_api(FakeExecutor(write_for_ever), slots=1) as api:
        id = (await api.run("", waitMs=0))["id"]
        await api.until(id, lambda execution: execution["stdout"] == "so far\n")
        say(database, TAKEN + "'RUNNING'")
        goes_on.set()
        with anyio.fail_after(10):
            await ended.wait()
        assert (await api.look(id))["stdout"] == "so far\n"


async def test_a_place_in_the_queue_that_somebody_else_ended_never_runs(
    open_api: Open, database: Path
) -> None:
    gate = Gate()
    async with open_api(executor := FakeExecutor(gate), slots=1) as api:
        first, second = [(await api.run("", waitMs=0))["id"] for _ in range(2)]
        await gate.started.wait()
        say(database, TAKEN + "'QUEUED'")
        gate.ends.set()
        assert (await api.end_of(first))["status"] == "SUCCEEDED"
        assert (await api.look(second))["status"] == "INFRASTRUCTURE_ERROR"
        await nothing_is_stuck(api)
    assert executor.sandboxes == 2  # the first, and the one that proves that nothing is stuck


async def test_leases_are_renewed_and_those_of_the_dead_are_ended_whatever_happens(
    open_api: Open, database: Path
) -> None:
    async with open_api(FakeExecutor(Gate()), slots=2, lease=0.6, drain=0.1) as api:
        ours, theirs = [(await api.run("", waitMs=0))["id"] for _ in range(2)]
        for id in (ours, theirs):
            await api.until(id, lambda execution: execution["stdout"] == "so far\n")
        [(expiry,)] = say(
            database,
            "UPDATE executions SET lease_holder = 'elsewhere/1:1:1:x', "
            "lease_expires_at = '2026-01-01 00:00:00' "
            "WHERE id = (SELECT max(id) FROM executions)",
            "SELECT lease_expires_at FROM executions WHERE id = (SELECT min(id) FROM executions)",
        )
        with tables_away(database):
            await until_logged("leases not renewed")
        ended = await api.end_of(theirs)
        assert "stopped unexpectedly" in ended["message"]
        assert (await api.look(ours))["status"] == "RUNNING"
        query = "SELECT lease_expires_at FROM executions WHERE status = 'RUNNING'"
        assert say(database, query) > [(expiry,)]


async def test_a_bug_before_any_resolver_is_masked_too(caplog: pytest.LogCaptureFixture) -> None:
    nothing = cast("Services", None)
    operations = Operations(schema._schema, nothing, bounds_of(settings_of()))
    body = BodyBounds(size=1000, time=1)
    entrance = Entrance(cast("Doorkeeper", None))
    view = GraphQLView(operations, Streams(Room(in_all=1)), entrance, body=body, has_page=False)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(view), base_url="http://localhost"
    ) as http:
        answer = await http.post("/graphql", json={"query": "{ __typename }"})
    assert answer.status_code == 500
    [error] = answer.json()["errors"]
    assert error["message"].startswith("Something went wrong on our side. Reference: ")
    assert error["message"].rpartition(" ")[2] in references(caplog)


def test_an_error_inside_of_an_error_is_masked_too(caplog: pytest.LogCaptureFixture) -> None:
    bug = GraphQLError("inner secret", original_error=ZeroDivisionError("secret"))
    masked = mask(GraphQLError("outer secret", original_error=bug))
    assert "secret" not in str(masked)
    assert "secret" in caplog.text


async def test_a_stopping_server_lets_programs_end_and_accepts_none(database: Path) -> None:
    gate = Gate()
    settings = settings_of(database_url=f"sqlite:///{database}", slots=1)
    async with (
        open_services(settings, lambda *_: nullcontext(FakeExecutor(gate))) as services,
        client_of(create_app(settings, services)) as api,
        anyio.create_task_group() as tasks,
    ):
        running, queued = [await api.run("", waitMs=0) for _ in range(2)]
        await gate.started.wait()
        tasks.start_soon(services.executions.close)
        await anyio.wait_all_tasks_blocked()
        [error] = await api.refuse()
        assert (error["code"], error["path"]) == ("SERVER_BUSY", None)
        assert "about to stop" in error["message"]
        ready = await api.http.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"status": "stopping"})
        assert (await api.look(running["id"]))["status"] == "RUNNING"
        gate.ends.set()
        assert (await api.end_of(running["id"]))["status"] == "SUCCEEDED"
        assert (await api.look(queued["id"]))["status"] == "QUEUED"


async def test_what_does_not_end_in_time_is_stopped_and_says_so(
    open_api: Open, database: Path
) -> None:
    async with open_api(FakeExecutor(Gate()), slots=1, drain=0.1) as api:
        ids = [(await api.run("", waitMs=0))["id"] for _ in range(3)]
    async with open_api(FakeExecutor()) as api:
        stopped = await api.look(ids[0])
        assert stopped["status"] == "INFRASTRUCTURE_ERROR"
        assert "server was stopped" in stopped["message"]
        assert stopped["stdout"] == "so far\n"
        for id in ids[1:]:  # they had not begun
            assert (await api.end_of(id))["status"] == "SUCCEEDED"


async def test_what_was_not_seen_to_write_is_handed_back_and_runs_again(open_api: Open) -> None:
    began = anyio.Event()

    async def think(emit: Emit) -> Exit:
        del emit
        began.set()
        await anyio.sleep_forever()
        return SUCCESS

    async with open_api(FakeExecutor(think), slots=1, drain=0.1) as api:
        id = (await api.run("", waitMs=0))["id"]
        await began.wait()
    async with open_api(FakeExecutor()) as api:
        ended = await api.end_of(id)
        assert (ended["status"], ended["attempt"], ended["stdout"]) == ("SUCCEEDED", 2, "42\n")


async def test_a_server_that_stops_while_the_database_is_away_leaves_the_rest_to_the_next(
    open_api: Open, database: Path
) -> None:
    gate, pid = Gate(), os.getpid()
    async with open_api(FakeExecutor(gate), slots=1, drain=0.1) as api:
        id = (await api.run("", waitMs=0))["id"]
        await api.until(id, lambda execution: execution["stdout"] == "so far\n")
        say(database, "ALTER TABLE executions RENAME TO hidden")
    say(
        database,
        "ALTER TABLE hidden RENAME TO executions",
        # As if another process had held it: one that has our pid, but started at another time.
        f"UPDATE executions SET lease_holder = replace(lease_holder, ':{pid}:', ':{pid}:9')",
    )
    async with open_api(FakeExecutor()) as api:
        execution = await api.look(id)
        assert execution["status"] == Status.INFRASTRUCTURE_ERROR
        assert "stopped unexpectedly" in execution["message"]
        assert execution["stdout"] == "so far\n"
