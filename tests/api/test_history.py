"""The history: found by id, filtered, paged, counted, and never loaded without being asked for."""

from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.api.ids import encode_id
from app.domain.execution import Exit, Program, Submission
from app.domain.limits import DEFAULT_LIMITS
from app.domain.ports import Emit
from app.main import create_app, open_services

from .client import Api, Json
from .conftest import Open, Statements, client_of, settings_of
from .fake import SUCCESS, FakeExecutor, Gate, says

ROWS = 230  # more than two pages of the largest size

PAGE = """
query Page($first: Int, $after: String, $last: Int, $before: String,
           $filter: ExecutionFilter, $orderBy: ExecutionOrder) {
  executions(first: $first, after: $after, last: $last, before: $before,
             filter: $filter, orderBy: $orderBy) {
    edges { cursor node { id status label sessionId language { id } createdAt } }
    nodes { id }
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
  }
}
"""


async def page(api: Api, **variables: Any) -> Json:
    connection: Json = (await api.ask(PAGE, **variables))["executions"]
    assert [edge["node"]["id"] for edge in connection["edges"]] == ids(connection)
    cursors = [edge["cursor"] for edge in connection["edges"]]
    info = connection["pageInfo"]
    assert (info["startCursor"], info["endCursor"]) == (
        (cursors[0], cursors[-1]) if cursors else (None, None)
    )
    return connection


def ids(connection: Json) -> list[str]:
    return [node["id"] for node in connection["nodes"]]


class Varied:
    """Fails every third time."""

    def __init__(self) -> None:
        self.runs = 0

    async def __call__(self, emit: Emit) -> Exit:
        self.runs += 1
        await emit(says(f"run {self.runs}\n"))
        return Exit(code=1) if self.runs % 3 == 0 else SUCCESS


async def fill(api: Api, rows: int) -> list[Json]:
    """Run programs one after the other; return them, oldest first."""
    return [
        await api.run(
            f"# {number}",
            "PYTHON" if number % 2 else "JAVASCRIPT",
            label=f"label {number % 5}",
            sessionId=f"session {number % 7}" if number % 7 else None,
        )
        for number in range(rows)
    ]


@pytest.fixture
async def api(open_api: Open) -> AsyncIterator[Api]:
    async with open_api(FakeExecutor(Varied())) as api:
        yield api


async def test_pages_in_both_directions_and_orders_are_the_whole_history(api: Api) -> None:
    oldest_first = [execution["id"] for execution in await fill(api, ROWS)]
    newest_first = oldest_first[::-1]
    for size, order, expected in (
        (100, "CREATED_AT_ASC", oldest_first),
        (100, "CREATED_AT_DESC", newest_first),
        (37, "CREATED_AT_ASC", oldest_first),
        (37, None, newest_first),
    ):
        assert await walk_forward(api, first=size, orderBy=order) == expected
        assert await walk_backward(api, last=size, orderBy=order) == expected


async def walk_forward(api: Api, **variables: Any) -> list[str]:
    found: list[str] = []
    after = None
    while True:
        connection = await page(api, after=after, **variables)
        found += ids(connection)
        info = connection["pageInfo"]
        assert info["hasPreviousPage"] == (after is not None)
        if not info["hasNextPage"]:
            return found
        after = info["endCursor"]


async def walk_backward(api: Api, **variables: Any) -> list[str]:
    found: list[str] = []
    before = None
    while True:
        connection = await page(api, before=before, **variables)
        found = ids(connection) + found
        info = connection["pageInfo"]
        assert info["hasNextPage"] == (before is not None)
        if not info["hasPreviousPage"]:
            return found
        before = info["startCursor"]


