"""Programs run, and their ends have the right names."""

import base64
import json
from datetime import datetime
from typing import Any

import pytest

from .client import JSON, Api, Json

PYTHON_ENDS: list[tuple[str, Json, Json]] = [
    ("print(6 * 7)", {}, {"status": "SUCCEEDED", "exitCode": 0, "stdout": "42\n"}),
    ("raise SystemExit(3)", {}, {"status": "FAILED", "exitCode": 3}),
    ("print(", {}, {"status": "FAILED", "exitCode": 1}),
    (
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        {},
        {"status": "CRASHED", "exitCode": None, "signal": "SIGSEGV"},
    ),
    ("while True: pass", {"cpuTimeMs": 300}, {"status": "TIME_LIMIT_EXCEEDED", "timeLimit": "CPU"}),
    (
        "import time; time.sleep(60)",
        {"wallTimeMs": 300},
        {"status": "TIME_LIMIT_EXCEEDED", "timeLimit": "WALL"},
    ),
    ("x = b'x' * (200 << 20)", {"memoryBytes": 64 << 20}, {"status": "MEMORY_LIMIT_EXCEEDED"}),
    (
        "while True: print('x' * 1000)",
        {"outputBytes": 10_000},
        {"status": "OUTPUT_LIMIT_EXCEEDED"},
    ),
]
JAVASCRIPT_ENDS: list[tuple[str, Json, Json]] = [
    ("console.log(6 * 7)", {}, {"status": "SUCCEEDED", "exitCode": 0, "stdout": "42\n"}),
    ("process.exit(3)", {}, {"status": "FAILED", "exitCode": 3}),
    ("console.log(", {}, {"status": "FAILED", "exitCode": 1}),
    ("process.abort()", {}, {"status": "CRASHED", "exitCode": None, "signal": "SIGABRT"}),
    ("for (;;);", {"cpuTimeMs": 500}, {"status": "TIME_LIMIT_EXCEEDED", "timeLimit": "CPU"}),
    (
        "setTimeout(() => {}, 60000)",
        {"wallTimeMs": 500},
        {"status": "TIME_LIMIT_EXCEEDED", "timeLimit": "WALL"},
    ),
    (
        "const all = []; for (;;) all.push(Buffer.alloc(1 << 20, 1));",
        {"memoryBytes": 128 << 20},
        {"status": "MEMORY_LIMIT_EXCEEDED"},
    ),
    (
        "for (;;) require('fs').writeSync(1, 'x'.repeat(1000));",
        {"outputBytes": 10_000},
        {"status": "OUTPUT_LIMIT_EXCEEDED"},
    ),
]


@pytest.mark.parametrize(
    ("language", "source", "limits", "end"),
    [
        *(("PYTHON", *row) for row in PYTHON_ENDS),
        *(("JAVASCRIPT", *row) for row in JAVASCRIPT_ENDS),
    ],
)
async def test_a_program_ends_as_it_should(
    api: Api, language: str, source: str, limits: Json, end: Json
) -> None:
    execution = await api.run(source, language, limits=limits)
    assert {name: execution[name] for name in end} == end
    assert execution["message"] is None
    if end["status"] not in {"CRASHED", "MEMORY_LIMIT_EXCEEDED"}:
        assert execution["signal"] is None
    if end["status"] != "TIME_LIMIT_EXCEEDED":
        assert execution["timeLimit"] is None
    assert await api.look(execution["id"]) == execution


