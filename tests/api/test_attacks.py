"""Attacks on the served API, after graphql-cop's list and OWASP's sheet: each is refused by name.

What they cost others is measured by `benchmarks.attacks`.
"""

import json
import shutil
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.abc import SocketAttribute
from graphql import get_introspection_query

from tests.processes.server import Server, serving

from .client import JSON, PATIENCE, Api
from .socket import socket

SPREADS = "".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }} " for n in range(30))
HEADERS = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
async def served(
    template: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Server, Api]]:
    folder = tmp_path_factory.mktemp("attacked")
    shutil.copy(template, folder)
    async with serving(folder, body_time=0.5, max_subscribers=30) as (server, api):
        yield server, api
        assert not any("Traceback" in line or "reference" in line for line in server.log)


@pytest.fixture
def api(served: tuple[Server, Api]) -> Api:
    return served[1]


@pytest.fixture(autouse=True)
async def goes_on(api: Api) -> AsyncIterator[None]:
    """After each attack, a good client is served as ever."""
    yield
    assert await api.ask("{ __typename }") == {"__typename": "Query"}


@pytest.fixture
def port(api: Api) -> int:
    port = api.http.base_url.port
    assert port
    return port


def nested(field: str, depth: int, inner: str) -> str:
    for _ in range(depth):
        inner = f"{field} {{ {inner} }}"
    return inner


def documents() -> Iterator[tuple[str, str, str]]:
    """Yield attacks by their names, with the code of the refusal."""
    bomb = f"{{ ...f0 }} {SPREADS}"
    yield "fragment bomb", f"{bomb} fragment f30 on Query {{ __typename }}", "TOO_MANY_ALIASES"
    wide = bomb.replace("...f", "... { ...f").replace(" }", " } }")
    yield "bomb of inline fragments", wide, "GRAPHQL_PARSE_FAILED"
    aliases = " ".join(f"a{n}: __typename" for n in range(101))
    yield "alias overloading", f"{{ {aliases} }}", "TOO_MANY_ALIASES"
    yield "field duplication", f"{{ {'__typename ' * 500} }}", "TOO_MANY_ALIASES"
    yield "duplication below", f"{{ health {{ {'status ' * 500} }} }}", "TOO_MANY_ALIASES"
    yield "width", f"{{ {' '.join(f'q{n}' for n in range(400))} }}", "TOO_MANY_ROOT_FIELDS"
    yield "directive overloading", f"{{ __typename {'@aa ' * 50} }}", "TOO_MANY_DIRECTIVES"
    yield "some directives", f"{{ __typename {'@aa' * 10} }}", "GRAPHQL_VALIDATION_FAILED"
    yield (
        "errors",
        f"{{ health {{ {' '.join(f'q{n}' for n in range(300))} }} }}",
        "GRAPHQL_VALIDATION_FAILED",
    )
    yield "tokens", f"{{ health {{ {'a b c ' * 400} }} }}", "TOO_MANY_TOKENS"
    yield "a long document", f"{{ __typename }} #{'x' * 40_000}", "DOCUMENT_TOO_LONG"
    loop = nested("rerunOf", 20, "id")
    yield "depth", f'{{ execution(id: "x") {{ {loop} }} }}', "TOO_DEEP"
    yield "abyss", "{a" * 5000 + "}" * 5000, "TOO_DEEP"
    yield "abyss of lists", f"{{ a(b: {'[' * 400}", "TOO_DEEP"
    yield (
        "introspection in circles",
        "{ __schema { types { fields { type { fields { name } } } } } }",
        "TOO_DEEP",
    )
    schemas = " ".join(f"s{n}: __schema {{ types {{ name }} }}" for n in range(31))
    yield "introspection again and again", f"{{ {schemas} }}", "TOO_MANY_ALIASES"
    pages = "nodes { events(first: 1000) { sequence at } }"
    yield "pages of pages", f"{{ executions(first: 100) {{ {pages} }} }}", "TOO_COSTLY"
    yield (
        "cycle",
        "{ ...f } fragment f on Query { ...g } fragment g on Query { ...f }",
        "GRAPHQL_VALIDATION_FAILED",
    )
    yield "half a character", '{ node(id: "\ud800") { id } } \ud800', "GRAPHQL_PARSE_FAILED"