async def test_filters_keep_what_they_say(api: Api) -> None:
    everything = (await fill(api, 30))[::-1]
    moment = everything[10]["createdAt"]
    rules: list[tuple[Json, Any]] = [
        ({}, lambda _: True),
        ({"statusIn": ["FAILED"]}, lambda one: one["status"] == "FAILED"),
        ({"statusIn": ["FAILED", "SUCCEEDED"]}, lambda _: True),
        ({"statusIn": []}, lambda _: False),
        ({"languageIn": ["PYTHON"]}, lambda one: one["language"]["id"] == "PYTHON"),
        ({"sessionId": "session 3"}, lambda one: one["sessionId"] == "session 3"),
        ({"label": "label 2"}, lambda one: one["label"] == "label 2"),
        ({"label": "LABEL 2"}, lambda _: False),
        ({"label": "label%"}, lambda _: False),
        ({"createdAfter": moment}, lambda one: one["createdAt"] > moment),
        ({"createdBefore": moment}, lambda one: one["createdAt"] < moment),
        (
            {"statusIn": ["SUCCEEDED"], "languageIn": ["JAVASCRIPT"], "label": "label 0"},
            lambda one: (
                (one["status"], one["language"]["id"], one["label"])
                == ("SUCCEEDED", "JAVASCRIPT", "label 0")
            ),
        ),
        (dict.fromkeys(("statusIn", "languageIn", "sessionId", "label")), lambda _: True),
    ]
    count = "query($filter: ExecutionFilter) { executions(filter: $filter) { totalCount } }"
    for filter, keeps in rules:
        expected = [one["id"] for one in everything if keeps(one)]
        assert ids(await page(api, first=100, filter=filter)) == expected, filter
        counted = await api.ask(count, filter=filter)
        assert counted == {"executions": {"totalCount": len(expected)}}
        stats = await api.ask(
            "query($filter: ExecutionFilter) { executionStats(filter: $filter) { totalCount } }",
            filter=filter,
        )
        assert stats == {"executionStats": {"totalCount": len(expected)}}


async def test_a_moment_may_be_said_with_any_offset(api: Api) -> None:
    [execution] = await fill(api, 1)
    created = datetime.fromisoformat(execution["createdAt"])
    assert created.tzinfo == UTC
    for text in ("2000-01-01T00:00:00Z", "2000-01-01T00:00:00+14:00", "0001-01-01T00:00:00.5Z"):
        assert len(ids(await page(api, filter={"createdAfter": text}))) == 1
        assert ids(await page(api, filter={"createdBefore": text})) == []
    assert len(ids(await page(api, filter={"createdBefore": "9999-12-31T23:59:59Z"}))) == 1


@pytest.mark.parametrize(
    "moment",
    [
        *("", "now", "x" * 99, 0, 1.5, True),
        *("2026-01-31", "2026-01-31T12:00:00", "2026-02-30T12:00:00Z"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    ],
)
async def test_a_moment_that_is_none_is_the_requests_mistake(api: Api, moment: Any) -> None:
    error = await api.fail(PAGE, filter={"createdAfter": moment})
    assert "DateTime cannot represent" in error["message"]
    assert len(error["message"]) < 500


@pytest.mark.parametrize("name", ["label", "sessionId"])
@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
async def test_a_filter_with_text_that_is_none(api: Api, name: str, text: str) -> None:
    error = await api.fail(PAGE, filter={name: text})
    assert error["message"] == f"`{name}` must be Unicode text without NUL or lone surrogates."
    assert error["extensions"]["code"] == "INVALID_INPUT"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first": 1, "last": 1}, "Give `first` or `last`, not both."),
        ({"first": 101}, "`first` must be 0 to 100, not 101."),
        ({"first": -1}, "`first` must be 0 to 100, not -1."),
        ({"last": 2**31 - 1}, "`last` must be 0 to 100, not 2147483647."),
        ({"after": "nonsense"}, "`after` is not a cursor of this connection."),
        ({"before": ""}, "`before` is not a cursor of this connection."),
        ({"after": "\ud800"}, "`after` is not a cursor of this connection."),
    ],
)
async def test_arguments_that_make_no_sense(api: Api, arguments: Json, message: str) -> None:
    error = await api.fail(PAGE, **arguments)
    assert error["message"] == message
    assert error["extensions"] == {"code": "INVALID_INPUT"}


async def test_an_id_is_no_cursor(api: Api) -> None:
    [execution] = await fill(api, 1)
    error = await api.fail(PAGE, after=execution["id"])
    assert "not a cursor" in error["message"]


async def test_a_page_may_be_empty_and_without_arguments_it_has_twenty(api: Api) -> None:
    assert ids(await page(api)) == []
    executions = await fill(api, 21)
    assert len(ids(await page(api))) == 20
    nothing = await page(api, first=0)
    assert ids(nothing) == []
    assert nothing["pageInfo"]["hasNextPage"]
    [cursor] = [edge["cursor"] for edge in (await page(api, last=1))["edges"]]
    assert ids(await page(api, after=cursor)) == []
    assert executions[0]["id"] not in ids(await page(api))


async def test_a_page_between_two_cursors(api: Api) -> None:
    await fill(api, 10)
    edges = (await page(api))["edges"]
    between = await page(api, after=edges[2]["cursor"], before=edges[6]["cursor"])
    assert ids(between) == [edge["node"]["id"] for edge in edges[3:6]]