async def test_an_execution_tells_all_about_itself(api: Api) -> None:
    execution = await api.run(
        "import sys\nprint(sys.argv[1:], input())\nprint('no', file=sys.stderr)",
        stdin="Ada\n",
        args=["one", "zwei drei", ""],
        limits={"wallTimeMs": 9_000, "memoryBytes": 128 << 20},
        sessionId="interview 7",
        label="first try",
        metadata={"candidate": {"name": "Ada", "scores": [1, 2.5, None, True]}},
    )
    assert execution["stdout"] == "['one', 'zwei drei', ''] Ada\n"
    assert execution["stderr"] == "no\n"
    assert execution["source"].startswith("import sys")
    assert execution["stdin"] == "Ada\n"
    assert execution["args"] == ["one", "zwei drei", ""]
    assert execution["sessionId"] == "interview 7"
    assert execution["label"] == "first try"
    assert execution["metadata"] == {"candidate": {"name": "Ada", "scores": [1, 2.5, None, True]}}
    assert execution["limits"] == {
        "wallTimeMs": 9_000,
        "cpuTimeMs": 5_000,
        "memoryBytes": 128 << 20,
        "outputBytes": 1 << 20,
        "processes": 64,
        "diskBytes": 64 << 20,
    }
    assert execution["executor"] == "local"
    assert execution["attempt"] == 1
    assert execution["language"]["id"] == "PYTHON"
    assert execution["languageVersion"] == execution["language"]["version"]
    created, started, finished = (
        datetime.fromisoformat(execution[name]) for name in ("createdAt", "startedAt", "finishedAt")
    )
    assert created <= started < finished
    assert all(execution[name].endswith("Z") for name in ("createdAt", "startedAt", "finishedAt"))
    usage = execution["usage"]
    assert 0 < usage["cpuTimeMs"] < usage["wallTimeMs"] + 50
    assert usage["peakMemoryBytes"] > 1 << 20
    # Here nothing is kept for one program alone: it costs what it uses.
    assert usage["coreSeconds"] == pytest.approx(usage["cpuTimeMs"] / 1000, abs=1e-5)
    held = usage["peakMemoryBytes"] / (1 << 30) * usage["wallTimeMs"] / 1000
    assert usage["gibSeconds"] == pytest.approx(held, abs=1e-5)


async def test_an_answer_is_what_the_history_keeps(api: Api) -> None:
    execution = await api.run("print('é' * 3)", stdin="x", args=["y"], metadata={"b": 1, "a": 2})
    assert await api.look(execution["id"]) == execution
    assert list((await api.look(execution["id"]))["metadata"]) == ["b", "a"]


async def test_input_can_be_bytes(api: Api) -> None:
    every_byte = bytes(range(256))
    execution = await api.run(
        "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])",
        stdinBase64=base64.b64encode(every_byte).decode(),
    )
    stream = execution["stdoutStream"]
    assert base64.b64decode(stream["base64"]) == every_byte[::-1]
    assert stream["byteSize"] == 256
    assert stream["isLossy"]
    assert not stream["isTruncated"]
    assert "�" in execution["stdout"]


async def test_text_input_may_hold_nul(api: Api) -> None:
    execution = await api.run("print(len(input()))", stdin="a\0b\n")
    assert execution["stdout"] == "3\n"


@pytest.mark.parametrize(
    ("most", "text"),
    [(0, ""), (1, ""), (2, "é"), (3, "é"), (5, "éé\n"), (100, "éé\n"), (None, "éé\n")],
)
async def test_output_can_be_cut_at_a_character(api: Api, most: int | None, text: str) -> None:
    id = (await api.run("print('éé'); import sys; print('éé', file=sys.stderr)"))["id"]
    query = "query($id: ID!, $most: Int) { execution(id: $id) { %s } }"
    fields = "stdout(maxBytes: $most) stderr(maxBytes: $most)"
    assert await api.ask(query % fields, id=id, most=most) == {
        "execution": {"stdout": text, "stderr": text}
    }


async def test_each_field_cuts_for_itself(api: Api) -> None:
    id = (await api.run("import sys; print('éé' * 9); print('no', file=sys.stderr)"))["id"]
    fields = "a: stdout(maxBytes: 3) b: stdout(maxBytes: 4) stderr(maxBytes: 2)"
    query = "query($id: ID!) { execution(id: $id) { %s } }"
    cut = {"a": "é", "b": "éé", "stderr": "no"}
    assert await api.ask(query % fields, id=id) == {"execution": cut}
    whole = {**cut, "stdout": "éé" * 9 + "\n"}
    assert await api.ask(query % f"{fields} stdout", id=id) == {"execution": whole}


WRITTEN = "id stdout stderr a: stdout(maxBytes: 3) stdoutStream { base64 byteSize isLossy }"
RUN = "mutation($input: ExecuteCodeInput!) { executeCode(input: $input) { execution { %s } } }"


@pytest.mark.parametrize(
    "source",
    [
        "print('éé')",
        "import os; os.write(2, b'\\xff'); os.write(1, 'é'.encode()[:1]); os.write(1, b'a')",
        "import os, time\nfor _ in range(9): os.write(1, b'a'); os.write(2, b'c'); time.sleep(.01)",
        "import os; os.write(1, b'x' * 65536)",
        "import os; os.write(1, b'x' * 65536); os.write(2, b'y')",
        "pass",
    ],
    ids=["text", "no text", "slow", "much", "too much to remember", "nothing"],
)
async def test_an_answer_has_what_the_history_has(api: Api, source: str) -> None:
    given = {"language": "PYTHON", "source": source}
    answer = (await api.ask(RUN % WRITTEN, input=given))["executeCode"]["execution"]
    query = f"query($id: ID!) {{ execution(id: $id) {{ {WRITTEN} }} }}"
    assert await api.ask(query, id=answer["id"]) == {"execution": answer}


