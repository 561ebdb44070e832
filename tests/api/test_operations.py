"""Operations have an end, few errors, and the same answers as graphql-core would give."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from graphql import DocumentNode, ExecutionResult, Executor, GraphQLError, OperationType, parse
from graphql.execution.collect_fields import FieldDetails
from graphql.pyutils import Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from app.api.context import Context, Loader, Visit
from app.api.executor import Executor as OurExecutor
from app.api.operations import Operations
from app.api.refusals import Code
from app.api.requests import read_operation
from app.api.schema import schema
from app.domain.access import LOCAL
from app.main import bounds_of

from .client import ALL, EXECUTE, Api
from .conftest import Open, settings_of
from .fake import FakeExecutor, Gate

EVENTS = "subscription E($id: ID!) { executionEvents(id: $id) { sequence } }"


@pytest.fixture
async def api(open_api: Open) -> AsyncIterator[Api]:
    async with open_api(FakeExecutor()) as api:
        yield api


async def test_an_operation_has_an_end_and_its_program_goes_on(open_api: Open) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate), operation_time=0.3) as api:
        answer = await api.http.post(
            "/graphql",
            json={
                "query": EXECUTE + ALL,
                "variables": {"input": {"language": "PYTHON", "source": "", "waitMs": 60_000}},
            },
            headers={"Accept": "application/graphql-response+json"},
        )
        assert answer.status_code == 200
        assert answer.json()["data"] is None
        [error] = answer.json()["errors"]
        assert error["extensions"] == {"code": "OPERATION_TIMEOUT"}
        assert "0.3 s" in error["message"]
        nodes = (await api.ask("{ executions { nodes { id status } } }"))["executions"]["nodes"]
        assert [node["status"] for node in nodes] == ["RUNNING"]
        gate.ends.set()
        assert (await api.end_of(nodes[0]["id"]))["status"] == "SUCCEEDED"


async def test_whoever_stops_waiting_takes_no_look_up_from_others() -> None:
    begun, may_end = anyio.Event(), anyio.Event()

    async def look_up(keys: list[str]) -> list[str]:
        begun.set()
        await may_end.wait()
        return [key.upper() for key in keys]

    loader = Loader[str, str](look_up)
    first, second = (asyncio.ensure_future(loader.load("a")) for _ in range(2))
    await begun.wait()
    first.cancel()
    may_end.set()
    assert await second == "A"
    assert first.cancelled()


async def test_fields_that_fail_beside_others_are_errors_and_no_end(open_api: Open) -> None:
    async with open_api(FakeExecutor()) as api:
        for _ in range(101):
            await api.run("")
        page = "executions({}: 51) {{ nodes {{ id source stdout stdin }} }}"
        query = (
            f"{{ a: {page.format('first')} b: {page.format('last')} c: {page.format('first')} }}"
        )
        for _ in range(10):
            error = await api.fail(query)
            assert "100 executions at most" in error["message"]


def test_more_errors_than_are_returned_are_counted() -> None:
    bounds = bounds_of(settings_of(max_errors=3))
    operations = Operations(schema._schema, None, bounds)  # type: ignore[arg-type]
    errors = [GraphQLError(f"{number}", path=["a", number]) for number in range(10)]
    result = operations._formatted(ExecutionResult({"a": None}, errors))
    assert [error["message"] for error in result["errors"][:2]] == ["0", "1"]
    assert result["errors"][2:] == [
        {
            "message": "There are 10 errors; these are the first.",
            "extensions": {"code": Code.TOO_MANY_ERRORS, "maximum": 3},
        }
    ]
    few = operations._formatted(ExecutionResult({"a": None}, errors[:3]))
    assert [error["message"] for error in few["errors"]] == ["0", "1", "2"]


async def test_many_mistakes_in_variables_are_few_errors(api: Api) -> None:
    query = "query($f: ExecutionFilter) { executions(filter: $f) { totalCount } }"
    wrong = {"filter": {f"x{number}": 1 for number in range(1000)}}
    answer = (await api.post(query, {"f": wrong["filter"]})).json()
    assert 1 <= len(answer["errors"]) <= 8
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


VISIT = Visit(caller=LOCAL, address="127.0.0.1")

QUERIES = [
    "{ executions(first: 3) { edges { cursor node { ...All } } pageInfo { hasNextPage } } }" + ALL,
    "{ a: executions { totalCount nodes { id __typename x: status status } } }",
    "{ languages { id name version isAvailable defaultMemoryBytes example } limits { args } }",
    "{ health { status executor { name memory pool { ready } } load { queued } } }",
    "{ executions(first: 1000) { totalCount } health { status } }",
    "{ executionStats { totalCount byStatus { status count } wallTime { p50Ms } } }",
    "{ executions { nodes { events { __typename at ... on ExecutionOutput { text } } } } }",
    '{ __schema { queryType { name } } __type(name: "Query") { fields { name } } }',
    """query($a: Boolean = false) {
        executions { nodes { id @include(if: $a) label @skip(if: $a) } } }""",
]


@pytest.mark.parametrize("query", QUERIES)
async def test_the_short_way_leads_to_the_same_answer(open_api: Open, query: str) -> None:
    async with open_api(FakeExecutor()) as api:
        for number in range(5):
            await api.run("print(1)", metadata={"n": [number, None, "é"]}, label=f"{number}")
        operations = api_operations(api)
        results = [
            await executed(kind, query, operations)
            for kind in (OurExecutor, StrawberryGraphQLCoreExecutionContext)
        ]
    ours, theirs = (
        (result.data, [error.formatted for error in result.errors or ()]) for result in results
    )
    assert ours == theirs


def api_operations(api: Api) -> Operations:
    transport: Any = api.http._transport
    view = next(route.endpoint for route in transport.app.routes if route.path == "/graphql")
    operations: Operations = view._operations
    return operations


async def executed(
    kind: type[Executor[Any]], query: str, operations: Operations
) -> ExecutionResult:
    context = Context(operations._services, VISIT)
    executor = kind.build(schema._schema, parse(query), context_value=context)
    assert isinstance(executor, Executor)
    result: Any = executor.execute_operation()
    done: ExecutionResult = await result if executor.is_awaitable(result) else result
    return done


class Odd:
    """Has a value that cannot be written, one that is missing, and one that raises."""

    status = "NONSENSE"
    executor = None

    @property
    def attempt(self) -> int:
        message = "no"
        raise ValueError(message)


@pytest.mark.parametrize("field", ["status", "executor", "attempt", "label"])
def test_what_is_not_as_expected_is_an_error_with_its_path(field: str) -> None:
    document = parse(f"{{ execution(id: 1) {{ {field} }} }}")
    results = [
        one_field_of_odd(kind, document)
        for kind in (OurExecutor, StrawberryGraphQLCoreExecutionContext)
    ]
    assert results[0] == results[1]
    assert results[0]["path"] == ["execution", field]


def one_field_of_odd(executor_class: type[Executor[Any]], document: DocumentNode) -> Any:
    """Return the error of the only field that a document selects of an execution."""
    executor: Any = executor_class.build(schema._schema, document)
    operation: Any = document.definitions[0]
    [node] = operation.selection_set.selections[0].selection_set.selections
    fields = {node.name.value: [FieldDetails(node, None)]}
    kind, path = schema._schema.get_type("Execution"), Path(None, "execution", None)
    try:
        executor.execute_fields(kind, Odd(), path, fields, None)
    except GraphQLError as error:
        return error.formatted
    return executor.collected_errors.errors[0].formatted


async def test_a_subscription_keeps_nothing_of_its_events(api: Api) -> None:
    run = await api.run("print(1)")
    operations = api_operations(api)
    asked = read_operation({"query": EVENTS, "variables": {"id": run["id"]}})
    assert OperationType.SUBSCRIPTION in asked.allowed
    executor = await operations._prepare(asked, VISIT)
    for _ in range(50):
        event = executor.build_per_event_executor(None)
        event.execute_operation()
    gc.collect()
    assert len(executor._plans) + len(executor._relevant_sub_fields) == 0