@pytest.mark.parametrize(("name", "text", "code"), [*documents()], ids=lambda each: each[:30])
async def test_a_document_that_attacks_is_refused(
    api: Api, name: str, text: str, code: str
) -> None:
    response = await api.post(text)
    assert response.status_code == 200
    answer = response.json()
    assert {error["extensions"]["code"] for error in answer["errors"]} == {code}
    assert "data" not in answer
    assert len(answer["errors"]) <= 8
    assert len(response.content) < 5000
    strict = await api.http.post(
        "/graphql",
        content=json.dumps({"query": text}),
        headers={**JSON, "Accept": "application/graphql-response+json"},
    )
    assert strict.status_code == 400


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("batching", b'[{"query": "{ __typename }"}]', 400),
        ("invalid UTF-8", b'{"query": "{ __typename }\xff"}', 400),
        ("deep JSON", b'{"query": "{ __typename }", "variables": {"a":' + b"[" * 200_000, 400),
        ("millions of values", b"[" + b"[]," * 2_000_000 + b"[]]", 400),
        ("millions of texts", b"[" + b'"",' * 2_000_000 + b'""]', 400),
        ("a text without end", b'"' + b'\\"' * 3_000_000, 400),
        ("a number without end", b'{"variables": {"a": ' + b"9" * 5_000_000 + b"}}", 400),
        ("a huge body", b" " * (9 * 2**20), 413),
        (
            "a huge variable",
            json.dumps({"query": "{ a }", "variables": {"a": "x" * 9 * 2**20}}).encode(),
            413,
        ),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_a_body_that_attacks_is_refused(
    api: Api, name: str, body: bytes, status: int
) -> None:
    response = await api.http.post("/graphql", content=body, headers=JSON)
    assert response.status_code == status
    [error] = response.json()["errors"]
    assert error["extensions"]["code"] in {"BAD_REQUEST", "BODY_TOO_LARGE"}


