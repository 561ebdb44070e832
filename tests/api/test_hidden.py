"""What is hidden from candidates is in nothing that they can query or subscribe to."""

import json
from collections.abc import AsyncIterator, Sequence
from functools import cache
from typing import Any

import anyio
import pytest
from graphql import (
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
)

from app.api.access import RULES
from app.api.schema import schema
from app.domain.access import Role
from app.domain.execution import Exit
from app.domain.ports import Emit

from .callers import SECRET, candidate, interviewer, service
from .client import Api, Json
from .conftest import Open
from .fake import SUCCESS, FakeExecutor, Gate
from .test_testing import LOOK, SUBMIT, TESTED, of

HIDDEN = "h1dden"  # a part of whatever only interviewers may see
# Says all that it is given on every way that a program has, and then comes to a bad end.
GOSSIP = """
import sys, os
given = sys.stdin.read() + repr(sys.argv) + repr(os.listdir('.'))
given += "".join(open(name).read() for name in os.listdir('.') if name != 'main.py')
print(given); print(given, file=sys.stderr)
sys.exit(given)
"""
KINDS = [
    {"stdin": HIDDEN, "expectedStdout": f"{HIDDEN} expected"},
    {"args": [HIDDEN], "expectedStdout": f"{HIDDEN} expected", "comparison": "EXACT"},
    {"files": [{"path": f"{HIDDEN}/f", "text": HIDDEN}]},
    {
        "files": [{"path": "f", "text": HIDDEN}],
        "expectedStdout": HIDDEN,
        "limits": {"outputBytes": "1"},
    },
]
CALL = "def solve(*given): import sys; print(given); print(given, file=sys.stderr); return given"
RIGHT = "import sys; print(sys.stdin.read(), end='')"


@pytest.fixture
async def api(open_api: Open) -> AsyncIterator[Api]:
    # Who asks for everything asks for more than one may.
    wide: dict[str, Any] = {
        "max_aliases": 10**5,
        "max_depth": 99,
        "max_cost": 10**7,
        "max_tokens": 10**5,
    }
    async with open_api(jwt_secret=SECRET, max_document=10**6, **wide) as api:
        yield api


def everything(type: GraphQLNamedType, depth: int) -> str:
    """Select all that a candidate may ask for, as deep as that."""
    assert isinstance(type, GraphQLObjectType | GraphQLInterfaceType)
    fields = [selection(type, name, field, depth) for name, field in type.fields.items()]
    if isinstance(type, GraphQLInterfaceType):
        kinds = schema._schema.get_possible_types(type)
        fields += [f"... on {kind.name} {{ {everything(kind, depth)} }}" for kind in kinds]
    return " ".join(["__typename", *fields])


def selection(type: GraphQLNamedType, name: str, field: GraphQLField, depth: int) -> str:
    roles = RULES.get(f"{type.name}.{name}", frozenset())
    if Role.CANDIDATE not in roles or any(map(is_required_argument, field.args.values())):
        return ""
    inner = get_named_type(field.type)
    if is_leaf_type(inner):
        return f"{type.name}_{name}: {name}"  # the same name has other types in other types
    if not depth or inner.name == "Language":
        return ""
    return f"{name}_of_{type.name}: {name} {{ {everything(inner, depth - 1)} }}"


@cache
def all_of(name: str, depth: int = 2) -> str:
    kind = schema._schema.get_type(name)
    assert kind
    return everything(kind, depth)


def mutation(name: str, input: str, payload: str) -> str:
    return f"mutation {{ {name}(input: {{ {input} }}) {{ {all_of(payload)} }} }}"


async def submit(api: Api, source: str, tests: Sequence[Json], **input: Any) -> Json:
    """Submit for the candidate of the interview, as a platform's back end does."""
    asked = {"language": "PYTHON", "source": source, "tests": tests, "waitMs": 60_000}
    asked |= {"sessionId": "interview-1", "kind": "SUBMIT"} | input
    execution = (await service(api).ask(SUBMIT + TESTED, input=asked))["executeCode"]["execution"]
    assert execution
    return dict(execution)


