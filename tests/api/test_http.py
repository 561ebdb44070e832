"""GraphQL over HTTP, as the specification wants it; whatever is odd gets a sane answer in JSON."""

import gc
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from app.api.page import GraphiQLFiles, graphiql_page
from app.api.requests import JSON_TYPE, RESPONSE_TYPE
from app.domain.execution import Exit
from app.domain.ports import Emit

from .client import JSON, Api, Json
from .conftest import Open
from .fake import SUCCESS, FakeExecutor, says

QUERY = "{ health { status } }"
ANSWER = {"data": {"health": {"status": "OK"}}}
MUTATION = 'mutation { cancelExecution(input: { id: "x" }) { errors { code } } }'
TWO = "query A { a: __typename } query B { b: __typename }"


@pytest.fixture
async def http(open_api: Open) -> AsyncIterator[httpx.AsyncClient]:
    async with open_api(FakeExecutor(), max_body=100_000) as api:
        yield api.http


async def post(http: httpx.AsyncClient, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.post("/graphql", content=content, headers={**JSON, **names})


def is_error(response: httpx.Response, status: int) -> bool:
    """Whether this is an answer in JSON that has errors, no data, and no trace of our code."""
    body = response.json()
    assert response.status_code == status, response.text
    assert response.headers["content-type"].endswith("json; charset=utf-8")
    assert "Traceback" not in response.text
    return set(body) == {"errors"} and all(error["message"] for error in body["errors"])


async def test_a_query_is_answered(http: httpx.AsyncClient) -> None:
    response = await post(http, {"query": QUERY})
    assert (response.status_code, response.json()) == (200, ANSWER)
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert "Accept" in response.headers["vary"]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", JSON_TYPE),
        ("*/*", JSON_TYPE),
        ("application/*", JSON_TYPE),
        (JSON_TYPE, JSON_TYPE),
        (RESPONSE_TYPE, RESPONSE_TYPE),
        (f"{RESPONSE_TYPE}; charset=utf-8", RESPONSE_TYPE),
        (f"{RESPONSE_TYPE},{JSON_TYPE};q=0.9", RESPONSE_TYPE),  # Apollo
        (f"{RESPONSE_TYPE}, application/graphql+json, text/event-stream", RESPONSE_TYPE),  # urql
        (f"{JSON_TYPE}, {RESPONSE_TYPE}", JSON_TYPE),
        (f"{JSON_TYPE};q=0.5, {RESPONSE_TYPE};q=0.6", RESPONSE_TYPE),
        ("APPLICATION/JSON", JSON_TYPE),
        (f"text/html;q=0.9, {JSON_TYPE}", JSON_TYPE),
        (",, ;q=1 ,*/*;q=0.1", JSON_TYPE),
        (f"{JSON_TYPE};q=nonsense, {RESPONSE_TYPE}", RESPONSE_TYPE),
    ],
)
async def test_the_answer_has_the_type_that_is_wanted_most(
    http: httpx.AsyncClient, accept: str, kind: str
) -> None:
    response = await post(http, {"query": QUERY}, accept=accept)
    assert response.headers["content-type"] == f"{kind}; charset=utf-8"
    assert response.json() == ANSWER


@pytest.mark.parametrize("accept", ["image/png", f"{JSON_TYPE};q=0", "text/html;q=0.1", "nonsense"])
async def test_a_type_that_we_do_not_speak_is_not_acceptable(
    http: httpx.AsyncClient, accept: str
) -> None:
    assert is_error(await post(http, {"query": QUERY}, accept=accept), 406)


REQUEST_ERRORS = {
    "syntax": {"query": "{"},
    "empty": {"query": " "},
    "unknown field": {"query": "{ nothing }"},
    "missing variable": {"query": "query($id: ID!) { execution(id: $id) { id } }"},
    "bad variable": {
        "query": "query($first: Int) { executions(first: $first) { totalCount } }",
        "variables": {"first": "one"},
    },
    "two operations": {"query": TWO},
    "unknown operation": {"query": TWO, "operationName": "C"},
    "only a fragment": {"query": "fragment A on Execution { id }"},
    "too many tokens": {"query": f"{{ {'__typename ' * 1000} }}"},
    "too deep": {"query": "{a" * 5000 + "}" * 5000},
}


@pytest.mark.parametrize("name", REQUEST_ERRORS)
async def test_what_cannot_be_executed_is_a_request_error(
    http: httpx.AsyncClient, name: str
) -> None:
    assert is_error(await post(http, REQUEST_ERRORS[name], accept=RESPONSE_TYPE), 400)
    assert is_error(await post(http, REQUEST_ERRORS[name], accept=JSON_TYPE), 200)


