"""A caller waits as long as it likes, looks in between, and can stop what runs."""

from uuid import UUID

import anyio
import pytest

from app.api.ids import encode_cursor, encode_id

from .client import Api, Json
from .conftest import Open
from .fake import FakeExecutor, Gate

SOMEBODY = UUID(int=2**127 + 1)
FOREVER = "import time\nprint('so far', flush=True)\ntime.sleep(60)"

PLACES = """query($first: ID!, $second: ID!) {
  first: execution(id: $first) { queue { position ageMs } }
  second: execution(id: $second) { queue { position ageMs } }
}"""
PLACE_IN_LIST = "{ executions(filter: { statusIn: QUEUED }) { nodes { queue { position } } } }"
NOBODY_WAITS = {"health": {"load": {"oldestAgeMs": None}}}


async def until_running(api: Api, id: str) -> Json:
    return await api.until(id, lambda execution: execution["stdout"] == "so far\n")


async def test_without_waiting_the_answer_comes_at_once_and_progress_can_be_seen(api: Api) -> None:
    execution = await api.run("import time\nprint('so far', flush=True)\ntime.sleep(0.5)", waitMs=0)
    assert execution["status"] == "RUNNING"
    assert execution["stdout"] in {"", "so far\n"}  # a cell that waited is quick
    assert execution["usage"] is None
    assert execution["finishedAt"] is None
    running = await until_running(api, execution["id"])
    assert running["status"] == "RUNNING"
    ended = await api.end_of(execution["id"])
    assert ended["status"] == "SUCCEEDED"
    assert ended["startedAt"] == execution["startedAt"]


async def test_after_its_patience_a_caller_gets_the_running_execution(api: Api) -> None:
    began = anyio.current_time()
    execution = await api.run(FOREVER, waitMs=400)
    assert 0.4 <= anyio.current_time() - began < 5
    assert execution["status"] == "RUNNING"
    assert execution["stdout"] == "so far\n"
    await api.cancel(execution["id"])


async def test_what_waits_is_queued_and_runs_in_its_turn(open_api: Open) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate), slots=1) as api:
        first = await api.run("", waitMs=0)
        second = await api.run("", waitMs=0)
        assert (first["status"], second["status"]) == ("RUNNING", "QUEUED")
        assert second["startedAt"] is None
        places = await api.ask(PLACES, first=first["id"], second=second["id"])
        assert places["first"]["queue"] is None
        assert places["second"]["queue"]["position"] == 1
        assert places["second"]["queue"]["ageMs"] > 0
        [session] = (await api.ask(PLACE_IN_LIST))["executions"]["nodes"]
        assert session["queue"]["position"] == 1
        health = await api.ask("{ health { load { slots running queueSize queued } } }")
        oldest = await api.ask("{ health { load { oldestAgeMs } } }")
        assert oldest["health"]["load"]["oldestAgeMs"] > 0
        assert health["health"]["load"] == {
            "slots": 1,
            "running": 1,
            "queueSize": 2000,
            "queued": 1,
        }
        gate.ends.set()
        ended = await api.end_of(second["id"])
        assert ended["status"] == "SUCCEEDED"
        assert ended["startedAt"] > first["startedAt"]
        places = await api.ask(PLACES, first=first["id"], second=second["id"])
        assert places["second"]["queue"] is None
        assert (await api.ask("{ health { load { oldestAgeMs } } }")) == NOBODY_WAITS


async def test_cancelling_stops_a_running_program_and_keeps_its_output(api: Api) -> None:
    id = (await api.run(FOREVER, waitMs=0))["id"]
    await until_running(api, id)
    payload = await api.cancel(id)
    assert payload["errors"] == []
    execution = payload["execution"]
    assert execution["status"] == "CANCELLED"
    assert execution["stdout"] == "so far\n"
    assert execution["exitCode"] is None
    assert execution["signal"] is None
    assert await api.look(id) == execution