async def read_all(api: Api, id: str) -> list[str]:
    """Return all that a candidate can get to read that has to do with an execution."""
    this = f'id: "{id}"'
    documents = [
        f"{{ execution({this}) {{ {all_of('Execution')} }} }}",
        f"{{ executions {{ {all_of('ExecutionConnection', 3)} }} }}",
        f"{{ executionStats {{ {all_of('ExecutionStats')} }} }}",
        f"{{ viewer {{ {all_of('Viewer')} }} limits {{ {all_of('ServiceLimits')} }} }}",
        mutation("cancelExecution", this, "CancelExecutionPayload"),
        mutation("sendInput", f'{this}, text: ""', "SendInputPayload"),
        mutation("rerunExecution", f"{this}, waitMs: 60000", "ExecuteCodePayload"),
    ]
    events = f"subscription {{ executionEvents({this}) {{ {all_of('ExecutionEvent')} }} }}"
    answers = []
    for document in documents:
        answer = await api.post(document)
        assert answer.json()["data"], answer.text
        answers.append(answer.text)
    headers = {"accept": "text/event-stream"} | api.headers
    answer = await api.http.post("/graphql", json={"query": events}, headers=headers)
    assert "ExecutionFinished" in answer.text
    return [*answers, answer.text]


@pytest.mark.parametrize("test", KINDS, ids=["stdin", "arguments", "a folder", "too much output"])
async def test_nothing_of_a_hidden_test_is_anywhere(api: Api, test: Json) -> None:
    shown = {"stdin": "shown", "expectedStdout": "shown too"}
    execution = await submit(api, GOSSIP, [shown, test | {"hidden": True, "name": "secret"}])
    id = execution["id"]
    seen = "".join(await read_all(candidate(api), id))
    assert HIDDEN not in seen
    for word in ("shown too", '"TestResult_verdict":"ERROR"', "secret"):
        assert word in seen
    for caller in (interviewer(api), service(api)):
        assert HIDDEN in (await caller.post(LOOK + TESTED, {"id": id})).text


@pytest.mark.parametrize("expected", [HIDDEN, None])
async def test_nothing_of_a_hidden_call_is_anywhere(api: Api, expected: str | None) -> None:
    test = {"call": {"arguments": [HIDDEN]}, "expectedValue": expected, "hidden": True}
    source = CALL if expected else f"{CALL.replace('return given', 'raise ValueError(given)')}"
    id = (await submit(api, source, [test]))["id"]
    assert HIDDEN not in "".join(await read_all(candidate(api), id))
    assert HIDDEN in (await interviewer(api).post(LOOK + TESTED, {"id": id})).text


async def test_of_a_hidden_test_a_candidate_sees_its_name_weight_and_verdict(api: Api) -> None:
    tests: list[Json] = [
        {"stdin": "a", "expectedStdout": "a"},
        {"stdin": "b", "expectedStdout": "b", "hidden": True},
        {"stdin": "c", "expectedStdout": "d", "hidden": True, "weight": 4},
    ]
    id = (await submit(api, RIGHT, tests))["id"]
    seen = (await candidate(api).ask(LOOK + TESTED, id=id))["execution"]
    visible, *hidden = seen["tests"]
    assert visible["stdout"] == "a"
    told = ("position", "name", "isHidden", "weight", "verdict")
    assert [[test.pop(name) for name in told] for test in hidden] == [
        [1, "Test 2", True, 1.0, "PASSED"],
        [2, "Test 3", True, 4.0, "FAILED"],
    ]
    for test in hidden:
        assert set(test.values()) == {None}
    assert seen["verdict"] == "FAILED"
    assert seen["usage"] is None
    summary = seen["testSummary"]
    assert (summary["passed"], summary["failed"], summary["passedWeight"]) == (2, 1, 2.0)
    assert summary["slowest"]["name"] == "Test 1"
    assert (await interviewer(api).ask(LOOK + TESTED, id=id))["execution"]["usage"]


async def test_without_hidden_tests_a_candidate_sees_what_it_has_used(api: Api) -> None:
    id = (await submit(api, RIGHT, [{"stdin": "a"}]))["id"]
    assert (await candidate(api).ask(LOOK + TESTED, id=id))["execution"]["usage"]


