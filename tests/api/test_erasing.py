"""An owner erases executions, and nothing of them is left."""

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from app.executions import retention

from .client import LOOK_EVERY, PATIENCE, Api, Json
from .conftest import Open
from .fake import FakeExecutor, Gate

DELETE = """
mutation Delete($input: DeleteExecutionsInput!) {
  deleteExecutions(input: $input) {
    deletedCount hasMore
    errors { __typename code message path ... on StillRunning { executionIds } }
  }
}
"""


async def delete(api: Api, **input: object) -> Json:
    payload: Json = (await api.ask(DELETE, input=input))["deleteExecutions"]
    return payload


def deleted(count: int) -> Json:
    return {"deletedCount": count, "hasMore": False, "errors": []}


async def total(api: Api) -> int:
    count: int = (await api.ask("{ executions { totalCount } }"))["executions"]["totalCount"]
    return count


async def test_an_erased_candidate_leaves_nothing_behind(open_api: Open, database: Path) -> None:
    async with open_api() as api:
        for number in range(3):
            await api.run(
                f"print('candidate-{number}', input())",
                stdin="candidate-said",
                sessionId="candidate",
                label="candidate-label",
                metadata={"name": "candidate-name"},
                args=["candidate-argument"],
            )
        kept = await api.run("print(42)", sessionId="another")
        assert candidate_in(database)
        assert await delete(api, sessionId="candidate") == deleted(3)
        assert candidate_in(database) == []
        assert await api.find(kept["id"]) == kept
        assert await total(api) == 1
        assert await delete(api, sessionId="candidate") == deleted(0)


async def test_what_was_compiled_from_an_erased_program_goes_as_well(open_api: Open) -> None:
    source = '#include <stdio.h>\nint main(void) { puts("erased-candidate"); }'
    async with open_api() as api:
        ran = await api.run(source, "C")
        if ran["status"] != "SUCCEEDED":
            pytest.skip("there is no compiler for C here")
        assert compiled()
        assert await delete(api, ids=[ran["id"]]) == deleted(1)
        with anyio.fail_after(PATIENCE):
            while True:
                if not await anyio.to_thread.run_sync(compiled):
                    break
                await anyio.sleep(LOOK_EVERY)


def compiled() -> list[Path]:
    """Find what this process has kept of compilers with the candidate in it."""
    folders = Path(tempfile.gettempdir()).glob(f"greenroom-{os.getpid()}-*")
    files = [path for folder in folders for path in folder.iterdir() if path.is_file()]
    return [path for path in files if b"erased-candidate" in path.read_bytes()]


def candidate_in(database: Path) -> list[str]:
    return [path.name for path in database.parent.iterdir() if b"candidate" in path.read_bytes()]


async def test_executions_are_erased_by_id_and_by_filter(open_api: Open) -> None:
    async with open_api(FakeExecutor()) as api:
        first, second, third = [(await api.run("", label=label))["id"] for label in "abc"]
        assert await delete(api, ids=[first, "no id of ours", first]) == deleted(1)
        assert await delete(api, ids=[first]) == deleted(0)
        assert await delete(api, ids=[]) == deleted(0)
        assert await delete(api, filter={"label": "b"}) == deleted(1)
        assert await api.find(second) is None
        assert await delete(api, filter={"createdBefore": datetime.now(UTC).isoformat()}) == (
            deleted(1)
        )
        assert await api.find(third) is None


async def test_what_runs_or_waits_is_stopped_first(open_api: Open) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate), slots=1) as api:
        ids = [(await api.run("", sessionId="one", waitMs=0))["id"] for _ in range(2)]
        await gate.started.wait()
        assert await delete(api, sessionId="one") == deleted(2)
        for id in ids:
            assert await api.find(id) is None
        load = (await api.ask("{ health { load { running queued } } }"))["health"]["load"]
        assert load == {"running": 0, "queued": 0}


async def test_one_call_erases_only_so_much_and_says_that_there_is_more(
    open_api: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.storage.erasing.MOST_EXECUTIONS", 2)
    monkeypatch.setattr(retention, "MOST_ERASED", 3)
    async with open_api(FakeExecutor()) as api:
        for _ in range(5):
            await api.run("", label="x")
        payload = await delete(api, filter={"label": "x"})
        assert payload == {"deletedCount": 4, "hasMore": True, "errors": []}
        assert await delete(api, filter={"label": "x"}) == deleted(1)


@pytest.mark.parametrize(
    ("input", "path"),
    [({"filter": {}}, ["filter"]), ({"ids": ["x"] * 1001}, ["ids"])],
)
async def test_too_much_at_once_is_refused(api: Api, input: Json, path: list[str]) -> None:
    payload = await delete(api, **input)
    assert payload["deletedCount"] == 0
    [error] = payload["errors"]
    assert (error["code"], error["path"]) == ("INVALID_INPUT", path)


@pytest.mark.parametrize("input", [{}, {"ids": [], "sessionId": "x"}, {"sessionId": None}])
async def test_what_is_meant_is_said_in_one_way(api: Api, input: Json) -> None:
    message = (await api.fail(DELETE, input=input))["message"]
    assert "exactly one" in message.lower() or "must be non-null" in message


async def test_old_executions_go_by_themselves(
    open_api: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_SWEEP_EVERY", 0.01)
    async with open_api(FakeExecutor(), retention_days=0.1 / 86_400) as api:
        id = (await api.run(""))["id"]
        with anyio.fail_after(20):
            while await api.find(id):  # noqa: ASYNC110 - no bell rings for it
                await anyio.sleep(0.01)


async def test_a_sweep_that_fails_is_said_and_the_next_one_sweeps(
    open_api: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retention, "_SWEEP_EVERY", 0.01)
    purge, tries = retention.purge, 0

    async def fail_first(*arguments: Any) -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ZeroDivisionError
        return await purge(*arguments)

    monkeypatch.setattr(retention, "purge", fail_first)
    async with open_api(FakeExecutor(), retention_days=0.1 / 86_400) as api:
        id = (await api.run(""))["id"]
        with anyio.fail_after(20):
            while await api.find(id):  # noqa: ASYNC110 - no bell rings for it
                await anyio.sleep(0.01)
    assert "old executions not erased" in caplog.messages