async def test_output_cannot_be_cut_before_its_start(api: Api) -> None:
    id = (await api.run("print(1)"))["id"]
    error = await api.fail("query($id: ID!) { execution(id: $id) { stdout(maxBytes: -1) } }", id=id)
    assert error["message"] == "`maxBytes` must not be negative, but is -1."
    assert error["extensions"] == {"code": "INVALID_INPUT"}
    assert error["path"] == ["execution", "stdout"]


async def test_output_is_kept_to_the_byte_and_said_to_be_cut(api: Api) -> None:
    source = "import os\nfor _ in range(100): os.write(1, b'x' * 1000)"
    execution = await api.run(source, limits={"outputBytes": 12_345})
    assert execution["stdoutStream"]["byteSize"] == 12_345
    assert execution["stdoutStream"]["isTruncated"]
    assert not execution["stderrStream"]["isTruncated"]
    assert execution["stdout"] == "x" * 12_345


async def test_the_least_limits_are_enough_to_begin(api: Api) -> None:
    for limits in ({"memoryBytes": (4 << 20) + 8}, {"diskBytes": (64 << 10) + 8}, {"processes": 1}):
        execution = await api.run("print(1)", limits=limits)
        assert execution["status"] in {"SUCCEEDED", "MEMORY_LIMIT_EXCEEDED"}, limits


async def test_null_limits_have_their_defaults(api: Api) -> None:
    names = ("wallTimeMs", "cpuTimeMs", "memoryBytes", "outputBytes", "processes", "diskBytes")
    execution = await api.run("print(1)", limits=dict.fromkeys(names))
    assert execution["limits"] == (await api.run("print(1)"))["limits"]


@pytest.mark.parametrize("size", ['"134217728"', "134217728", "134217728.0"])
async def test_a_size_may_be_a_number_or_digits(api: Api, size: str) -> None:
    query = """mutation($size: BigInt) { executeCode(input: {
        language: PYTHON, source: "", limits: { memoryBytes: $size }
    }) { execution { limits { memoryBytes } } } }"""
    body = f'{{"query": {json.dumps(query)}, "variables": {{"size": {size}}}}}'
    answer = await api.http.post("/graphql", content=body, headers=JSON)
    limits = answer.json()["data"]["executeCode"]["execution"]["limits"]
    assert limits == {"memoryBytes": 134217728}


@pytest.mark.parametrize("size", [1.5, "1e3", "", "ten", True, 2**63, -(2**63), [1]])
async def test_a_size_that_is_none_is_the_requests_mistake(api: Api, size: Any) -> None:
    query = """mutation($size: BigInt) { executeCode(input: {
        language: PYTHON, source: "", limits: { memoryBytes: $size } }) { errors { code } } }"""
    error = await api.fail(query, size=size)
    assert "BigInt cannot represent" in error["message"]


async def test_one_request_may_run_several_programs(api: Api) -> None:
    data = await api.ask(
        """mutation {
          a: executeCode(input: { language: PYTHON, source: "print(1)" }) { execution { stdout } }
          b: executeCode(input: { language: JAVASCRIPT, source: "console.log(2)" }) {
            execution { stdout }
          }
        }"""
    )
    assert data == {"a": {"execution": {"stdout": "1\n"}}, "b": {"execution": {"stdout": "2\n"}}}


async def test_metadata_may_be_written_in_the_document(api: Api) -> None:
    data = await api.ask(
        """mutation($variable: Int) {
          executeCode(input: { language: PYTHON, source: "", metadata: {
            list: [1, 2.5, "three", true, null, ENUM], variable: $variable, empty: {}
          } }) { execution { metadata } }
        }""",
        variable=7,
    )
    assert data["executeCode"]["execution"]["metadata"] == {
        "list": [1, 2.5, "three", True, None, "ENUM"],
        "variable": 7,
        "empty": {},
    }


async def test_metadata_may_speak_of_nul(api: Api) -> None:
    metadata = {"\\u0000": "backslash, u, zeros: \\u0000"}
    assert (await api.run("", metadata=metadata))["metadata"] == metadata
