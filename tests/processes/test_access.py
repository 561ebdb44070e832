"""Keys from the command line, and doors that close on who is inside: real servers and sockets."""

import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.storage.store import Store
from tests.api.callers import SECRET, new_key, token, with_token
from tests.api.client import PATIENCE, Api, Json
from tests.api.socket import Socket, socket

from .server import greenroom, serving

EVENTS = "subscription E($id: ID!) { executionEvents(id: $id) { __typename sequence } }"
SESSION = 'subscription { sessionExecutions(sessionId: "interview-1") { id status } }'
LONG = "import time\nprint('up', flush=True)\ntime.sleep(60)"
QUOTED = "a secret that only keys and logs could give away"


async def keys(folder: Path, *arguments: str, is_measured: bool = False) -> str:
    """Run a command that must work, and return what it prints."""
    ended = await anyio.to_thread.run_sync(
        lambda: greenroom("keys", *arguments, folder=folder, is_measured=is_measured)
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


async def create(folder: Path, *arguments: str, is_measured: bool = False) -> str:
    named = ("create", "--name", "test", *arguments)
    return (await keys(folder, *named, is_measured=is_measured)).strip()


@pytest.fixture(scope="module")
async def guarded(
    migrated: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Path, Api]]:
    """Return the folder of a server that many tests share, and a client that comes to it."""
    folder = tmp_path_factory.mktemp("guarded")
    shutil.copy(migrated, folder)
    async with serving(folder, is_measured=True, drain=0.1, jwt_secret=SECRET) as (_, api):
        yield folder, api


@pytest.fixture
async def key(guarded: tuple[Path, Api]) -> str:
    """Make a key for that server."""
    folder, _ = guarded
    store = Store(f"sqlite:///{folder / 'greenroom.db'}")
    try:
        return (await new_key(store, "acme")).text.get_secret_value()
    finally:
        await store.close()


@pytest.fixture
def api(guarded: tuple[Path, Api], key: str) -> Api:
    return with_token(guarded[1], key)


def port_of(api: Api) -> int:
    port = api.http.base_url.port
    assert port
    return port


async def greet(talk: Socket, credential: str | None, name: str = "authorization") -> None:
    payload = {} if credential is None else {name: f"Bearer {credential}"}
    await talk.send({"type": "connection_init", "payload": payload})


def secret_of(key: str) -> str:
    """Return what follows the prefix; it may have a `_` of its own."""
    return key.split("_", 2)[2]


async def test_a_key_is_shown_once_and_nowhere_else(folder: Path) -> None:
    more = ("--owner", "acme", "--role", "admin", "--expires", "30")
    key = await create(folder, *more, is_measured=True)
    listed = await keys(folder, "list", "--json")
    [entry] = json.loads(listed)
    assert key.startswith(entry["prefix"])
    assert (entry["owner"], entry["role"], entry["revoked_at"]) == ("acme", "ADMIN", None)
    secret = secret_of(key)
    assert key not in listed
    assert secret.encode() not in await anyio.Path(folder, "greenroom.db").read_bytes()
    table = await keys(folder, "list", is_measured=True)
    assert entry["prefix"] in table
    assert secret not in table


async def test_a_key_as_json_is_for_scripts(folder: Path) -> None:
    made = json.loads(await create(folder, "--json"))
    assert made["key"].startswith(made["prefix"])
    assert made["owner"] == "local"


async def test_what_is_no_key_cannot_be_revoked_and_what_is_no_owner_has_none(
    folder: Path,
) -> None:
    def refused(*arguments: str) -> str:
        ended = greenroom("keys", *arguments, folder=folder)
        assert ended.returncode == 1
        return ended.stderr

    assert "keys list" in await anyio.to_thread.run_sync(refused, "revoke", "grk_nothing")
    said = await anyio.to_thread.run_sync(refused, "create", "--name", "x", "--owner", "a b")
    assert "owner" in said


async def test_with_a_key_a_server_listens_to_others_and_asks_them(folder: Path) -> None:
    key = await create(folder)
    async with serving(folder, "--host", "0.0.0.0") as (server, api):
        assert "for keys and tokens" in await server.says("doors")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port_of(api)}") as http:
            assert (await Api(http).post("{ __typename }")).status_code == 401
            assert (await Api(http, key).post("{ viewer { owner } }")).status_code == 200


