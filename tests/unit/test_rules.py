"""Which submissions are accepted; the messages stand in tests/api/test_refusals.py."""

from dataclasses import replace
from typing import Any

import pytest

from app.domain.errors import InvalidInput, LimitTooHigh
from app.domain.execution import Program, Submission
from app.domain.limits import DEFAULT_LIMITS, MAXIMUM_LIMITS, MIB
from app.executions.rules import Rules, is_encodable

SMALL = Rules(source=10, stdin=10, args=2, args_size=10, metadata=30, metadata_depth=2)


def submission(**changes: Any) -> Submission:
    program = {
        name: changes.pop(name) for name in ("source", "stdin", "args") if name in changes
    } or {"source": ""}
    values: dict[str, Any] = {
        "owner": "local",
        "program": Program(language="PYTHON", **{"source": "", **program}),
        "limits": DEFAULT_LIMITS,
    }
    return Submission(**values | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"source": "x" * 10, "stdin": b"x" * 10, "args": ("x" * 5, "x" * 5)},
        {"source": "é" * 5},
        {"source": "\0"},
        {"stdin": b"\0\xff"},
        {"args": ("", "")},
        {"limits": MAXIMUM_LIMITS},
        {"label": "é" * 200, "session_id": ""},
        {"metadata": {}},
        {"metadata": {"a": {}}},
        {"metadata": {"a": "\\u0000 \\\\u0000"}},
        {"metadata": {"a": [1, 2.5, None, True]}},
    ],
)
def test_what_keeps_the_rules_is_accepted(changes: dict[str, Any]) -> None:
    assert list(SMALL.problems(submission(**changes))) == []


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"source": "x" * 11}, [("source",)]),
        ({"source": "é" * 6}, [("source",)]),
        ({"source": "\ud800"}, [("source",)]),
        ({"stdin": b"x" * 11}, [("stdin",)]),
        ({"args": ("", "", "")}, [("args",)]),
        ({"args": ("\0",) * 3}, [("args",)]),
        ({"args": ("x" * 6, "x" * 5)}, [("args",)]),
        ({"args": ("\0", "\ud800")}, [("args", "0"), ("args", "1")]),
        ({"label": "x" * 201}, [("label",)]),
        ({"session_id": "\0"}, [("session_id",)]),
        ({"metadata": {"a": {"b": {}}}}, [("metadata",)]),
        ({"metadata": {"a": "x" * 30}}, [("metadata",)]),
        ({"metadata": {"\0": 1}}, [("metadata",)]),
        ({"metadata": {"a": "\\\0"}}, [("metadata",)]),
        ({"metadata": {"a": "\udfff"}}, [("metadata",)]),
        ({"metadata": {"a": float("inf")}}, [("metadata",)]),
        ({"metadata": {"a": float("nan")}}, [("metadata",)]),
    ],
)
def test_what_breaks_a_rule_is_named(changes: dict[str, Any], paths: list[tuple[str, ...]]) -> None:
    problems = list(SMALL.problems(submission(**changes)))
    assert all(isinstance(problem, InvalidInput) for problem in problems)
    assert [problem.path for problem in problems] == paths


@pytest.mark.parametrize("name", ["wall_time", "cpu_time", "memory", "output", "processes", "disk"])
def test_each_limit_is_held_between_nothing_and_its_maximum(name: str) -> None:
    maximum = getattr(MAXIMUM_LIMITS, name)
    for value, kind in ((0, InvalidInput), (-1, InvalidInput), (maximum + 1, LimitTooHigh)):
        limits = replace(DEFAULT_LIMITS, **{name: value})
        [problem] = Rules().problems(submission(limits=limits))
        assert type(problem) is kind
        assert problem.path == ("limits", name)


def test_a_limit_must_hold_the_program_itself() -> None:
    source = "é" * 1000
    for name, room in (("memory", 4 * MIB), ("disk", 64 * 1024)):
        enough = replace(DEFAULT_LIMITS, **{name: room + 2000})
        assert list(Rules().problems(submission(source=source, limits=enough))) == []
        too_low = replace(DEFAULT_LIMITS, **{name: room + 1999})
        [problem] = Rules().problems(submission(source=source, limits=too_low))
        assert problem.path == ("limits", name)


def test_half_a_character_is_no_text() -> None:
    assert is_encodable("é😀\0")
    assert not is_encodable("\ud83d")