async def test_a_value_that_is_no_text_is_quoted_as_it_came(api: Api) -> None:
    query = "query($n: Int) { executions(first: $n) { totalCount } }"
    error = await api.fail(query, n="\ud800")
    assert "ud800" in error["message"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def answer(port: int, *parts: bytes) -> bytes:
    """Send parts of a request and nothing more; return what the server says until it hangs up."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        for part in parts:
            await stream.send(part)
        received = b""
        with anyio.fail_after(PATIENCE):
            async for chunk in stream:
                received += chunk
    return received


async def test_whoever_sends_too_much_hears_so_before_the_line_is_cut(port: int) -> None:
    size = 12 * 2**20  # four more than are read
    for _ in range(20):
        said = await answer(port, HEADERS + b"Content-Length: %d\r\n\r\n" % size, b" " * size)
        assert b" 413 " in said.splitlines()[0]
        assert said.endswith(b"}")


async def test_whoever_sends_too_much_and_hangs_up_leaves_no_trace_in_the_log(port: int) -> None:
    """See `served`: nothing that went wrong may stand there."""
    at_once = struct.pack("ii", 1, 0)
    for size in range(7 * 2**20, 10 * 2**20, 2**18):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            plain = stream.extra(SocketAttribute.raw_socket)
            plain.setsockopt(SOL_SOCKET, SO_LINGER, at_once)
            with suppress(anyio.BrokenResourceError):
                await stream.send(HEADERS + b"Content-Length: %d\r\n\r\n" % (12 * 2**20))
                await stream.send(b" " * size)


@pytest.mark.parametrize("length", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
async def test_a_body_that_does_not_come_is_not_waited_for(port: int, length: bytes) -> None:
    said = await answer(port, HEADERS + length + b"\r\n\r\n", b"2\r\n{}\r\n")
    head, _, body = said.partition(b"\r\n\r\n")
    assert b" 408 " in head.splitlines()[0]
    assert json.loads(body)["errors"][0]["extensions"]["code"] == "BODY_TIMEOUT"


async def test_a_body_that_drips_is_not_waited_for(port: int) -> None:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(HEADERS + b"Content-Length: 100000\r\n\r\n")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drip, stream)
            with anyio.fail_after(PATIENCE):
                assert b" 408 " in await stream.receive()
            tasks.cancel_scope.cancel()


async def drip(stream: anyio.abc.SocketStream) -> None:
    while True:
        await stream.send(b" ")
        await anyio.sleep(0.05)


async def test_many_slow_bodies_hold_up_nobody(port: int, api: Api) -> None:
    async with AsyncExitStack() as streams:
        for _ in range(200):
            stream = await streams.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
            await stream.send(HEADERS + b"Content-Length: 1000\r\n\r\n{")
        execution = await api.run("print(1)")
        assert execution["stdout"] == "1\n"


async def test_a_flood_of_sockets_is_bounded(port: int, api: Api) -> None:
    async with AsyncExitStack() as sockets:
        opened = [await sockets.enter_async_context(socket(port, greet=False)) for _ in range(60)]
        codes = [(await each.closed())[0] for each in opened]
        assert await api.ask("{ __typename }") == {"__typename": "Query"}
    assert codes.count(1013) == 30
    assert codes.count(4408) == 30


async def test_a_flood_of_messages_is_answered_one_by_one(port: int, api: Api) -> None:
    async with socket(port) as flooding:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send_many, flooding, 2000)
            for _ in range(5):
                assert await api.ask("{ __typename }") == {"__typename": "Query"}
            ended = 0
            while ended < 2000:
                ended += (await flooding.hear())["type"] in {"complete", "error"}
        assert await flooding.is_open()


async def send_many(flooding: Any, amount: int) -> None:
    for number in range(amount):
        await flooding.subscribe(str(number), "{ __typename }")


async def test_a_flood_of_attacks_leaves_a_good_client_alone(api: Api) -> None:
    texts = [text for _, text, _ in documents()]

    async def attack() -> None:
        while True:
            for text in texts:
                await api.post(text)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(attack)
        for _ in range(5):
            assert (await api.run("print(1)"))["stdout"] == "1\n"
        tasks.cancel_scope.cancel()


async def test_memory_does_not_grow_with_attacks(served: tuple[Server, Api]) -> None:
    server, api = served
    before = resident(server.pid)
    for number in range(600):
        await api.post(f"{{ a{number}: __typename health {{ {'... { __typename }' * 20} }} }}")
        await api.post(f"{{ q{number} }}")
    assert resident(server.pid) - before < 50 * 2**20


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


async def test_tools_can_still_read_the_schema(api: Api) -> None:
    assert (await api.ask(get_introspection_query()))["__schema"]["types"]


async def test_production_gives_nothing_away(template: Path, tmp_path: Path) -> None:
    shutil.copy(template, tmp_path)
    async with serving(tmp_path, production=1, graphiql=True, introspection=True) as (_, api):
        error = await api.fail(get_introspection_query())
        assert error["extensions"] == {"code": "INTROSPECTION_DISABLED"}
        for text in (
            "{ healt { status } }",
            "{ executions(filter: { statusIn: [FAILE] }) { __typename } }",
        ):
            assert "mean" not in (await api.fail(text))["message"]
        mistyped = "query($f: ExecutionFilter) { executions(filter: $f) { totalCount } }"
        values: list[Any] = [{"statusIn": ["FAILE"]}, {"statuIn": []}]
        for value in values:
            assert "mean" not in (await api.fail(mistyped, f=value))["message"]
        page = await api.http.get("/graphql", headers={"Accept": "text/html"})
        assert page.status_code == 404
        assert (await api.run("print(1)"))["stdout"] == "1\n"