async def test_an_error_in_a_resolver_leaves_the_status_and_says_where(
    http: httpx.AsyncClient,
) -> None:
    query = "{ executions(first: 1000) { totalCount } }"
    response = await post(http, {"query": query}, accept=RESPONSE_TYPE)
    assert response.status_code == 200
    body = response.json()
    assert body["data"] is None
    assert body["errors"][0]["path"] == ["executions"]


async def test_the_operation_that_is_named_is_run(http: httpx.AsyncClient) -> None:
    response = await post(http, {"query": TWO, "operationName": "B"})
    assert response.json() == {"data": {"b": "Query"}}
    for none in (None, ""):
        response = await post(http, {"query": QUERY, "operationName": none})
        assert response.json() == ANSWER


async def test_a_subscription_is_refused_clearly(http: httpx.AsyncClient) -> None:
    for response in (
        await post(http, {"query": "subscription { anything }"}),
        await http.get("/graphql", params={"query": "subscription { anything }"}),
    ):
        assert is_error(response, 400)
        assert "Accept: text/event-stream" in response.json()["errors"][0]["message"]


ODD_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "text": b'"x"',
    "number": b"5",
    "null": b"null",
    "list": b'[{"query": "{ __typename }"}]',
    "deep": b"[" * 40_000 + b"]" * 40_000,
    "deep variables": b'{"query": "{ __typename }", "variables": {"a":' + b"[" * 40_000,
    "invalid UTF-8": b'{"query": "\xff"}',
    "UTF-16": json.dumps({"query": QUERY}).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps({"query": QUERY}).encode(),
    "NaN": b'{"query": "{ __typename }", "variables": {"a": NaN}}',
    "Infinity": b'{"query": "{ __typename }", "variables": {"a": -Infinity}}',
    "huge number": b'{"query": "{ __typename }", "variables": {"a": ' + b"9" * 5000 + b"}}",
    "truncated": b'{"query": "{ __typename }"',
    "two values": b"{} {}",
    "no query": b"{}",
    "query is null": b'{"query": null}',
    "query is a number": b'{"query": 1}',
    "query is a list": b'{"query": ["{ __typename }"]}',
    "query is empty": b'{"query": ""}',
    "variables are a list": b'{"query": "{ __typename }", "variables": []}',
    "variables are text": b'{"query": "{ __typename }", "variables": "{}"}',
    "operation name is a number": b'{"query": "{ __typename }", "operationName": 1}',
    "extensions are a list": b'{"query": "{ __typename }", "extensions": []}',
}


@pytest.mark.parametrize("name", ODD_BODIES)
async def test_an_odd_body_is_a_bad_request(http: httpx.AsyncClient, name: str) -> None:
    assert is_error(await post(http, ODD_BODIES[name]), 400)


async def test_what_is_not_known_is_ignored(http: httpx.AsyncClient) -> None:
    extensions: Json = {"clientLibrary": {}}
    body = {"query": QUERY, "extensions": extensions, "variables": None, "id": 7}
    assert (await post(http, body)).json() == ANSWER


async def test_half_a_character_in_a_document_does_no_harm(http: httpx.AsyncClient) -> None:
    for query in ("{ \ud800 }", '{ execution(id: "\ud800") { id } }', "# \ud800\n" + QUERY):
        response = await post(http, {"query": query, "operationName": None})
        assert response.status_code == 200
        assert response.json()
    assert is_error(await post(http, {"query": QUERY, "operationName": "\ud800"}), 200)


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "xapplication/jsonx",
        "application/json2",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        RESPONSE_TYPE,
    ],
)
async def test_only_json_is_read(http: httpx.AsyncClient, kind: str) -> None:
    response = await post(http, {"query": QUERY}, content_type=kind)
    assert is_error(response, 415)


@pytest.mark.parametrize(
    "kind",
    ["application/json; charset=utf-8", 'APPLICATION/JSON;charset="UTF-8"', "application/json;v=1"],
)
async def test_json_may_say_that_it_is_utf_8(http: httpx.AsyncClient, kind: str) -> None:
    assert (await post(http, {"query": QUERY}, content_type=kind)).json() == ANSWER


async def test_a_body_that_is_too_large_is_refused_however_it_comes(
    http: httpx.AsyncClient,
) -> None:
    large = {"query": QUERY, "variables": {"a": "x" * 100_000}}
    assert is_error(await post(http, large), 413)
    sent = 0

    async def without_end() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 10_000
            yield b" " * 10_000

    response = await http.post("/graphql", content=without_end(), headers=JSON)
    assert is_error(response, 413)
    assert response.headers["connection"] == "close"
    assert sent == 110_000


