"""graphql-transport-ws over a real socket, as its specification has it, and as it is abused."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.processes.server import serving

from .client import PATIENCE, Api
from .socket import Socket, socket

EVENTS = """
subscription Events($id: ID!, $after: Int) {
  executionEvents(id: $id, after: $after) {
    __typename executionId sequence at
    ... on ExecutionStatusChanged { status }
    ... on ExecutionOutput { stream text base64 }
    ... on ExecutionFinished { execution { status stdout exitCode } }
  }
}
"""
SESSION = """
subscription Session($id: String!) { sessionExecutions(sessionId: $id) { id status stdout } }
"""
RUN = """
mutation Run($input: ExecuteCodeInput!) {
  executeCode(input: $input) { execution { id status stdout } errors { message } }
}
"""
PAUSED = "import time\nprint('up', flush=True)\ntime.sleep(60)"


@pytest.fixture(scope="module")
async def api(template: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("socket")
    shutil.copy(template, folder)
    # Shares are for owners and people, and where nobody is asked there are none.
    shares = {"max_subscribers_per_owner": 1, "max_subscribers_per_subject": 1}
    async with serving(folder, is_measured=True, drain=0.1, max_subscribers=20, **shares) as (
        server,
        api,
    ):
        yield api
        assert not any("Traceback" in line for line in server.log), server.log


@pytest.fixture
def port(api: Api) -> int:
    port = api.http.base_url.port
    assert port
    return port


@pytest.fixture
async def talk(port: int) -> AsyncIterator[Socket]:
    async with socket(port) as talk:
        yield talk


@pytest.fixture(scope="module")
async def ended(api: Api) -> str:
    """Return the id of an execution with five events."""
    # Unbuffered, as it is for who types, Python writes a line and its end one after the other.
    source = "import sys\nprint('one\\n', end='')\nsys.stdin.read()\nprint('two\\n', end='')"
    started = await api.run(source, interactive=True)
    id: str = started["id"]
    await api.until(id, lambda execution: execution["stdout"] == "one\n")
    await api.ask(
        "mutation End($id: ID!) { sendInput(input: { id: $id, eof: true }) { errors { code } } }",
        id=id,
    )
    assert (await api.end_of(id))["stdout"] == "one\ntwo\n"
    return id


@pytest.fixture
async def running(api: Api) -> AsyncIterator[str]:
    """Give the id of an execution that has spoken and goes on."""
    started = await api.run(PAUSED, waitMs=0)
    await api.until(started["id"], lambda execution: execution["stdout"] == "up\n")
    yield started["id"]
    await api.cancel(started["id"])


# --- The handshake -------------------------------------------------------------------------------


async def test_the_protocol_is_agreed_on(talk: Socket) -> None:
    assert talk.connection.subprotocol == "graphql-transport-ws"


@pytest.mark.parametrize("protocol", [None, "graphql-ws", "nonsense"])
async def test_another_protocol_is_not_spoken(port: int, protocol: str | None) -> None:
    chosen = None if protocol is None else Subprotocol(protocol)
    async with socket(port, protocol=chosen, greet=False) as talk:
        assert await talk.closed() == (4406, "Subprotocol not acceptable")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"]
)
async def test_a_page_of_strangers_does_not_get_in(port: int, origin: str) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with socket(port, additional_headers={"Origin": origin}, greet=False):
            pass
    assert refused.value.response.status_code == 403


async def test_a_page_of_ours_gets_in(port: int) -> None:
    headers = {"Origin": f"http://127.0.0.1:{port}"}
    async with socket(port, additional_headers=headers) as talk:
        assert await talk.is_open()


async def test_who_says_nothing_is_not_waited_for(port: int) -> None:
    async with socket(port, greet=False) as talk:
        assert await talk.closed() == (4408, "Connection initialisation timeout")


async def test_a_greeting_may_have_a_payload(port: int) -> None:
    async with socket(port, greet=False) as talk:
        await talk.send({"type": "connection_init", "payload": {"any": ["thing"]}})
        assert await talk.hear() == {"type": "connection_ack"}


async def test_greeting_twice_is_too_much(talk: Socket) -> None:
    await talk.send({"type": "connection_init"})
    assert await talk.closed() == (4429, "Too many initialisation requests")


async def test_nothing_is_answered_before_the_greeting(port: int) -> None:
    async with socket(port, greet=False) as talk:
        await talk.subscribe("1", "{ __typename }")
        assert await talk.closed() == (4401, "Unauthorized")


async def test_there_are_only_so_many_sockets(port: int) -> None:
    async with AsyncExitStack() as sockets:
        for _ in range(20):
            await sockets.enter_async_context(socket(port))
        async with socket(port, greet=False) as talk:
            assert (await talk.closed())[0] == 1013


# --- Messages that break the protocol ------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "nonsense",
        "",
        "[]",
        '"text"',
        "5",
        "null",
        "[" * 200_000,
        '{"type": NaN}',
        "{}",
        {"type": None},
        {"type": 5},
        {"type": ["subscribe"]},
        {"type": "start"},
        {"type": "connection_ack"},
        {"type": "ping", "payload": "text"},
        {"type": "ping", "payload": []},
        {"type": "pong", "payload": 5},
        {"type": "complete"},
        {"type": "complete", "id": 5},
        {"type": "subscribe"},
        {"type": "subscribe", "id": "1"},
        {"type": "subscribe", "payload": {"query": "{ __typename }"}},
        {"type": "subscribe", "id": "1", "payload": "text"},
        {"type": "subscribe", "id": "1", "payload": ["{ __typename }"]},
        {"type": "subscribe", "id": "1", "payload": {}},
        {"type": "subscribe", "id": "1", "payload": {"query": 5}},
    ],
    ids=lambda message: json.dumps(message)[:60],
)
async def test_a_message_that_is_none_closes_the_socket(talk: Socket, message: Any) -> None:
    await talk.send(message)
    code, reason = await talk.closed()
    assert code == 4400
    assert reason


@pytest.mark.parametrize("id", [1, 0, None, "", [], {}, True, "x" * 300], ids=repr)
async def test_an_id_must_be_a_short_string(talk: Socket, id: Any) -> None:
    await talk.subscribe(id, "{ __typename }")
    assert (await talk.closed())[0] == 4400


@pytest.mark.parametrize(
    "payload",
    [{"variables": []}, {"variables": "x"}, {"operationName": 5}, {"extensions": []}],
    ids=json.dumps,
)
async def test_the_parts_of_a_request_must_be_what_they_are(
    talk: Socket, payload: dict[str, Any]
) -> None:
    await talk.subscribe("1", "{ __typename }", **payload)
    assert (await talk.closed())[0] == 4400


@pytest.mark.parametrize("greet", [True, False])
async def test_bytes_are_no_text(port: int, greet: bool) -> None:  # noqa: FBT001
    async with socket(port, greet=greet) as talk:
        await talk.send(b'{"type": "ping"}')
        assert await talk.closed() == (4400, "Messages must be text")


async def test_a_message_that_is_too_long_is_not_read(talk: Socket) -> None:
    await talk.send({"type": "ping", "payload": {"text": "x" * 1024 * 1024}})
    assert (await talk.closed())[0] == 1009


async def test_a_long_message_is_read(talk: Socket) -> None:
    await talk.subscribe("1", "{ __typename }", variables={"unused": "x" * 1_000_000})
    assert await talk.results("1") == [{"data": {"__typename": "Query"}}]


async def test_a_message_of_many_values_is_not_read(talk: Socket) -> None:
    await talk.send("[" + "[]," * 300_000 + "[]]")
    assert await talk.closed() == (4400, "Messages must be JSON")


# --- Pings ---------------------------------------------------------------------------------------


async def test_a_ping_is_answered_with_what_it_carries(talk: Socket) -> None:
    await talk.send({"type": "ping", "payload": {"number": 1}})
    assert await talk.hear() == {"type": "pong", "payload": {"number": 1}}


async def test_pings_are_answered_before_the_greeting(port: int) -> None:
    async with socket(port, greet=False) as talk:
        assert await talk.is_open()
        await talk.greet()


async def test_a_pong_that_nobody_asked_for_does_no_harm(talk: Socket) -> None:
    await talk.send({"type": "pong"})
    assert await talk.is_open()


# --- Operations ----------------------------------------------------------------------------------


async def test_queries_and_mutations_are_answered_too(talk: Socket) -> None:
    await talk.subscribe("1", "{ limits { __typename } __typename }")
    [answer] = await talk.results("1")
    assert answer["data"]["__typename"] == "Query"
    variables = {"input": {"language": "PYTHON", "source": "print(6 * 7)"}}
    await talk.subscribe("2", RUN, variables=variables, operationName="Run", extensions={})
    [answer] = await talk.results("2")
    assert answer["data"]["executeCode"]["execution"]["stdout"] == "42\n"


@pytest.mark.parametrize(
    ("query", "payload", "said"),
    [
        ("{", {}, "Syntax Error"),
        ("{ 1a }", {}, "Syntax Error"),
        ("{ nothing }", {}, "Cannot query field 'nothing'"),
        ("subscription { nothing }", {}, "Cannot query field 'nothing'"),
        ("query A { __typename } query B { __typename }", {}, "several operations"),
        ("{ __typename }", {"operationName": "Other"}, "no operation named `Other`"),
        ("fragment F on Query { __typename }", {}, "several operations or none"),
        (EVENTS, {}, "Variable '$id'"),
        (EVENTS, {"variables": {"id": ["x"]}}, "Variable '$id' has invalid value"),
        ("{ " + "a: __typename " * 1000 + "}", {}, "tokens"),
        ("{" * 500, {}, "Syntax Error"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_wrong_document_is_an_error_of_its_operation_alone(
    talk: Socket, query: str, payload: dict[str, Any], said: str
) -> None:
    await talk.subscribe("wrong", query, **payload)
    assert said in await talk.error("wrong")
    await talk.subscribe("wrong", "{ __typename }")  # the id is free again
    assert await talk.results("wrong") == [{"data": {"__typename": "Query"}}]


async def test_an_id_in_use_is_not_given_twice(talk: Socket, running: str) -> None:
    await talk.subscribe("1", EVENTS, variables={"id": running})
    assert (await talk.hear())["type"] == "next"
    await talk.subscribe("1", EVENTS, variables={"id": running})
    assert await talk.closed() == (4409, "Subscriber for 1 already exists")


async def test_a_client_that_has_heard_enough_may_use_the_id_again(
    talk: Socket, running: str
) -> None:
    await talk.subscribe("1", EVENTS, variables={"id": running, "after": 3})
    await talk.send({"type": "complete", "id": "1"})
    await talk.subscribe("1", "{ __typename }")
    assert await talk.results("1") == [{"data": {"__typename": "Query"}}]


async def test_the_end_of_what_is_not_there_is_no_matter(talk: Socket) -> None:
    await talk.send({"type": "complete", "id": "nothing"})
    assert await talk.is_open()


async def test_one_socket_has_only_so_many_operations(talk: Socket, running: str) -> None:
    for number in range(100):
        variables = {"id": running, "after": 3}
        await talk.subscribe(str(number), EVENTS, variables=variables)
    await talk.subscribe("one too many", "{ __typename }")
    assert "At most 100" in await talk.error("one too many")
    await talk.send({"type": "complete", "id": "7"})
    await talk.subscribe("7", "{ __typename }")
    assert await talk.results("7") == [{"data": {"__typename": "Query"}}]


async def test_operations_go_on_beside_each_other(talk: Socket, running: str, api: Api) -> None:
    await talk.subscribe("events", EVENTS, variables={"id": running, "after": 3})
    await talk.subscribe("query", "{ __typename }")
    assert await talk.results("query") == [{"data": {"__typename": "Query"}}]
    await api.cancel(running)
    [event] = await talk.results("events")
    assert event["data"]["executionEvents"]["execution"]["status"] == "CANCELLED"


async def test_each_operation_loads_for_itself(talk: Socket, running: str, api: Api) -> None:
    query = "query Q($id: ID!) { execution(id: $id) { status stdout rerunOf { id } } }"
    await talk.subscribe("1", query, variables={"id": running})
    [before] = await talk.results("1")
    await api.cancel(running)
    await talk.subscribe("2", query, variables={"id": running})
    [after] = await talk.results("2")
    assert before["data"]["execution"]["status"] == "RUNNING"
    assert after["data"]["execution"]["status"] == "CANCELLED"


# --- What is heard -------------------------------------------------------------------------------


async def test_events_come_in_order_to_the_end(talk: Socket, ended: str) -> None:
    await talk.subscribe("1", EVENTS, variables={"id": ended})
    events = [each["data"]["executionEvents"] for each in await talk.results("1")]
    assert [event["sequence"] for event in events] == [1, 2, 3, 4, 5]
    assert [event.get("status") for event in events[:2]] == ["QUEUED", "RUNNING"]
    assert [event.get("text") for event in events[2:4]] == ["one\n", "two\n"]
    assert [event.get("base64") for event in events[2:4]] == ["b25lCg==", "dHdvCg=="]
    assert events[4]["execution"] == {"status": "SUCCEEDED", "stdout": "one\ntwo\n", "exitCode": 0}
    assert {event["executionId"] for event in events} == {ended}


@pytest.mark.parametrize(("after", "expected"), [(0, 5), (3, 2), (4, 1), (5, 0), (99, 0)])
async def test_who_comes_back_hears_the_rest(
    talk: Socket, ended: str, after: int, expected: int
) -> None:
    await talk.subscribe("1", EVENTS, variables={"id": ended, "after": after})
    assert len(await talk.results("1")) == expected


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"id": "nonsense"}, "There is no execution with this id."),
        ({"id": "RXhlY3V0aW9uOjAxOTAwMDAwLTAwMDAtNzAwMC04MDAwLTAwMDAwMDAwMDAwMA=="}, "no exec"),
        ({"id": "x", "after": -1}, "`after` must be 0 or the number of an event, not -1."),
    ],
    ids=json.dumps,
)
async def test_what_cannot_be_followed_is_an_error(
    talk: Socket, variables: dict[str, Any], said: str
) -> None:
    await talk.subscribe("1", EVENTS, variables=variables)
    assert said in await talk.error("1")
    assert await talk.is_open()


async def test_an_erased_execution_ends_its_subscription(
    talk: Socket, api: Api, running: str
) -> None:
    await talk.subscribe("1", EVENTS, variables={"id": running, "after": 3})
    erase = "mutation E($id: ID!) { deleteExecutions(input: { ids: [$id] }) { deletedCount } }"
    assert (await api.ask(erase, id=running))["deleteExecutions"]["deletedCount"] == 1
    last = await talk.hear()
    if last["type"] == "next":  # it was stopped before it was erased
        last = await talk.hear()
    assert last["type"] in {"complete", "error"}


async def test_an_interviewer_sees_what_a_session_does(talk: Socket, api: Api) -> None:
    await talk.subscribe("1", SESSION, variables={"id": "interview"})
    await talk.is_open()
    run = await api.run("print('seen')", sessionId="interview")
    await api.run("print('not seen')", sessionId="another")
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["status"] != "SUCCEEDED":
        seen.append((await talk.hear())["payload"]["data"]["sessionExecutions"])
    assert {each["id"] for each in seen} == {run["id"]}
    assert seen[-1]["stdout"] == "seen\n"  # and not what was loaded for the event before


async def test_a_session_with_an_impossible_name_is_an_error(talk: Socket) -> None:
    await talk.subscribe("1", SESSION, variables={"id": "a\0b"})
    assert "without NUL" in await talk.error("1")


async def test_who_does_not_read_holds_up_nobody(port: int, api: Api) -> None:
    """Sockets that are never read, while a program writes more than any buffer holds."""
    flood = "import sys\nfor _ in range(60): sys.stdout.write('x' * 65_000)"
    started = await api.run(flood, limits={"outputBytes": "8388608"}, waitMs=0)
    asked = {"id": started["id"]}
    async with AsyncExitStack() as sockets:
        for _ in range(10):
            deaf = await sockets.enter_async_context(socket(port, max_queue=1))
            sockets.callback(deaf.connection.transport.abort)
            await deaf.subscribe("1", EVENTS, variables=asked)
        async with socket(port) as reader:
            await reader.subscribe("1", EVENTS, variables=asked)
            events = [each["data"]["executionEvents"] for each in await reader.results("1")]
    assert len("".join(event.get("text", "") for event in events)) == 60 * 65_000
    assert [event["sequence"] for event in events] == [*range(1, len(events) + 1)]
    assert (await api.http.get("/healthz")).status_code == 200


async def test_a_client_that_goes_away_leaves_the_program_alone(
    port: int, api: Api, running: str
) -> None:
    async with socket(port) as talk:
        await talk.subscribe("1", EVENTS, variables={"id": running})
        assert (await talk.hear())["type"] == "next"
        talk.connection.transport.abort()
    with anyio.fail_after(PATIENCE):
        assert (await api.look(running))["status"] == "RUNNING"


async def test_a_stopping_server_says_good_bye(template: Path, tmp_path: Path) -> None:
    shutil.copy(template, tmp_path)
    async with serving(tmp_path) as (server, api):
        port = api.http.base_url.port
        assert port
        async with socket(port) as talk:
            await talk.subscribe("1", SESSION, variables={"id": "any"})
            assert await talk.is_open()
            with anyio.fail_after(PATIENCE):
                assert await server.stop() == 0
            with pytest.raises(ConnectionClosed) as closed:
                await talk.connection.recv()
    assert closed.value.rcvd
    assert closed.value.rcvd.code in {1001, 1012}
    assert not any("Traceback" in line or "Cancel" in line for line in server.log), server.log