async def test_a_revoked_key_opens_nothing_and_closes_what_it_had_opened(
    guarded: tuple[Path, Api], api: Api, key: str
) -> None:
    folder, _ = guarded
    run = await api.run(LONG, waitMs=0)
    async with (
        socket(port_of(api), greet=False) as talk,
        socket(port_of(api), greet=False) as other,
    ):
        await greet(talk, key)
        await greet(other, token(owner="acme"))
        for each in (talk, other):
            assert await each.hear() == {"type": "connection_ack"}
        await talk.subscribe("1", EVENTS, variables={"id": run["id"]})
        assert (await talk.hear())["type"] == "next"
        stream = await begin(api, run["id"])
        await keys(folder, "revoke", key[:16], is_measured=True)
        assert await talk.closed() == (4403, "API key revoked")
        with anyio.fail_after(PATIENCE):
            await stream.aread()
        assert (await api.post("{ __typename }")).status_code == 401
        assert await other.is_open()
    await with_token(api, token(owner="acme", role="SERVICE", session_id=None)).cancel(run["id"])


async def begin(api: Api, id: str) -> httpx.Response:
    """Follow an execution over server-sent events, up to the first."""
    body = {"query": EVENTS, "variables": {"id": id}}
    request = api.http.build_request(
        "POST", "/graphql", json=body, headers={"accept": "text/event-stream", **api.headers}
    )
    response = await api.http.send(request, stream=True)
    assert response.status_code == 200
    return response


async def test_a_socket_ends_with_its_token(api: Api) -> None:
    # Clocks may differ by 30 s, so it ends by its own time all the same.
    brief = token(exp=datetime.now(UTC) + timedelta(seconds=2))
    async with socket(port_of(api), greet=False) as talk:
        await greet(talk, brief)
        assert await talk.hear() == {"type": "connection_ack"}
        await talk.subscribe("1", SESSION)
        assert await talk.closed() == (4403, "Key or access token expired")


WRONG: dict[str, Callable[[], str | None]] = {
    "none": lambda: None,
    "empty": str,
    "nonsense": lambda: "nonsense",
    "another secret": lambda: token(secret="x" * 40),
    "a role that no token has": lambda: token(role="ADMIN"),
}


@pytest.mark.parametrize("credential", WRONG.values(), ids=WRONG.keys())
async def test_a_socket_without_a_good_credential_is_closed(
    api: Api, credential: Callable[[], str | None]
) -> None:
    async with socket(port_of(api), greet=False) as talk:
        await greet(talk, credential())
        code, reason = await talk.closed()
        assert code == 4403
        assert reason


@pytest.mark.parametrize("name", ["authorization", "Authorization"])
async def test_a_socket_says_who_it_is_in_its_first_message(api: Api, name: str) -> None:
    async with socket(port_of(api), greet=False) as talk:
        await greet(talk, token(), name)
        assert await talk.hear() == {"type": "connection_ack"}
        await talk.subscribe("1", "{ viewer { subject sessionId } }")
        [result] = await talk.results("1")
        assert result["data"]["viewer"] == {"subject": "ada", "sessionId": "interview-1"}


