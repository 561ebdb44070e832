"""Subscriptions over HTTP: Server-Sent Events, and Apollo's multipart."""

import json
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.types import Message

from app.api import streaming
from app.api.operations import Result
from app.api.streaming import FRAMINGS, StreamedResponse
from app.api.streams import Room, Streams
from app.domain.access import LOCAL, Caller
from tests.processes.server import serving

from .client import JSON, PATIENCE, Api, Json

EVENTS = """
subscription Events($id: ID!, $after: Int) {
  executionEvents(id: $id, after: $after) {
    sequence ... on ExecutionOutput { text } ... on ExecutionFinished { execution { status } }
  }
}
"""
EVENT_STREAM = {"Accept": "text/event-stream", **JSON}
MULTIPART = {"Accept": "multipart/mixed;boundary=graphql;subscriptionSpec=1.0", **JSON}
URQL_ACCEPT = (
    "application/graphql-response+json, application/graphql+json, application/json, "
    "text/event-stream, multipart/mixed"
)
MUTATION = 'mutation { cancelExecution(input: { id: "x" }) { errors { code } } }'


@pytest.fixture(scope="module")
async def api(template: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("streaming")
    shutil.copy(template, folder)
    async with serving(folder, is_measured=True, drain=0.1, max_subscribers=3) as (server, api):
        yield api
        assert not any("Traceback" in line for line in server.log), server.log


@pytest.fixture
async def running(api: Api) -> AsyncIterator[str]:
    started = await api.run("import time\nprint('up', flush=True)\ntime.sleep(60)", waitMs=0)
    await api.until(started["id"], lambda execution: execution["stdout"] == "up\n")
    yield started["id"]
    await api.cancel(started["id"])


@asynccontextmanager
async def events(api: Api, id: str, after: int = 0) -> AsyncIterator[AsyncIterator[str]]:
    """Open an event stream and give its lines."""
    body = {"query": EVENTS, "variables": {"id": id, "after": after}}
    async with api.http.stream("POST", "/graphql", json=body, headers=EVENT_STREAM) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield response.aiter_lines()


def results(text: str) -> list[Json]:
    """Read a whole event stream, to the letter."""
    assert "\r" not in text
    *blocks, rest = text.split("\n\n")
    assert rest == ""
    blocks = [block for block in blocks if block != ":"]
    assert blocks.pop() == "event: complete\ndata:"
    assert all(block.startswith("event: next\ndata: ") for block in blocks)
    return [json.loads(block.removeprefix("event: next\ndata: ")) for block in blocks]


async def ask(api: Api, query: str, accept: str, **variables: object) -> httpx.Response:
    body = {"query": query, "variables": variables}
    return await api.http.post("/graphql", json=body, headers={"Accept": accept, **JSON})


async def test_events_arrive_while_they_happen(api: Api, running: str) -> None:
    with anyio.fail_after(PATIENCE):
        async with events(api, running) as lines:
            seen: list[Json] = []
            async for line in lines:
                if line.startswith("data: "):
                    seen.append(json.loads(line[6:])["data"]["executionEvents"])
                if len(seen) == 3 and line.startswith("data: "):
                    await api.cancel(running)
    assert [event["sequence"] for event in seen] == [1, 2, 3, 4]
    assert seen[2]["text"] == "up\n"
    assert seen[3]["execution"]["status"] == "CANCELLED"


async def test_a_stream_is_written_to_the_letter(api: Api) -> None:
    run = await api.run("print('a\\r\\nb', end='')")
    answer = await ask(api, EVENTS, "text/event-stream", id=run["id"])
    found = [each["data"]["executionEvents"] for each in results(answer.text)]
    assert [event["sequence"] for event in found] == [1, 2, 3, 4]
    assert found[2]["text"] == "a\r\nb"
    assert answer.headers["cache-control"] == "no-store"
    assert "content-length" not in answer.headers


async def test_a_stream_can_be_had_by_get(api: Api) -> None:
    run = await api.run("print('x')")
    asked = {"query": EVENTS, "variables": json.dumps({"id": run["id"], "after": 3})}
    answer = await api.http.get("/graphql", params=asked, headers={"Accept": "text/event-stream"})
    [event] = results(answer.text)
    assert event["data"]["executionEvents"]["sequence"] == 4


async def test_a_query_may_be_answered_in_a_stream(api: Api) -> None:
    answer = await ask(api, "{ __typename }", "text/event-stream")
    assert results(answer.text) == [{"data": {"__typename": "Query"}}]


@pytest.mark.parametrize("query", ["{", "{ nothing }", "query A {a} query B {b}", EVENTS])
async def test_a_wrong_document_is_said_in_the_stream(api: Api, query: str) -> None:
    [result] = results((await ask(api, query, "text/event-stream")).text)
    assert result["errors"][0]["message"]
    assert "data" not in result


async def test_no_mutation_comes_by_get_in_any_dress(api: Api) -> None:
    answer = await api.http.get(
        "/graphql", params={"query": MUTATION}, headers={"Accept": "text/event-stream"}
    )
    [result] = results(answer.text)
    [error] = result["errors"]
    assert error["extensions"]["code"] == "OPERATION_NOT_ALLOWED"
    assert "data" not in result


@pytest.mark.parametrize("accept", [URQL_ACCEPT, "application/json, text/event-stream;q=0.9"])
async def test_an_answer_that_may_be_json_is_json(api: Api, accept: str) -> None:
    answer = await ask(api, "{ __typename }", accept)
    assert "json" in answer.headers["content-type"]
    assert answer.json() == {"data": {"__typename": "Query"}}


async def test_a_subscription_is_streamed_to_who_accepts_that_at_all(api: Api) -> None:
    run = await api.run("print('x')")
    answer = await ask(api, EVENTS, URQL_ACCEPT, id=run["id"])
    assert len(results(answer.text)) == 4


async def test_a_subscription_to_nothing_is_an_error(api: Api) -> None:
    [result] = results((await ask(api, EVENTS, "text/event-stream", id="nothing")).text)
    assert result["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_apollo_is_answered_in_parts(api: Api) -> None:
    run = await api.run("print('x')")
    answer = await ask(api, EVENTS, MULTIPART["Accept"], id=run["id"])
    assert answer.headers["content-type"].startswith('multipart/mixed; boundary="graphql"')
    before, *parts, after = answer.text.split("\r\n--graphql")
    assert (before, after) == ("", "--\r\n")
    bodies = [json.loads(part.partition("\r\n\r\n")[2]) for part in parts]
    found = [body["payload"]["data"]["executionEvents"]["sequence"] for body in bodies]
    assert found == [1, 2, 3, 4]


async def test_an_error_that_ends_a_multipart_stream_stands_beside_the_payload(api: Api) -> None:
    answer = await ask(api, EVENTS, MULTIPART["Accept"], id="nothing")
    body = json.loads(answer.text.split("\r\n--graphql")[1].partition("\r\n\r\n")[2])
    assert body["payload"] is None
    assert body["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_there_are_only_so_many_streams_and_a_closed_one_makes_room(
    api: Api, running: str
) -> None:
    async with events(api, running, 3), events(api, running, 3), events(api, running, 3):
        answer = await ask(api, EVENTS, "text/event-stream", id=running)
        assert answer.status_code == 503
        assert "too many subscribers" in answer.json()["errors"][0]["message"]
        assert (await ask(api, "{ __typename }", "application/json")).status_code == 200
    with anyio.fail_after(PATIENCE):
        # It takes the server a moment to notice that somebody has gone.
        while (await ask(api, "{ __typename }", "text/event-stream")).status_code != 200:
            pass


async def test_a_stopping_server_ends_its_streams(template: Path, tmp_path: Path) -> None:
    shutil.copy(template, tmp_path)
    query = 'subscription { sessionExecutions(sessionId: "any") { id } }'
    async with serving(tmp_path) as (server, api):
        body = {"query": query}
        async with api.http.stream("POST", "/graphql", json=body, headers=EVENT_STREAM) as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == ":"
            with anyio.fail_after(PATIENCE):
                assert await server.stop() == 0
                assert "event: complete" not in [line async for line in lines]
    assert not any("Traceback" in line or "Cancel" in line for line in server.log), server.log


async def test_whoever_reads_no_last_word_keeps_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_PATIENCE", 0.05)
    streams, sent = Streams(Room(in_all=1)), list[Message]()

    async def results() -> AsyncGenerator[Result, None]:
        yield {"data": None}

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            await anyio.sleep_forever()  # the client's buffer is full, and ours as well

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def shut_out(_: Caller) -> None:
        await anyio.sleep_forever()

    framing = FRAMINGS["text/event-stream"]
    response = StreamedResponse(framing, results(), streams, LOCAL, shut_out)
    with anyio.fail_after(PATIENCE):
        await response({"type": "http"}, receive, send)
    assert sent[-2]["body"] == framing.end
    with streams.enter():
        pass
