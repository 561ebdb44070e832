"""Submit: one program against many tests."""

from collections.abc import Iterator, Sequence
from typing import Any

import anyio
import pytest

from app.domain.execution import Exit
from app.domain.ports import Emit

from .client import Api, Json
from .conftest import Open, Statements
from .fake import SUCCESS, FakeExecutor, Gate

SUBMIT = """
mutation Submit($input: ExecuteCodeInput!) { executeCode(input: $input) {
  execution { ...Tested }
  errors { __typename code message path }
} }
"""
LOOK = "query Look($id: ID!) { execution(id: $id) { ...Tested } }"
TESTED = """
fragment Tested on Execution {
  id status kind verdict message stdout usage { wallTimeMs cpuTimeMs peakMemoryBytes }
  compile { status stderr isCached }
  tests {
    position name isHidden weight verdict status exitCode signal timeLimit message endedAt
    isTruncated
    usage { wallTimeMs } stdin args files { path text } limits { wallTimeMs }
    stdout stderr expectedStdout comparison diff
    call { function arguments expectedValue returnedValue }
  }
  testSummary {
    total pending passed failed errors skipped weight passedWeight slowest { name }
  }
}
"""
EVENTS = """
query Events($id: ID!) { execution(id: $id) { events {
  __typename sequence
  ... on ExecutionTestFinished { test { name verdict stdout } }
} } }
"""
DOUBLE = "print(int(input()) * 2)"


async def submit(api: Api, source: str, tests: Sequence[Json], **input: Any) -> Json:
    """Submit a program that must be accepted, and return its execution."""
    asked = {"language": "PYTHON", "source": source, "tests": tests, "waitMs": 60_000} | input
    payload = (await api.ask(SUBMIT + TESTED, input=asked))["executeCode"]
    assert payload["errors"] == []
    execution: Json = payload["execution"]
    return execution


async def refused(api: Api, tests: list[Json], **input: Any) -> list[Json]:
    asked = {"language": "PYTHON", "source": "", "tests": tests} | input
    payload = (await api.ask(SUBMIT + TESTED, input=asked))["executeCode"]
    assert payload["execution"] is None
    errors: list[Json] = payload["errors"]
    return errors


def of(execution: Json, field: str) -> list[Any]:
    return [test[field] for test in execution["tests"]]