async def test_durations_of_hidden_tests_are_in_no_statistics(api: Api) -> None:
    await submit(api, RIGHT, [{"stdin": "a", "hidden": True}])
    query = "{ executionStats { totalCount wallTime { p50Ms p99Ms } } }"
    stats = (await candidate(api).ask(query))["executionStats"]
    assert stats == {"totalCount": 1, "wallTime": {"p50Ms": None, "p99Ms": None}}


async def test_when_a_hidden_test_ends_is_hidden_too(open_api: Open) -> None:
    gate, begun = Gate(), iter(range(9))

    async def program(emit: Emit) -> Exit:
        return await gate(emit) if next(begun) == 2 else SUCCESS

    async with open_api(FakeExecutor(program), jwt_secret=SECRET, slots=1) as api:
        tests: list[Json] = [{"hidden": True}, {}, {}]
        id = (await submit(api, "", tests, waitMs=0))["id"]
        with anyio.fail_after(30):
            await gate.started.wait()
        for caller, verdicts, passed in (
            (candidate(api), [None, "PASSED", None], 1),
            (interviewer(api), ["PASSED", "PASSED", None], 2),
        ):
            found = (await caller.ask(LOOK + TESTED, id=id))["execution"]
            assert of(found, "verdict") == verdicts
            assert found["testSummary"]["passed"] == passed
            assert found["testSummary"]["pending"] == 3 - passed
        gate.ends.set()
        await service(api).end_of(id)
        found = (await candidate(api).ask(LOOK + TESTED, id=id))["execution"]
        assert of(found, "verdict") == ["PASSED"] * 3


async def test_a_submission_that_is_stopped_does_not_tell_which_hidden_tests_had_ended(
    open_api: Open,
) -> None:
    gate, begun = Gate(), iter(range(9))

    async def program(emit: Emit) -> Exit:
        return await gate(emit) if next(begun) == 2 else SUCCESS

    async with open_api(FakeExecutor(program), jwt_secret=SECRET, slots=1) as api:
        tests: list[Json] = [{"hidden": True}, {}, {"hidden": True}]
        id = (await submit(api, "", tests, waitMs=0))["id"]
        with anyio.fail_after(30):
            await gate.started.wait()
        ada = candidate(api)
        await ada.cancel(id)
        found = (await ada.ask(LOOK + TESTED, id=id))["execution"]
        assert of(found, "verdict") == ["SKIPPED", "PASSED", "SKIPPED"]
        assert (found["testSummary"]["skipped"], found["testSummary"]["passed"]) == (2, 1)
        events = await ada.ask(
            "query E($id: ID!) { execution(id: $id) { events { __typename sequence } } }", id=id
        )
        names = [each["__typename"] for each in events["execution"]["events"]]
        assert names.count("ExecutionTestFinished") == 1
        seen = (await interviewer(api).ask(LOOK + TESTED, id=id))["execution"]
        assert of(seen, "verdict") == ["PASSED", "PASSED", "SKIPPED"]


async def test_followers_are_told_of_hidden_tests_by_their_role(api: Api) -> None:
    tests: list[Json] = [{"hidden": True, "stdin": HIDDEN}, {}]
    id = (await submit(api, RIGHT, tests, stopOnFailure=True))["id"]
    query = (
        f'subscription {{ executionEvents(id: "{id}") {{ __typename sequence at'
        " ... on ExecutionTestFinished { test { position stdout } } } }"
    )
    for caller, order in ((candidate(api), [1, 0]), (interviewer(api), [0, 1])):
        headers = {"accept": "text/event-stream"} | caller.headers
        answer = await caller.http.post("/graphql", json={"query": query}, headers=headers)
        lines = [line for line in answer.text.splitlines() if line.startswith("data: {")]
        events = [json.loads(line[6:])["data"]["executionEvents"] for line in lines]
        assert [event["sequence"] for event in events] == [1, 2, 3, 4, 5]
        ended = [event["test"] for event in events if "test" in event]
        assert [test["position"] for test in ended] == order
        outputs = {test["position"]: test["stdout"] for test in ended}
        assert outputs == {0: HIDDEN if order[0] == 0 else None, 1: ""}
