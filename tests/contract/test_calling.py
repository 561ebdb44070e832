"""A function of a program is called, and nothing but what it returns is taken for its value."""

import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from app.domain.execution import File, Output, Program, Status
from app.domain.language import Language
from app.domain.ports import Executor
from app.domain.testing import Call
from app.executions.calling import NotReturned, Returned, called
from app.executions.run import Input, Workplace, prepare, run_prepared
from app.languages import all_languages
from tests.contract.runs import WORKSHOP, Result, limits_with

HERE = Path(__file__).parent
PYTHON, JAVASCRIPT = (all_languages()[each] for each in ("PYTHON", "JAVASCRIPT"))


@dataclass(slots=True)
class Answered(Result):
    """A run, and what was taken for its function's value."""

    answer: Returned | NotReturned = field(default_factory=lambda: NotReturned(message=""))

    @property
    def value(self) -> Any:
        assert isinstance(self.answer, Returned), self
        return self.answer.value

    @property
    def message(self) -> str:
        assert isinstance(self.answer, NotReturned), self
        return self.answer.message


async def call(  # noqa: PLR0913 - all that a program is given
    executor: Executor,
    language: Language,
    source: str,
    *arguments: Any,
    function: str = "solve",
    entry_point: str | None = None,
    files: tuple[File, ...] = (),
    **limits: float,
) -> Answered:
    result = Answered()

    async def emit(output: Output) -> None:
        result.outputs.append(output)

    program = Program(
        language=language.id, source=source, entry_point=entry_point, files=files, args=("own",)
    )
    asked = Call(function=function, arguments=arguments)
    going = called(language, program, asked, secrets.token_hex(16))
    place = Workplace(executor=executor, workshop=WORKSHOP, scope=("local", None))
    bounds = limits_with(**limits)
    prepared = await prepare(place, language, going.program)
    given = Input(stdin=going.program.stdin, args=going.program.args, collect=going.collect)
    result.end = await run_prepared(place, prepared, given, bounds, emit)
    result.answer = going.answer(result.end)
    return result


VALUES: list[Any] = [
    *(0, 1, -17, 2**53, 1.5, -0.25, True, False, None, "", 'ü€𝄞\n"\\/\u2028', [], {}, [[[]]]),
    [1, "two", None, {"three": [3.5, {"": False}]}],
    {"a b": 1, "__proto__": {"x": [1]}, "constructor": "c"},
    list(range(3000)),
    "x" * 200_000,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
async def test_values_pass_both_ways(executor: Executor, language: Language, value: Any) -> None:
    identity = {
        "PYTHON": "def solve(x, y): return [x, y]",
        "JAVASCRIPT": "function solve(x, y) { return [x, y] }",
    }
    result = await call(executor, language, identity[language.id], value, 1)
    assert result.value == [value, 1]
    assert (result.status, result.stdout, result.stderr) == (Status.SUCCEEDED, b"", b"")


def cases(kind: str) -> list[ParameterSet]:
    """Read the tables: a line with three signs and a name begins a program."""
    found = []
    for language in (PYTHON, JAVASCRIPT):
        text = (HERE / "calling" / f"{language.id}-{kind}.txt").read_text()
        _, *parts = re.split(r"^### (.*)\n", text, flags=re.MULTILINE)
        for name, source in zip(parts[::2], parts[1::2], strict=True):
            found.append(pytest.param((language, source), id=f"{language.id}: {name}"))
    return found


@pytest.mark.parametrize("case", cases("good"))
async def test_what_is_returned_is_the_value_whatever_else_it_does(
    executor: Executor, case: tuple[Language, str]
) -> None:
    language, source = case
    result = await call(executor, language, source, 20, 22)
    assert result.value == 42


@pytest.mark.parametrize("case", cases("bad"))
async def test_what_is_no_value_is_said(executor: Executor, case: tuple[Language, str]) -> None:
    language, (message, _, source) = case[0], case[1].partition("\n")
    result = await call(executor, language, source, cpu_time=1.0)
    assert message in result.message


async def test_a_traceback_of_python_is_the_programs_own(executor: Executor) -> None:
    source = "def solve(a):\n    return inner(a)\n\n\ndef inner(a):\n    return 1 / a\n"
    result = await call(executor, PYTHON, source, 0)
    assert result.stderr.decode().splitlines() == [
        "Traceback (most recent call last):",
        '  File "/box/main.py", line 2, in solve',
        "    return inner(a)",
        *([] if (lines := result.stderr.count(b"^^")) == 0 else ["           ^^^^^^^^"]),
        '  File "/box/main.py", line 6, in inner',
        "    return 1 / a",
        *([] if lines == 0 else ["           ~~^~~"]),
        "ZeroDivisionError: division by zero",
    ]


async def test_a_stack_of_javascript_begins_with_the_program(executor: Executor) -> None:
    source = "function solve(a) {\n  return inner(a);\n}\nfunction inner(a) { throw Error(a) }\n"
    result = await call(executor, JAVASCRIPT, source, "no")
    lines = result.stderr.decode().splitlines()
    assert lines[:2] == ["/box/main.js:4", "function inner(a) { throw Error(a) }"]
    assert lines[4:7] == [
        "Error: no",
        "    at inner (/box/main.js:4:27)",
        "    at solve (/box/main.js:2:10)",
    ]


@pytest.mark.parametrize("started", ["the source", "another file"])
async def test_the_function_is_that_of_the_file_that_is_started(
    executor: Executor, language: Language, started: str
) -> None:
    name = f"lib/start{language.file_extension}"
    text = {
        "PYTHON": "from helper import two\ndef solve(a): return a + two",
        "JAVASCRIPT": "const { two } = require('./helper');\nfunction solve(a) { return a + two }",
    }[language.id]
    helper = {"PYTHON": "two = 2", "JAVASCRIPT": "exports.two = 2"}[language.id]
    files = [File(path=f"lib/helper{language.file_extension}", data=helper.encode())]
    if started == "another file":
        files.append(File(path=name, data=text.encode()))
    source = text if started == "the source" else ""
    result = await call(
        executor, language, source, 40, entry_point=name, files=tuple(files), function="solve"
    )
    assert result.value == 42


async def test_a_folder_of_modules_is_no_hindrance(executor: Executor) -> None:
    kind = File(path="package.json", data=b'{"type": "module"}')
    result = await call(
        executor, JAVASCRIPT, "export function solve(a) { return a }", 42, files=(kind,)
    )
    assert result.value == 42


async def test_all_that_is_printed_arrives(executor: Executor) -> None:
    source = "function solve(n) { for (let i = 0; i < n; i++) console.log('0123456789'); return n }"
    result = await call(executor, JAVASCRIPT, source, 60_000)
    assert result.value == 60_000
    assert len(result.stdout) == 11 * 60_000