async def test_a_get_may_query(http: httpx.AsyncClient) -> None:
    response = await http.get("/graphql", params={"query": QUERY})
    assert (response.status_code, response.json()) == (200, ANSWER)
    parameters = {
        "query": "query A { a: __typename } query B($id: ID!) { execution(id: $id) { id } }",
        "variables": json.dumps({"id": "x"}),
        "operationName": "B",
    }
    response = await http.get("/graphql", params=parameters, headers={"Accept": "text/html, */*"})
    assert response.json() == {"data": {"execution": None}}


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"query": ""},
        {"query": QUERY, "variables": "["},
        {"query": QUERY, "variables": "[]"},
        {"query": QUERY, "variables": "NaN"},
        {"variables": "{}"},
    ],
)
async def test_an_odd_get_is_a_bad_request(
    http: httpx.AsyncClient, parameters: dict[str, str]
) -> None:
    assert is_error(await http.get("/graphql", params=parameters), 400)


async def test_bytes_that_are_no_text_in_an_address_do_no_harm(http: httpx.AsyncClient) -> None:
    response = await http.get("/graphql?query=%ff%00{__typename}")
    assert is_error(response, 200)
    assert is_error(await http.get("/graphql?query={__typename}&variables=%ff"), 400)


async def test_a_get_may_not_change_anything(http: httpx.AsyncClient) -> None:
    response = await http.get("/graphql", params={"query": MUTATION})
    assert is_error(response, 405)
    assert response.headers["allow"] == "POST"
    both = {"query": f"query A {QUERY} {MUTATION.replace('mutation', 'mutation B')}"}
    assert is_error(await http.get("/graphql", params={**both, "operationName": "B"}), 405)
    allowed = await http.get("/graphql", params={**both, "operationName": "A"})
    assert allowed.json() == ANSWER


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "NONSENSE"])
async def test_other_methods_are_not_allowed(http: httpx.AsyncClient, method: str) -> None:
    response = await http.request(method, "/graphql")
    assert is_error(response, 405)
    assert response.headers["allow"] == "GET, POST"


async def test_head_and_options_are_answered(http: httpx.AsyncClient) -> None:
    response = await http.head("/graphql", params={"query": QUERY})
    assert response.status_code == 200
    options = await http.options("/graphql")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, POST")


async def test_suggestions_do_not_get_in_the_way(http: httpx.AsyncClient) -> None:
    response = await post(http, {"query": "{ helth { status } }"})
    assert is_error(response, 200)


def hostile_documents() -> Iterator[tuple[str, str]]:
    yield "aliases", "{" + " ".join(f"a{n}: __typename" for n in range(330)) + "}"
    yield "the same field", "{" + "health { status }" * 249 + "}"
    yield "directives", "{ __typename " + "@skip(if: false) " * 120 + "}"
    yield "unknown directives", "{ __typename " + "@a " * 450 + "}"
    yield "unknown fields", "{" + " ".join(f"q{n}" for n in range(950)) + "}"
    yield "variables", "query(" + " ".join(f"$a{n}: Int" for n in range(240)) + ") { __typename }"
    spreads = "".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }} " for n in range(60))
    yield "fragments of fragments", f"{{ ...f0 }} {spreads} fragment f60 on Query {{ __typename }}"
    fields = "name"
    for _ in range(12):
        fields = f"fields {{ type {{ {fields} }} }}"
    yield "introspection in circles", f"{{ __schema {{ types {{ {fields} }} }} }}"
    yield "a fragment of itself", "{ ...f } fragment f on Query { __typename ...f }"
    yield "a long name", "{ " + "a" * 90_000 + " }"


@pytest.mark.parametrize(("name", "query"), [*hostile_documents()])
async def test_a_hostile_document_costs_little(
    http: httpx.AsyncClient, name: str, query: str
) -> None:
    began = time.thread_time()
    response = await post(http, {"query": query})
    assert response.status_code == 200, name
    # Of this thread, which serves and asks: 0.2 s at the most where it was tried.
    assert time.thread_time() - began < 2
    assert len(response.content) < 200_000