async def test_each_test_runs_by_itself_and_says_what_came_of_it(api: Api) -> None:
    execution = await submit(
        api,
        "import sys, os\n"
        "assert not os.path.exists('left'); open('left', 'w').close()\n"
        "print(input()); print(sys.argv[1:], file=sys.stderr)",
        [
            {"stdin": "a", "expectedStdout": "a"},
            {"name": "wrong", "stdin": "b", "expectedStdout": "c\n", "weight": 2},
            {"stdin": "", "expectedStdout": "", "args": ["x"]},
            {"stdin": "anything"},
        ],
    )
    assert (execution["status"], execution["verdict"]) == ("SUCCEEDED", "FAILED")
    assert execution["kind"] == "RUN"
    assert of(execution, "name") == ["Test 1", "wrong", "Test 3", "Test 4"]
    assert of(execution, "verdict") == ["PASSED", "FAILED", "ERROR", "PASSED"]
    assert of(execution, "status") == ["SUCCEEDED", "SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert of(execution, "stdout") == ["a\n", "b\n", "", "anything\n"]
    assert of(execution, "expectedStdout") == ["a", "c\n", "", None]
    assert of(execution, "args") == [None, None, ["x"], None]
    assert of(execution, "comparison") == ["TRIMMED"] * 4
    assert of(execution, "exitCode") == [0, 0, 1, 0]
    assert "EOFError" in execution["tests"][2]["stderr"]
    assert ['"b"' in (diff or "") for diff in of(execution, "diff")] == [False, True, False, False]
    assert all(usage["wallTimeMs"] > 0 for usage in of(execution, "usage"))
    assert execution["stdout"] == ""
    summary = execution["testSummary"]
    assert summary.pop("slowest")["name"] in of(execution, "name")
    assert summary == {
        "total": 4,
        "pending": 0,
        "passed": 2,
        "failed": 1,
        "errors": 1,
        "skipped": 0,
        "weight": 5.0,
        "passedWeight": 2.0,
    }


async def test_what_a_test_does_not_say_is_that_of_the_execution(api: Api) -> None:
    execution = await submit(
        api,
        "import sys; print(input(), *sys.argv[1:], open('f').read(), open('g').read())",
        [
            {"files": [{"path": "g", "text": "1"}]},
            {"files": [{"path": "g", "text": "2"}], "stdin": "t", "args": []},
        ],
        stdin="s",
        args=["a"],
        files=[{"path": "f", "text": "F"}],
    )
    assert of(execution, "stdout") == ["s a F 1\n", "t F 2\n"]
    assert execution["verdict"] == "PASSED"


@pytest.mark.parametrize(
    ("comparison", "expected", "verdict"),
    [
        ("EXACT", "[1.0, 2]\n", "PASSED"),
        ("EXACT", "[1.0, 2]", "FAILED"),
        ("TRIMMED", "[1.0, 2]", "PASSED"),
        ("TOKENS", "[1.0,\n 2]", "PASSED"),
        ("FLOATS", "[1.0, 2]", "PASSED"),
        ("SORTED_LINES", "[1.0, 2]", "PASSED"),
        ("JSON", "[1, 2.0]", "PASSED"),
        ("JSON", "[1, 3]", "FAILED"),
    ],
)
async def test_outputs_are_compared_as_asked(
    api: Api, comparison: str, expected: str, verdict: str
) -> None:
    tests: list[Json] = [{"comparison": comparison, "expectedStdout": expected}]
    execution = await submit(api, "print('[1.0, 2]')", tests)
    assert of(execution, "verdict") == [verdict]
    assert bool(execution["tests"][0]["diff"]) is (verdict == "FAILED")


async def test_numbers_may_differ_by_what_the_test_allows(api: Api) -> None:
    tests: list[Json] = [
        {"expectedStdout": "100", "comparison": "FLOATS"},
        {"expectedStdout": "100", "comparison": "FLOATS", "absoluteTolerance": 1},
        {"expectedStdout": "100", "comparison": "FLOATS", "relativeTolerance": 0.01},
        {"expectedStdout": "100", "comparison": "JSON"},
        {"expectedStdout": "100", "comparison": "JSON", "absoluteTolerance": 1},
    ]
    execution = await submit(api, "print(100.5)", tests)
    assert of(execution, "verdict") == ["FAILED", "PASSED", "PASSED", "FAILED", "PASSED"]


async def test_one_hangs_one_floods_one_crashes_and_the_others_are_judged(api: Api) -> None:
    execution = await submit(
        api,
        "import os\n"
        "match input():\n"
        "  case 'hang': import time; time.sleep(60)\n"
        "  case 'spin':\n"
        "    while True: pass\n"
        "  case 'flood':\n"
        "    while True: print('x' * 65536)\n"
        "  case 'crash': os.kill(os.getpid(), 11)\n"
        "  case 'eat': x = bytearray(1 << 30)\n"
        "  case _: print('fine')\n",
        [
            {"stdin": "hang", "limits": {"wallTimeMs": 300}},
            {"stdin": "spin", "limits": {"cpuTimeMs": 200}},
            {"stdin": "flood", "expectedStdout": "x", "limits": {"outputBytes": "100000"}},
            {"stdin": "crash"},
            {"stdin": "fine", "expectedStdout": "fine"},
        ],
    )
    assert of(execution, "status") == [
        "TIME_LIMIT_EXCEEDED",
        "TIME_LIMIT_EXCEEDED",
        "OUTPUT_LIMIT_EXCEEDED",
        "CRASHED",
        "SUCCEEDED",
    ]
    assert of(execution, "timeLimit") == ["WALL", "CPU", None, None, None]
    assert of(execution, "verdict") == ["ERROR"] * 4 + ["PASSED"]
    assert of(execution, "signal") == [None, None, None, "SIGSEGV", None]
    assert len(execution["tests"][2]["stdout"]) == 65536  # the beginning of 100,000 bytes
    assert of(execution, "isTruncated") == [False, False, True, False, False]


async def test_a_program_is_compiled_once(api: Api) -> None:
    source = '#include <stdio.h>\nint main(void) { int n; scanf("%d", &n); printf("%d", n * 2); }'
    tests: list[Json] = [{"stdin": str(n), "expectedStdout": str(2 * n)} for n in range(6)]
    execution = await submit(api, source, tests, language="C")
    assert execution["verdict"] == "PASSED"
    assert execution["compile"]["status"] == "SUCCEEDED"


async def test_what_cannot_be_compiled_is_not_run(api: Api) -> None:
    execution = await submit(api, "int main( {", [{}, {}], language="C")
    assert (execution["status"], execution["verdict"]) == ("COMPILE_ERROR", "ERROR")
    assert of(execution, "verdict") == ["SKIPPED"] * 2
    assert of(execution, "status") == [None] * 2
    assert "error" in execution["compile"]["stderr"]
    assert execution["testSummary"]["skipped"] == 2


async def test_after_a_failure_the_rest_is_skipped_if_that_is_wanted(api: Api) -> None:
    tests: list[Json] = [{"stdin": n, "expectedStdout": "4"} for n in ("2", "3", "2", "x")]
    execution = await submit(api, DOUBLE, tests, stopOnFailure=True)
    assert of(execution, "verdict") == ["PASSED", "FAILED", "SKIPPED", "SKIPPED"]
    assert execution["verdict"] == "FAILED"
    execution = await submit(api, DOUBLE, tests)
    assert of(execution, "verdict") == ["PASSED", "FAILED", "PASSED", "ERROR"]


async def look(api: Api, id: str) -> Json:
    await api.end_of(id)
    execution: Json = (await api.ask(LOOK + TESTED, id=id))["execution"]
    return execution


async def test_tests_are_told_as_they_end(open_api: Open) -> None:
    gate, ended = Gate(), iter(range(9))

    async def program(emit: Emit) -> Exit:
        return await gate(emit) if next(ended) == 1 else SUCCESS

    async with open_api(FakeExecutor(program), slots=1) as api:
        execution = await submit(api, "", [{}, {}, {}], waitMs=0)
        with anyio.fail_after(30):
            await gate.started.wait()
        events = await told(api, execution["id"])
        assert events == ["QUEUED", "RUNNING", "Test 1"]
        found = (await api.ask(LOOK + TESTED, id=execution["id"]))["execution"]
        assert of(found, "verdict") == ["PASSED", None, None]
        assert (found["testSummary"]["pending"], found["testSummary"]["passed"]) == (2, 1)
        gate.ends.set()
        await api.end_of(execution["id"])
        assert await told(api, execution["id"]) == [
            *events,
            "Test 2",
            "Test 3",
            "ExecutionFinished",
        ]


async def told(api: Api, id: str) -> list[str]:
    found = (await api.ask(EVENTS, id=id))["execution"]["events"]
    assert [each["sequence"] for each in found] == list(range(1, len(found) + 1))
    names: Iterator[str] = iter(("QUEUED", "RUNNING"))
    return [
        each["test"]["name"] if "test" in each else next(names, each["__typename"])
        for each in found
    ]


async def test_tests_use_slots_that_nobody_else_wants(open_api: Open) -> None:
    running, most, free = 0, 0, anyio.Event()

    async def program(emit: Emit) -> Exit:
        nonlocal running, most
        del emit
        running += 1
        most = max(most, running)
        if running == 3:
            free.set()
        await free.wait()
        running -= 1
        return SUCCESS

    async with open_api(FakeExecutor(program), slots=3) as api:
        execution = await submit(api, "", [{}] * 7)
        assert execution["verdict"] == "PASSED"
        assert most == 3
        assert (await api.metrics())["greenroom_slots_used"] == 0


async def test_a_cancelled_submission_keeps_what_came_of_the_first_tests(open_api: Open) -> None:
    gate, begun = Gate(), iter(range(9))

    async def program(emit: Emit) -> Exit:
        return await gate(emit) if next(begun) == 1 else SUCCESS

    async with open_api(FakeExecutor(program), slots=1) as api:
        execution = await submit(api, "", [{}, {}, {}], waitMs=0)
        with anyio.fail_after(30):
            await gate.started.wait()
        await api.cancel(execution["id"])
        found = await look(api, execution["id"])
        assert (found["status"], found["verdict"]) == ("CANCELLED", "ERROR")
        assert of(found, "verdict") == ["PASSED", "SKIPPED", "SKIPPED"]


async def test_all_tests_together_have_a_time(open_api: Open) -> None:
    async with open_api(slots=1, tests_time=0.5) as api:
        tests: list[Json] = [{"expectedStdout": ""}, {"stdin": "hang"}, {}]
        execution = await submit(
            api, "import time, sys\nif sys.stdin.read(): time.sleep(60)", tests
        )
        assert (execution["status"], execution["verdict"]) == ("TIME_LIMIT_EXCEEDED", "ERROR")
        assert "0.5 s" in execution["message"]
        assert of(execution, "verdict") == ["PASSED", "SKIPPED", "SKIPPED"]


async def test_a_rerun_has_the_same_tests(api: Api) -> None:
    tests: list[Json] = [
        {"stdin": "2", "expectedStdout": "4", "hidden": True, "weight": 3},
        {"stdin": "x"},
    ]
    first = await submit(api, DOUBLE, tests, kind="SUBMIT", stopOnFailure=True)
    again = """
    mutation Again($id: ID!) { rerunExecution(input: { id: $id, waitMs: 60000 }) {
      execution { ...Tested } } }
    """
    second = (await api.ask(again + TESTED, id=first["id"]))["rerunExecution"]["execution"]
    assert second["kind"] == "SUBMIT"
    for field in ("name", "verdict", "stdin", "expectedStdout", "isHidden", "weight", "stdout"):
        assert of(second, field) == of(first, field)


async def test_the_history_tells_kinds_and_verdicts_apart(api: Api) -> None:
    right = await submit(api, DOUBLE, [{"stdin": "1"}], kind="SUBMIT")
    wrong = await submit(api, DOUBLE, [{"stdin": "x"}], kind="SUBMIT")
    await api.run("")
    page = """
    query Page($filter: ExecutionFilter) {
      executions(filter: $filter) { nodes { id } totalCount }
      executionStats(filter: $filter) { byVerdict { verdict count } } }
    """
    for filter, ids in (
        ({"kindIn": ["SUBMIT"]}, [wrong["id"], right["id"]]),
        ({"verdictIn": ["PASSED"]}, [right["id"]]),
        ({"verdictIn": ["ERROR", "FAILED"], "kindIn": ["SUBMIT"]}, [wrong["id"]]),
        ({"kindIn": ["RUN"], "verdictIn": ["PASSED"]}, []),
    ):
        found = await api.ask(page, filter=filter)
        assert [node["id"] for node in found["executions"]["nodes"]] == ids
    counts = (await api.ask(page))["executionStats"]["byVerdict"]
    assert counts == [{"verdict": "PASSED", "count": 1}, {"verdict": "FAILED", "count": 1}]


async def test_an_empty_list_of_tests_is_none(api: Api) -> None:
    execution = await submit(api, "print(1)", [])
    assert (execution["stdout"], execution["verdict"]) == ("1\n", None)
    assert (execution["tests"], execution["testSummary"]) == ([], None)


async def test_one_key_is_one_submission(api: Api) -> None:
    tests: list[Json] = [{"stdin": "1", "expectedStdout": "2"}]
    first = await submit(api, DOUBLE, tests, idempotencyKey="k")
    assert (await submit(api, DOUBLE, tests, idempotencyKey="k"))["id"] == first["id"]
    another = [{"stdin": "1", "expectedStdout": "3"}]
    asked = {"language": "PYTHON", "source": DOUBLE, "tests": another, "idempotencyKey": "k"}
    (error,) = (await api.ask(SUBMIT + TESTED, input=asked))["executeCode"]["errors"]
    assert error["__typename"] == "IdempotencyConflict"


@pytest.mark.parametrize(
    ("test", "path"),
    [
        ({"stdin": "a", "stdinBase64": "YQ=="}, ["stdinBase64"]),
        ({"stdinBase64": "?"}, ["stdinBase64"]),
        ({"expectedStdout": "\ud800"}, ["expectedStdout"]),
        ({"expectedStdoutBase64": "?"}, ["expectedStdoutBase64"]),
        ({"expectedStdout": "{", "comparison": "JSON"}, ["expectedStdout"]),
        ({"expectedStdout": "NaN", "comparison": "JSON"}, ["expectedStdout"]),
        ({"expectedStdout": f'"{"x" * 2**20}"', "comparison": "JSON"}, ["expectedStdout"]),
        ({"comparison": "FLOATS", "absoluteTolerance": -1}, ["absoluteTolerance"]),
        ({"comparison": "JSON", "relativeTolerance": -0.5}, ["relativeTolerance"]),
        ({"relativeTolerance": 1}, ["comparison"]),
        ({"weight": -1}, ["weight"]),
        ({"weight": 1e300}, ["weight"]),
        ({"name": "x" * 201}, ["name"]),
        ({"name": "\0"}, ["name"]),
        ({"stdin": "x" * (2**20 + 1)}, ["stdin"]),
        ({"args": ["x"] * 65}, ["args"]),
        ({"args": ["a", "\0"]}, ["args", "1"]),
        ({"limits": {"wallTimeMs": 600_000}}, ["limits", "wallTimeMs"]),
        ({"limits": {"processes": 0}}, ["limits", "processes"]),
        ({"files": [{"path": "../x", "text": ""}]}, ["files", "0", "path"]),
        (
            {"files": [{"path": "a", "text": ""}, {"path": "own", "text": ""}]},
            ["files", "1", "path"],
        ),
        ({"files": [{"path": "main.py", "text": ""}]}, ["files", "0", "path"]),
        ({"files": [{"path": str(n), "text": ""} for n in range(20)]}, ["files"]),
    ],
)
async def test_a_wrong_test_is_told_by_its_place(api: Api, test: Json, path: list[str]) -> None:
    own = [{"path": "own", "text": ""}]
    (error,) = await refused(api, [{}, test], files=own)
    assert error["path"] == ["tests", "1", *path]
    assert error["__typename"] == ("LimitTooHigh" if "600000" in str(test) else "InvalidInput")


async def test_there_may_be_only_so_many_tests_and_so_much_in_them(open_api: Open) -> None:
    async with open_api(max_tests=3, max_tests_size=10) as api:
        assert (await submit(api, "", [{"stdin": "x" * 5, "expectedStdout": "y" * 5}]))["verdict"]
        (error,) = await refused(api, [{}] * 4)
        assert (error["path"], "at most 3" in error["message"]) == (["tests"], True)
        (error,) = await refused(api, [{"stdin": "x" * 5}, {"expectedStdout": "y" * 6}])
        assert (error["path"], "at most 10 bytes" in error["message"]) == (["tests"], True)


async def test_who_types_has_no_tests(api: Api) -> None:
    (error,) = await refused(api, [{}], interactive=True)
    assert error["path"] == ["interactive"]


ONE = "mutation ($input: ExecuteCodeInput!) {{ {} }}"
ALIASES = " ".join(f"a{n}: executeCode(input: $input) {{ errors {{ code }} }}" for n in range(3))
BATCH = "executeCodeBatch(input: {executions: [$input, $input, $input]}) { errors { code } }"


@pytest.mark.parametrize("fields", [ALIASES, BATCH], ids=["aliases", "batch"])
async def test_a_request_brings_only_so_many_tests(api: Api, fields: str) -> None:
    input = {"language": "PYTHON", "source": "", "tests": [{}] * 800}
    error = await api.fail(ONE.format(fields), input=input)
    assert error["extensions"]["code"] == "TOO_COSTLY"
    assert (await api.ask("{ executions { totalCount } }"))["executions"]["totalCount"] == 0


async def test_past_events_read_their_tests_at_once(open_api: Open, statements: Statements) -> None:
    async with open_api(FakeExecutor()) as api:
        id = (await submit(api, "", [{"stdin": str(number)} for number in range(9)]))["id"]
        statements.clear()
        await api.ask(EVENTS, id=id)
    assert sum("execution_tests.stdin" in each for each in statements) == 1


CALLS: dict[str, Any] = {
    "right": ({"call": {"arguments": [2]}, "expectedValue": 4}, "PASSED", 4),
    "wrong": ({"call": {"arguments": [2]}, "expectedValue": 5}, "FAILED", 4),
    "no matter": ({"call": {"arguments": [2]}}, "PASSED", 4),
    "null": ({"call": {"function": "none"}, "expectedValue": None}, "PASSED", None),
    "not null": ({"call": {"arguments": [2]}, "expectedValue": None}, "FAILED", 4),
    "deep": (
        {
            "call": {"function": "same", "arguments": [{"a": [1, 2]}]},
            "expectedValue": {"a": [1.0, 2]},
        },
        "PASSED",
        {"a": [1, 2]},
    ),
    "given null": (
        {"call": {"function": "same", "arguments": [None]}, "expectedValue": None},
        "PASSED",
        None,
    ),
    "near": (
        {
            "call": {"function": "same", "arguments": [[0.5]]},
            "expectedValue": [0.6],
            "absoluteTolerance": 0.2,
        },
        "PASSED",
        [0.5],
    ),
    "raises": ({"call": {"arguments": []}, "expectedValue": None}, "ERROR", None),
    "leaves": ({"call": {"function": "leave"}, "expectedValue": None}, "ERROR", None),
    "missing": ({"call": {"function": "nowhere"}}, "ERROR", None),
}
FUNCTIONS = {
    "PYTHON": "import os\nprint('loud', flush=True)\ndef solve(x): return x * 2\ndef none(): pass\n"
    "def same(x): return x\ndef leave(): os._exit(0)\n",
    "JAVASCRIPT": "console.log('loud');\n"
    "function solve(x) { if (x === undefined) throw Error('x'); return x * 2 }\n"
    "function none() { return null }\nfunction same(x) { return x }\n"
    "function leave() { process.exit(0) }\n",
}


@pytest.mark.parametrize("language", FUNCTIONS)
async def test_functions_are_called_and_what_they_return_is_compared(
    api: Api, language: str
) -> None:
    tests = [test | {"name": name} for name, (test, _, _) in CALLS.items()]
    execution = await submit(api, FUNCTIONS[language], tests, language=language)
    for test in execution["tests"]:
        given, verdict, returned = CALLS[test["name"]]
        assert test["verdict"] == verdict, test
        assert test["call"] == {
            "function": given["call"].get("function", "solve"),
            "arguments": given["call"].get("arguments", []),
            "expectedValue": given.get("expectedValue"),
            "returnedValue": returned,
        }
        assert bool(test["message"]) is (verdict == "ERROR")
        assert test["stdout"] == "loud\n"
        assert test["expectedStdout"] is None


@pytest.mark.parametrize(
    ("test", "path"),
    [
        ({"call": {"function": "a b"}}, ["call", "function"]),
        ({"call": {"function": "\ud800"}}, ["call", "function"]),
        ({"call": {"function": "f" * 201}}, ["call", "function"]),
        ({"call": {"arguments": ["\ud800"]}}, ["call", "arguments"]),
        ({"call": {}, "stdin": "x"}, ["stdin"]),
        ({"call": {}, "comparison": "EXACT"}, ["comparison"]),
        ({"call": {}, "expectedStdout": "x"}, ["expectedStdout"]),
        ({"call": {}, "expectedValue": "\ud800"}, ["expectedValue"]),
        ({"call": {}, "expectedValue": "x" * 2**20}, ["expectedValue"]),
        ({"expectedValue": 1}, ["expectedValue"]),
    ],
)
async def test_a_wrong_call_is_told_by_its_place(api: Api, test: Json, path: list[str]) -> None:
    (error,) = await refused(api, [{}, test])
    assert error["path"] == ["tests", "1", *path]


async def test_arguments_may_be_only_so_deep(api: Api) -> None:
    deep: list[Any] = []
    for _ in range(101):
        deep = [deep]
    (error,) = await refused(api, [{"call": {"arguments": deep}}])
    assert error["path"] == ["tests", "0", "call", "arguments"]


async def test_functions_of_some_languages_cannot_be_called(api: Api) -> None:
    (error,) = await refused(api, [{"call": {}}], language="BASH")
    assert error["path"] == ["tests", "0", "call"]
