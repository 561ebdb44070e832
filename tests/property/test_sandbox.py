"""What holds for every input of a program, on the executors that keep the contract."""

import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.execution import Status
from app.languages import all_languages
from tests.contract import programs
from tests.contract.runs import Box
from tests.contract.subjects import local
from tests.hosted import hosted

PYTHON = all_languages()["PYTHON"]

# A run costs 30 ms; the fixtures hold nothing that one example could leave to the next.
few = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
# What the kernel takes for an argument: no NUL, and text that can be encoded.
ARGUMENT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=99)


@pytest.fixture(scope="module")
async def box() -> AsyncIterator[Box]:
    async with hosted(local()) as subject:
        yield Box(subject.executor, PYTHON)


@few
@given(st.lists(ARGUMENT, max_size=10))
async def test_any_arguments_arrive(box: Box, args: list[str]) -> None:
    result = await box(programs.ARGUMENTS["PYTHON"], args=args)
    assert json.loads(result.stdout) == args, result


@few
@given(st.binary(max_size=300_000))
async def test_any_input_comes_back(box: Box, stdin: bytes) -> None:
    result = await box(programs.ECHO["PYTHON"], stdin=stdin)
    assert result.stdout == stdin, result


@few
@given(st.integers(0, 255))
async def test_any_exit_code_is_told(box: Box, code: int) -> None:
    result = await box(programs.EXIT["PYTHON"], args=[str(code)])
    assert result.outcome.exit_code == code, result
    assert result.status is (Status.FAILED if code else Status.SUCCEEDED)


@few
@given(st.integers(1, 300_000), st.integers(0, 300_000), st.sampled_from(["1", "2"]))
async def test_any_output_is_kept_up_to_any_limit(box: Box, limit: int, size: int, fd: str) -> None:
    result = await box(programs.FLOOD["PYTHON"], args=[fd, str(size)], output=limit)
    assert len(result.stdout + result.stderr) == min(size, limit), result
    expected = Status.SUCCEEDED if size <= limit else Status.OUTPUT_LIMIT_EXCEEDED
    assert result.status is expected
