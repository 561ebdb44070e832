"""A program cannot tell whether its interpreter was started for it or had been waiting."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
from _pytest.mark.structures import ParameterSet

from app.executors.local.executor import LocalExecutor
from app.languages import all_languages
from tests.contract.runs import Result, run
from tests.contract.subjects import local
from tests.hosted import hosted

LANGUAGES = all_languages()
HERE = Path(__file__).parent
ARGS = ("one", "two words", "", "drei € \n")
STDIN = b"first\nsecond\nthird without an end"
# Where something lies in memory differs from process to process.
ADDRESS = re.compile(rb"0x[0-9a-f]{6,}")


class Case(NamedTuple):
    language: str
    source: str


def cases() -> list[ParameterSet]:
    """Read the tables: a line with three signs and a name begins a program."""
    found = []
    for path in sorted(HERE.glob("*.txt")):
        _, *parts = re.split(r"^### (.*)\n", path.read_text(), flags=re.MULTILINE)
        for name, source in zip(parts[::2], parts[1::2], strict=True):
            found.append(pytest.param(Case(path.stem, source), id=f"{path.stem}: {name}"))
    return found


@dataclass(frozen=True, slots=True)
class Both:
    warm: LocalExecutor
    cold: LocalExecutor


@pytest.fixture(scope="module")
async def both() -> AsyncIterator[Both]:
    async with hosted(local()) as warm, hosted(local(keeps_warm=False)) as cold:
        assert isinstance(warm.executor, LocalExecutor)
        assert isinstance(cold.executor, LocalExecutor)
        yield Both(warm.executor, cold.executor)


def seen(result: Result) -> dict[str, object]:
    """Return all that may tell two runs apart, but for what must."""
    end = result.outcome
    return {
        "stdout": ADDRESS.sub(b"0x", result.stdout).decode(errors="backslashreplace"),
        "stderr": ADDRESS.sub(b"0x", result.stderr).decode(errors="backslashreplace"),
        "end": (end.status, end.exit_code, end.signal),
    }


@pytest.mark.parametrize("case", cases())
async def test_both_ways_are_the_same(
    both: Both, case: Case, caplog: pytest.LogCaptureFixture
) -> None:
    ends: dict[str, Result] = {}

    async def go(name: str, executor: LocalExecutor) -> None:
        language = LANGUAGES[case.language]
        ends[name] = await run(executor, language, case.source, args=ARGS, stdin=STDIN)

    served = sum(cells.served for cells in both.warm._warm.cells.values())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go, "warm", both.warm)
        tasks.start_soon(go, "cold", both.cold)
    assert sum(cells.served for cells in both.warm._warm.cells.values()) == served + 1
    assert not caplog.records  # as when it has to be started cold after all
    assert seen(ends["warm"]) == seen(ends["cold"])


def test_there_are_enough_of_them() -> None:
    assert len(cases()) >= 200
