"""What a call leaves is read as if the program had written it itself, for it can."""

from typing import Any

import pytest

from app.domain.execution import Exit, File, KillReason, Program
from app.domain.language import Language
from app.domain.testing import Call
from app.executions.calling import Called, NotReturned, Returned, called
from app.languages import all_languages

LANGUAGES = [each for each in all_languages().values() if each.harness]
PYTHON = all_languages()["PYTHON"]
NONCE = "0123456789abcdef"


def going(language: Language = PYTHON, function: str = "solve") -> Called:
    program = Program(language=language.id, source="")
    return called(language, program, Call(function=function), NONCE)


def end(**files: bytes) -> Exit:
    product = (File(path=f".returned-{NONCE}/{name}", data=data) for name, data in files.items())
    return Exit(code=0, product=tuple(product))


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"1\n", 1),
        (b' {"a": [null, 1.5e3]}\n', {"a": [None, 1500.0]}),
        (b'"\\ud834\\udd1e"\n', "𝄞"),
        ('"ü"\n'.encode(), "ü"),
    ],
)
def test_a_value_is_read(data: bytes, value: Any) -> None:
    assert going().answer(end(value=data)) == Returned(value=value)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\n", b"12", b"[1]", b"[1\n", b"1 2\n", b"NaN\n", b"[-Infinity]\n", b"1e999\n"),
        *(b'"\xff"\n', b'"\\ud800"\n', b'{"\\udfff": 1}\n', b"'1'\n", b"9" * 5000 + b"\n"),
        *(b"[" * depth + b"]" * depth + b"\n" for depth in (401, 100_000)),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_whole_value_is_none(data: bytes) -> None:
    said = going().answer(end(value=data))
    assert said == NotReturned(message="What `solve` returned could not be read.")


def test_a_value_is_read_as_deep_as_values_are_compared() -> None:
    assert isinstance(going().answer(end(value=b"[" * 400 + b"]" * 400 + b"\n")), Returned)


def test_a_value_stands_before_a_problem() -> None:
    assert going().answer(end(problem=b"no\n", value=b"1\n")) == Returned(value=1)


def test_a_problem_is_told_in_one_line_without_tricks() -> None:
    said = going().answer(end(problem=b"why \x1b[2J\xff\xe2\x80\xae" + b"x" * 5000 + b"\nmore\n"))
    assert isinstance(said, NotReturned)
    assert said.message.startswith("why [2J�xxx")
    assert len(said.message) == 300


@pytest.mark.parametrize(
    ("exit_", "message"),
    [
        (Exit(code=0), "The program ended before"),
        (Exit(code=0, product=(File(path="out/value", data=b"1\n"),)), "The program ended before"),
        (Exit(code=3, product=()), "The program ended with exit code 3 before"),
        (Exit(signal="SIGSEGV"), "The program was ended by SIGSEGV before"),
        (Exit(kill_reason=KillReason.WALL_TIME), "The program was ended at a limit before"),
        (Exit(signal="SIGKILL", oom_killed=True), "The program was ended at a limit before"),
    ],
)
def test_no_answer_is_told_by_the_end(exit_: Exit, message: str) -> None:
    assert going().answer(exit_) == NotReturned(message=f"{message} `solve` had returned.")


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.id)
@pytest.mark.parametrize("name", ["", "a b", "1a", "f()", "a.b", "x;y", "f\n", "`"])
def test_a_name_that_no_function_has_is_refused(language: Language, name: str) -> None:
    with pytest.raises(ValueError, match="no name of a function"):
        going(language, name)


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.id)
@pytest.mark.parametrize("name", ["f", "_f1", "größe"])
def test_a_name_that_a_function_has_is_taken(language: Language, name: str) -> None:
    assert going(language, name).collect.folder == f".returned-{NONCE}"