async def test_statistics_count_and_measure(api: Api) -> None:
    query = """{ executionStats { totalCount byStatus { status count } byLanguage { language count }
        wallTime { p50Ms p95Ms p99Ms } } }"""
    assert (await api.ask(query))["executionStats"] == {
        "totalCount": 0,
        "byStatus": [],
        "byLanguage": [],
        "wallTime": {"p50Ms": None, "p95Ms": None, "p99Ms": None},
    }
    await fill(api, 9)
    assert (await api.ask(query))["executionStats"] == {
        "totalCount": 9,
        "byStatus": [{"status": "SUCCEEDED", "count": 6}, {"status": "FAILED", "count": 3}],
        "byLanguage": [
            {"language": "JAVASCRIPT", "count": 5},
            {"language": "PYTHON", "count": 4},
        ],
        "wallTime": {"p50Ms": 250, "p95Ms": 250, "p99Ms": 250},
    }


async def test_a_node_is_an_execution(api: Api) -> None:
    [execution] = await fill(api, 1)
    query = "query($id: ID!) { node(id: $id) { __typename id ... on Execution { stdout } } }"
    assert await api.ask(query, id=execution["id"]) == {
        "node": {"__typename": "Execution", "id": execution["id"], "stdout": "run 1\n"}
    }


BIG = ("source", "stdin", "args", "execution_output")


async def test_a_list_reads_neither_programs_nor_output_nor_the_count(
    api: Api, statements: Statements
) -> None:
    await fill(api, 5)
    statements.clear()
    await page(api)
    assert len(statements) == 1
    assert not any(name in statements[0] for name in BIG)
    assert "count(" not in statements[0].lower()


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ("nodes { id status }", []),
        ("nodes { source }", ["source"]),
        ("nodes { source stdin args }", ["source"]),
        ("nodes { stdout }", ["execution_output"]),
        ("nodes { stdout stderr stdoutStream { base64 } }", ["execution_output"]),
        ("edges { node { stdout(maxBytes: 1) } }", ["execution_output"]),
        ("nodes { a: stdout(maxBytes: 1) stderr(maxBytes: 9) stdout }", ["execution_output"]),
        ("nodes { source stdout }", ["source", "execution_output"]),
        ("totalCount", ["count("]),
    ],
)
async def test_what_is_selected_costs_one_statement_for_the_whole_page(
    api: Api, statements: Statements, fields: str, names: list[str]
) -> None:
    await fill(api, 12)
    statements.clear()
    await api.ask(f"{{ executions(first: 12) {{ {fields} }} }}")
    listed, *others = statements
    assert "executions" in listed
    assert len(others) == len(names)
    assert all(any(name in statement for statement in others) for name in names)


async def test_a_run_is_answered_from_memory(api: Api, statements: Statements) -> None:
    statements.clear()
    fields = "status stdout stderr(maxBytes: 1) stdoutStream { base64 }"
    answer = await api.ask(
        'mutation { executeCode(input: { language: PYTHON, source: "" }) '
        f"{{ execution {{ {fields} }} }} }}"
    )
    assert answer["executeCode"]["execution"]["stdout"] == "run 1\n"
    assert [" ".join(statement.split()[:2]) for statement in statements] == [
        "INSERT INTO",
        "UPDATE executions",
        "INSERT INTO",
    ]


async def test_other_owners_executions_do_not_exist(database: Path) -> None:
    settings = settings_of(database_url=f"sqlite:///{database}")
    gate = Gate()
    theirs = Submission(
        owner="somebody else",
        program=Program(language="PYTHON", source="secret"),
        limits=DEFAULT_LIMITS,
    )
    async with (
        open_services(settings, lambda *_: nullcontext(FakeExecutor(gate))) as services,
        client_of(create_app(settings, services)) as api,
    ):
        execution = await services.executions.submit(theirs)
        id = encode_id(execution.id)
        await gate.started.wait()
        assert await api.find(id) is None
        assert await api.ask("query($id: ID!) { node(id: $id) { id } }", id=id) == {"node": None}
        assert (await api.cancel(id))["errors"][0]["code"] == "NOT_FOUND"
        assert ids(await page(api)) == []
        stats = await api.ask("{ executionStats { totalCount byStatus { count } } }")
        assert stats == {"executionStats": {"totalCount": 0, "byStatus": []}}
        gate.ends.set()
        ended = (await services.executions.wait(execution, 10)).execution
        assert ended.status == "SUCCEEDED"
        assert await api.find(id) is None


async def test_ids_grow_with_time(api: Api) -> None:
    moments = [execution["createdAt"] for execution in await fill(api, 20)]
    assert all(earlier <= later for earlier, later in pairwise(moments))