async def test_who_can_send_headers_may_say_it_there(api: Api, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with socket(port_of(api), additional_headers=headers) as talk:
        await talk.subscribe("1", "{ viewer { role } }")
        [result] = await talk.results("1")
        assert result["data"]["viewer"] == {"role": "SERVICE"}


async def test_a_stolen_token_opens_no_other_session(api: Api) -> None:
    run = await api.run("print(1)", sessionId="interview-1")
    async with socket(port_of(api), greet=False) as talk:
        await greet(talk, token(session_id="interview-2"))
        assert await talk.hear() == {"type": "connection_ack"}
        await talk.subscribe("1", SESSION)
        assert "interview-2" in await talk.error("1")
        await talk.subscribe("2", EVENTS, variables={"id": run["id"]})
        assert await talk.error("2") == "There is no execution with this id."
        await talk.subscribe("3", EVENTS, variables={"id": "nothing"})
        assert await talk.error("3") == "There is no execution with this id."


async def test_another_tenant_s_token_opens_no_stream(api: Api) -> None:
    run = await api.run("print(1)", sessionId="interview-1")
    async with socket(port_of(api), greet=False) as talk:
        await greet(talk, token(owner="umbrella"))
        assert await talk.hear() == {"type": "connection_ack"}
        await talk.subscribe("1", EVENTS, variables={"id": run["id"]})
        assert await talk.error("1") == "There is no execution with this id."
        await talk.subscribe("2", SESSION)
        await api.run("print(2)", sessionId="interview-1")
        # What the other tenant's session hears of comes first, if it hears of anything.
        await talk.send({"type": "complete", "id": "2"})
        assert await talk.is_open()


async def test_operations_of_a_socket_are_counted_too(folder: Path) -> None:
    limits: dict[str, Any] = {"rate_requests_per_subject": "2/hour"}
    async with (
        serving(folder, jwt_secret=SECRET, **limits) as (_, api),
        socket(port_of(api), greet=False) as talk,
    ):
        await greet(talk, token())
        assert await talk.hear() == {"type": "connection_ack"}
        for id in ("1", "2"):
            await talk.subscribe(id, "{ viewer { subject } }")
            assert len(await talk.results(id)) == 1
        await talk.subscribe("3", "{ viewer { subject } }")
        message = await talk.hear()
        assert message["payload"][0]["extensions"]["code"] == "RATE_LIMITED"


async def test_one_person_and_one_owner_have_their_share_of_subscribers(folder: Path) -> None:
    room: dict[str, Any] = {"max_subscribers_per_subject": 1, "max_subscribers_per_owner": 2}
    async with serving(folder, jwt_secret=SECRET, **room) as (_, api):
        port = port_of(api)

        async def welcome(talk: Socket, owner: str, subject: str) -> Json | tuple[int, str]:
            await greet(talk, token(owner, subject))
            try:
                return await talk.hear()
            except ConnectionClosed:
                return await talk.closed()

        ack = {"type": "connection_ack"}
        async with AsyncExitStack() as sockets:
            talks = [await sockets.enter_async_context(socket(port, greet=False)) for _ in range(5)]
            first, again, other, third, foreign = talks
            assert await welcome(first, "acme", "ada") == ack
            assert await welcome(again, "acme", "ada") == (
                1013,
                "You have too many subscriptions open: at most 1. Try again later.",
            )
            assert await welcome(other, "acme", "bob") == ack
            assert await welcome(third, "acme", "eve") == (
                1013,
                "Your owner has too many subscribers: at most 2. Try again later.",
            )
            assert await welcome(foreign, "umbrella", "ada") == ack
            stream = await with_token(api, token("acme", "ada")).http.post(
                "/graphql",
                json={"query": SESSION},
                headers={"accept": "text/event-stream", "authorization": f"Bearer {token()}"},
            )
            assert stream.status_code == 503
            assert stream.json()["errors"][0]["extensions"]["code"] == "TOO_MANY_SUBSCRIBERS"
        async with socket(port, greet=False) as talk:  # the places of who has left are free
            assert await welcome(talk, "acme", "ada") == ack


async def test_no_log_and_no_table_has_a_secret(folder: Path) -> None:
    key = await create(folder)
    program = f"print({QUOTED!r})"
    async with serving(folder, jwt_secret=SECRET, log_level="debug") as (server, api):
        with_key = with_token(api, key)
        given = token(session_id="interview-1")
        await with_key.run(program, stdin=QUOTED)
        await with_token(api, given).post("{ viewer { subject } }")
        for wrong in (key[:-1], given[:-1], "nonsense"):
            await with_token(api, wrong).post("{ viewer { subject } }")
        made = await with_key.ask(
            """mutation { createAccessToken(input: {
            role: CANDIDATE, sessionId: "s", subject: "a" }) { accessToken } }"""
        )
        assert await server.stop() == 0
    kept = await anyio.Path(folder, "greenroom.db").read_bytes()
    secrets = (key, secret_of(key), SECRET, given, made["createAccessToken"]["accessToken"])
    for secret in secrets:
        assert secret.encode() not in kept
        assert secret not in "\n".join(server.log)
    assert QUOTED not in "\n".join(server.log)


async def test_sockets_of_strangers_are_counted_before_they_are_let_in(folder: Path) -> None:
    limits: dict[str, Any] = {"rate_requests_per_address": "2/hour"}
    async with serving(folder, jwt_secret=SECRET, **limits) as (_, api):
        port = port_of(api)
        async with socket(port, greet=False), socket(port, greet=False):
            with pytest.raises(InvalidStatus, match="403"):
                async with socket(port, greet=False):
                    pass