async def test_who_waits_for_a_cancelled_program_is_told(open_api: Open) -> None:
    gate, told = Gate(), list[Json]()

    async def wait_for_it() -> None:
        told.append(await api.run(""))

    async with open_api(FakeExecutor(gate)) as api, anyio.create_task_group() as tasks:
        tasks.start_soon(wait_for_it)
        await gate.started.wait()
        [node] = (await api.ask("{ executions { nodes { id } } }"))["executions"]["nodes"]
        await api.cancel(node["id"])
    assert [execution["status"] for execution in told] == ["CANCELLED"]


async def test_a_queued_program_that_is_cancelled_never_runs(open_api: Open) -> None:
    gate, executor = Gate(), FakeExecutor()
    executor.program = gate
    async with open_api(executor, slots=1) as api:
        await api.run("", waitMs=0)
        queued = await api.run("", waitMs=0)
        payload = await api.cancel(queued["id"])
        assert payload["execution"]["status"] == "CANCELLED"
        assert payload["execution"]["startedAt"] is None
        gate.ends.set()
    assert executor.sandboxes == 1


async def test_a_cancelled_place_in_the_queue_is_free_again(open_api: Open) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate), slots=1, queue_size=1) as api:
        await api.run("", waitMs=0)
        for _ in range(3):
            queued = await api.run("", waitMs=0)
            assert (await api.refuse())[0]["code"] == "SERVER_BUSY"
            await api.cancel(queued["id"])
        gate.ends.set()


async def test_what_has_ended_cannot_be_stopped(api: Api) -> None:
    execution = await api.run("print(1)")
    payload = await api.cancel(execution["id"])
    assert payload["execution"] == execution
    [error] = payload["errors"]
    assert error["__typename"] == "NotRunning"
    assert error["code"] == "NOT_RUNNING"
    assert "SUCCEEDED" in error["message"]
    assert error["path"] == ["id"]


async def test_cancelling_twice_is_cancelling_once(open_api: Open) -> None:
    async with open_api(FakeExecutor(Gate())) as api:
        id = (await api.run("", waitMs=0))["id"]
        first, second = await api.cancel(id), await api.cancel(id)
        assert first == second
        assert first["errors"] == []


async def test_of_two_who_cancel_at_once_both_are_told(open_api: Open) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate)) as api:
        id = (await api.run("", waitMs=0))["id"]
        payloads: list[Json] = []

        async def cancel() -> None:
            payloads.append(await api.cancel(id))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(cancel)
    assert [payload["execution"]["status"] for payload in payloads] == ["CANCELLED"] * 5


@pytest.mark.parametrize(
    "id",
    [
        "",
        "nonsense",
        "RXhlY3V0aW9uOg==",
        "\ud800",
        "\0",
        "x" * 100_000,
        encode_id(SOMEBODY),
        encode_id(SOMEBODY).rstrip("="),
        encode_id(SOMEBODY) + "=",
        encode_cursor(SOMEBODY),
        str(SOMEBODY),
    ],
)
async def test_an_id_of_nothing_is_nothing(api: Api, id: str) -> None:
    assert await api.find(id) is None
    assert await api.ask("query($id: ID!) { node(id: $id) { id } }", id=id) == {"node": None}
    payload = await api.cancel(id)
    assert payload["execution"] is None
    [error] = payload["errors"]
    assert error["__typename"] == "NotFound"
    assert error["code"] == "NOT_FOUND"
    assert error["path"] == ["id"]


async def test_a_program_that_ends_while_it_is_cancelled_has_one_end(open_api: Open) -> None:
    for _ in range(20):
        gate = Gate()
        async with open_api(FakeExecutor(gate)) as api:
            id = (await api.run("", waitMs=0))["id"]
            await gate.started.wait()
            gate.ends.set()
            payload = await api.cancel(id)
            status = payload["execution"]["status"]
            assert status in {"SUCCEEDED", "CANCELLED"}
            assert bool(payload["errors"]) == (status == "SUCCEEDED")
            assert await api.look(id) == payload["execution"]