async def test_graphiql_is_for_browsers(http: httpx.AsyncClient) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    response = await http.get("/graphql", headers=browser)
    assert response.status_code in {200, 503}  # 503: it says how to build it
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "Greenroom" in response.text


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Serve a page of two files."""
    folder = tmp_path / "graphiql"

    async def index(_: Request) -> Response:
        return await graphiql_page(folder)

    routes = [Route("/graphql", index), Mount("/graphiql", GraphiQLFiles(folder))]
    transport = httpx.ASGITransport(Starlette(routes=routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        yield http


async def test_a_page_that_is_not_built_says_how(page: httpx.AsyncClient) -> None:
    response = await page.get("/graphql")
    assert response.status_code == 503
    assert "make install" in response.text
    assert (await page.get("/graphiql/assets/index.js")).status_code == 404


async def test_a_page_is_served_as_soon_as_it_is_built(
    page: httpx.AsyncClient, tmp_path: Path
) -> None:
    assert (await page.get("/graphql")).status_code == 503
    assets = tmp_path / "graphiql" / "assets"
    assets.mkdir(parents=True)
    (assets.parent / "index.html").write_text("<!doctype html>")
    (assets / "index-1234.js").write_text("export {}")
    index, script = await page.get("/graphql"), await page.get("/graphiql/assets/index-1234.js")
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    assert index.headers["cache-control"] == "no-cache"
    assert "javascript" in script.headers["content-type"]
    assert "immutable" in script.headers["cache-control"]
    assert "default-src 'none'" in script.headers["content-security-policy"]
    assert (await page.get("/graphiql/index.html")).headers.get("cache-control") is None


async def test_whoever_comes_to_the_front_door_is_shown_to_the_page(api: Api) -> None:
    answer = await api.http.get("/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/graphql")


async def test_graphiql_can_be_switched_off(open_api: Open) -> None:
    async with open_api(FakeExecutor(), graphiql=False) as api:
        assert is_error(await api.http.get("/graphql", headers={"Accept": "text/html"}), 404)
        assert (await api.http.get("/")).status_code == 404
        assert (await api.http.get("/graphql", params={"query": QUERY})).json() == ANSWER


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 405),
        ("GET", "/nothing", 404),
        ("GET", "/graphiql/assets/nothing.js", 404),
        ("GET", "/graphiql/../main.py", 404),
        ("GET", "/graphiql/..%2f..%2fmain.py", 404),
        ("GET", "/graphiql/%00", 404),
        ("POST", "/healthz", 405),
        ("DELETE", "/readyz", 405),
    ],
)
async def test_elsewhere_answers_are_sane(
    http: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    response = await http.request(method, path)
    assert response.status_code == status
    assert response.json()
    assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_server_says_that_it_is_up(http: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz"):
        response = await http.get(path)
        assert (response.status_code, response.json()) == (200, {"status": "ok"})
        assert (await http.head(path)).status_code == 200


async def test_a_slash_too_many_leads_to_the_right_address(http: httpx.AsyncClient) -> None:
    response = await http.post("/graphql/", json={"query": QUERY}, follow_redirects=True)
    assert response.json() == ANSWER


async def test_documents_without_end_are_not_kept(api: Api) -> None:
    for number in range(300):
        data = await api.ask(f"{{ a{number}: __typename }}")
        assert data == {f"a{number}": "Query"}


class Talkative:
    """Writes a MiB."""

    async def __call__(self, emit: Emit) -> Exit:
        for _ in range(16):
            await emit(says("x" * 65_536))
        return SUCCESS


async def test_an_answer_has_an_end(
    open_api: Open, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    gc.collect()  # what other tests have left
    caplog.clear()
    pages = " ".join(f"a{n}: executions(first: 10) {{ nodes {{ stdout }} }}" for n in range(7))
    async with open_api(FakeExecutor(Talkative())) as api:
        for _ in range(10):
            await api.run("")
        answer = await api.post(f"{{ {pages} }}")
        body = answer.json()
        assert body["data"] is None
        assert "One answer may hold 64 MiB" in body["errors"][0]["message"]
        assert len(answer.content) < 100_000
        few = await api.ask(f"{{ {pages.replace('stdout', 'stdout(maxBytes: 9)')} }}")
        assert few["a6"]["nodes"][9] == {"stdout": "x" * 9}
    gc.collect()  # a future whose error nobody has seen would complain now
    assert "never retrieved" not in caplog.text
    assert not recwarn.list


async def test_a_request_reads_the_output_of_a_page_and_no_more(open_api: Open) -> None:
    async with open_api(FakeExecutor()) as api:
        for _ in range(110):
            await api.run("")
        page = "executions(first: 100) { nodes { source stdout } }"
        assert len((await api.ask(f"{{ {page} }}"))["executions"]["nodes"]) == 100
        twice = f"{{ {page} b: {page.replace('first', 'last')} }}"
        error = await api.fail(twice)
        assert "100 executions at most" in error["message"]
        assert error["extensions"] == {"code": "INVALID_INPUT"}
