"""One program against its tests, each by itself; and none of them knows what is expected."""

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import anyio
import pytest

from app.domain.comparison import Comparison, Tolerance
from app.domain.execution import File, Outcome, Program, Status
from app.domain.language import Language, Sources
from app.domain.limits import DEFAULT_LIMITS, Limits
from app.domain.ports import Executor
from app.domain.results import CaseResult, CaseRun
from app.domain.testing import Call, Case, Suite, Verdict
from app.executions.run import Workplace, prepare
from app.executions.testing import AT_ONCE, Examination
from app.languages import all_languages
from tests.contract import programs
from tests.contract.conftest import supported
from tests.contract.runs import WORKSHOP, limits_with

PYTHON, C = (all_languages()[each] for each in ("PYTHON", "C"))
PASSED, FAILED, ERROR = Verdict.PASSED, Verdict.FAILED, Verdict.ERROR


class Spare:
    """So many slots that nobody else wants."""

    def __init__(self, count: int) -> None:
        self.count, self.taken, self.most = count, 0, 0

    def may_start_now(self) -> bool:
        if self.taken == self.count:
            return False
        self.taken += 1
        self.most = max(self.most, self.taken)
        return True

    def give_back(self) -> None:
        self.taken -= 1


@dataclass(slots=True)
class Submitted:
    """What came of tests, by their positions."""

    slots: Spare
    written: list[CaseResult] = field(default_factory=list)
    heard: Callable[[], None] = lambda: None
    outcome: Outcome | None = None
    verdict: Verdict | None = None

    async def record(self, results: Sequence[CaseResult]) -> None:
        self.written += results
        self.heard()

    def of(self, field: str) -> list[Any]:
        ordered = sorted(self.written, key=lambda each: each.position)
        return [getattr(each, field) for each in ordered]

    @property
    def statuses(self) -> list[Status]:
        return [outcome.status for outcome in self.of("outcome")]


@dataclass(frozen=True, slots=True)
class Desk:
    """Takes programs of one language with their tests."""

    executor: Executor
    language: Language

    async def __call__(
        self,
        source: str,
        *cases: Case,
        stops: bool = False,
        done: Sequence[CaseRun] = (),
        into: Submitted | None = None,
    ) -> Submitted:
        """Carry the tests out, and return what came of them."""
        submitted = into or Submitted(Spare(2))
        suite = Suite(cases=cases, stops_on_failure=stops)
        program = Program(language=self.language.id, source=source, suite=suite)
        place = Workplace(executor=self.executor, workshop=WORKSHOP, scope=("local", None))
        examination = Examination(
            place=place,
            prepared=await prepare(place, self.language, program),
            program=program,
            suite=suite,
            slots=submitted.slots,
            record=submitted.record,
            comparing=anyio.CapacityLimiter(1),
            done=done,
        )
        submitted.outcome, submitted.verdict = await examination()
        assert submitted.slots.taken == 0
        return submitted


@pytest.fixture
def desk(executor: Executor, language: Language) -> Desk:
    return Desk(executor, language)


@pytest.fixture
def python(executor: Executor) -> Desk:
    return Desk(executor, supported(executor, PYTHON))


def case(stdin: str = "", expected: str | None = None, **more: Any) -> Case:
    """Return a test that expects an output, or none."""
    values: dict[str, Any] = {"name": "", "limits": DEFAULT_LIMITS} | more
    wanted = None if expected is None else expected.encode()
    return Case(stdin=stdin.encode(), expected=wanted, **values)


def calling(*arguments: Any, expected: Any, **more: Any) -> Case:
    """Return a test that calls `solve` and expects a value."""
    call, wanted = Call(function="solve", arguments=arguments), json.dumps(expected).encode()
    values: dict[str, Any] = {"name": "", "limits": DEFAULT_LIMITS} | more
    return Case(call=call, expected=wanted, comparison=Comparison.JSON, **values)


def judged(position: int, verdict: Verdict) -> CaseRun:
    """Return a test that has ended elsewhere."""
    return CaseRun(
        execution_id=uuid4(),
        position=position,
        name="",
        is_hidden=False,
        weight=1.0,
        verdict=verdict,
        outcome=Outcome(status=Status.SUCCEEDED),
        ended_at=datetime.now(UTC),
    )


# --- Each by itself --------------------------------------------------------------------------


async def test_each_test_has_a_fresh_sandbox_and_its_own_files(desk: Desk) -> None:
    own = (File(path="own", data=b""),)
    done = await desk(programs.LOOK[desk.language.id], case(), case(files=own), case(), case())
    assert done.verdict is PASSED
    seen = [json.loads(each) for each in done.of("stdout")]
    main = desk.language.source_name
    assert [each["files"].pop("/box") for each in seen] == [[main], [main, "own"], [main], [main]]
    assert [each["files"] for each in seen] == [{"/tmp": [], "/dev/shm": []}] * 4
    assert all(each["processes"] <= 4 and not each["reaches"] for each in seen)


# It says where it finds a text of the form of a secret; nothing of its own has that form.
SEARCH = r"""
import os, re, sys
SECRET, BLOCK = re.compile(rb"secr[e]t-[0-9a-f]{32}"), 1 << 20
found = set()
def look(place, data):
    if SECRET.search(data): found.add(place)
def read(place, path):
    try: look(place, open(path, "rb").read(BLOCK))
    except OSError: pass
def memory(pid):
    try: maps, data = open(f"/proc/{pid}/maps"), open(f"/proc/{pid}/mem", "rb", 0)
    except OSError: return
    for first, last in re.findall("^(.*)-(.*) rw", maps.read(), re.M):
        for at in range(int(first, 16), int(last, 16), BLOCK):
            data.seek(at); look("memory", data.read(min(BLOCK, int(last, 16) - at)))
def solve(*given):
    look("environment", repr(os.environ).encode())
    look("arguments", repr(sys.argv).encode())
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ", "mountinfo"): read("processes", f"/proc/{pid}/{name}")
        memory(pid)
    for top in {*os.listdir("/")} - {"usr", "lib", "lib64", "bin", "sbin", "proc", "sys"}:
        for folder, _, names in os.walk("/" + top):
            for path in (os.path.join(folder, name) for name in names):
                look("files", path.encode())
                if os.path.isfile(path): read("files", path)
    return sorted(found)
if __name__ == "__main__":
    given = sys.stdin.read()
    print(solve())
"""


async def test_what_is_expected_is_nowhere_in_the_sandbox(python: Desk) -> None:
    secret = f"secret-{secrets.token_hex(16)}"
    # What is there it finds.
    control = (
        case(secret),
        case(args=(secret,)),
        case(files=(File(path="f", data=secret.encode()),)),
        calling(secret, expected=[]),
    )
    asked = (case("x", secret), calling("x", expected=secret), *control)
    patient = replace(DEFAULT_LIMITS, wall_time=60.0, cpu_time=30.0)  # it reads all that is there
    cases = [replace(each, limits=patient) for each in asked]
    done = await python(SEARCH, *cases)
    assert done.of("verdict") == [FAILED, FAILED, PASSED, PASSED, PASSED, FAILED]
    found = [each.decode().strip() for each in done.of("stdout")]
    assert found[0] == "[]", found
    assert "memory" in found[2]
    assert "arguments" in found[3]
    assert "files" in found[4]
    assert [done.of("returned")[position] for position in (1, 5)] == [b"[]", b'["memory"]']


# --- Compared --------------------------------------------------------------------------------

WIDE = Tolerance(absolute=0.5, relative=0.0)
COMPARISONS: list[tuple[Comparison, str, str, Verdict]] = [
    (Comparison.EXACT, "a b\n", "a b\n", PASSED),
    (Comparison.EXACT, "a b\n", "a b", FAILED),
    (Comparison.TRIMMED, "a b \r\nc\n\n", "a b\nc", PASSED),
    (Comparison.TRIMMED, " a", "a", FAILED),
    (Comparison.TOKENS, "a\n\tb", "a b\n", PASSED),
    (Comparison.TOKENS, "ab", "a b", FAILED),
    (Comparison.FLOATS, "0.30000000000000004 x", "0.3 x", PASSED),
    (Comparison.FLOATS, "0.31", "0.3", FAILED),
    (Comparison.SORTED_LINES, "b\na\n", "a\nb", PASSED),
    (Comparison.SORTED_LINES, "a\na", "a\nb", FAILED),
    (Comparison.JSON, '{"b": 1.0, "a": []}', '{"a":[],"b":1}', PASSED),
    (Comparison.JSON, "[1, 2", "[1, 2]", FAILED),
    (Comparison.TRIMMED, "ü€𝄞\0", "ü€𝄞\0", PASSED),
]


async def test_outputs_are_compared_as_each_test_asks(python: Desk) -> None:
    cases = [
        case(output, expected, comparison=comparison)
        for comparison, output, expected, _ in COMPARISONS
    ]
    near = [
        case("1.4", "1", comparison=each, tolerance=WIDE)
        for each in (Comparison.FLOATS, Comparison.JSON)
    ]
    done = await python(programs.ECHO["PYTHON"], *cases, *near)
    assert done.of("verdict") == [*(verdict for *_, verdict in COMPARISONS), PASSED, PASSED]
    assert [bool(each) for each in done.of("difference")] == [
        verdict is FAILED for verdict in done.of("verdict")
    ]
    assert done.verdict is FAILED


ADD = {
    "PYTHON": """
def solve(a, b):
    import os, sys
    print("expected", 5, sys.argv[1:], flush=True)
    match a:
        case "raise": raise ValueError(b)
        case "exit": os._exit(0)
        case "hang":
            while True: pass
    return a + b
""",
    "JAVASCRIPT": """
function solve(a, b) {
  require("fs").writeSync(1, `expected 5 ${process.argv.slice(2)}\\n`);
  switch (a) {
    case "raise": throw Error(b);
    case "exit": process.reallyExit(0);
    case "hang": for (;;);
  }
  return a + b;
}
""",
}


async def test_functions_are_called_and_their_values_compared(desk: Desk) -> None:
    brief = limits_with(cpu_time=0.3)
    done = await desk(
        ADD[desk.language.id],
        calling(2, 3, expected=5.0, args=("own",)),
        calling(2, 4, expected=5),
        calling("raise", "no", expected=5),
        calling("exit", 0, expected=5),
        calling("hang", 0, expected=5, limits=brief),
        calling("a", "b", expected="ab"),
    )
    assert done.of("verdict") == [PASSED, FAILED, ERROR, ERROR, ERROR, PASSED]
    assert done.of("returned") == [b"5", b"6", None, None, None, b'"ab"']
    assert "own" in done.of("stdout")[0].decode()
    assert done.statuses[4] is Status.TIME_LIMIT_EXCEEDED
    messages = [outcome.message for outcome in done.of("outcome")]
    assert messages[:2] == [None, None]
    assert "before `solve` had returned" in messages[3]


# --- Beside one another ----------------------------------------------------------------------

UNRULY = {
    "PYTHON": """
match input():
    case "hang": import time; time.sleep(3600)
    case "spin":
        while True: pass
    case "flood":
        while True: print("x" * 65536)
    case "eat": held = [bytearray(b"x") * (1 << 20) for _ in range(1 << 12)]
    case "crash": import os; os.kill(os.getpid(), 9)
    case other: print(other)
""",
    "JAVASCRIPT": """
const fs = require("fs"), wish = fs.readFileSync(0, "utf8").trim();
switch (wish) {
  case "hang": setTimeout(() => {}, 3600000); break;
  case "spin": for (;;);
  case "flood": for (;;) fs.writeSync(1, "x".repeat(65536));
  case "eat": { const held = []; for (;;) held.push(Buffer.alloc(1 << 20, 1)); }
  case "crash": process.kill(process.pid, 9); break;
  default: console.log(wish);
}
""",
}


async def test_those_that_hang_flood_or_crash_leave_the_others_alone(desk: Desk) -> None:
    good = case("good", "good")
    done = await desk(
        UNRULY[desk.language.id],
        good,
        case("hang", limits=limits_with(wall_time=0.5)),
        case("spin", limits=limits_with(cpu_time=0.3)),
        good,
        case("flood", limits=limits_with(output=100_000)),
        case("eat"),
        case("crash"),
        good,
    )
    assert done.statuses == [
        Status.SUCCEEDED,
        Status.TIME_LIMIT_EXCEEDED,
        Status.TIME_LIMIT_EXCEEDED,
        Status.SUCCEEDED,
        Status.OUTPUT_LIMIT_EXCEEDED,
        Status.MEMORY_LIMIT_EXCEEDED,
        Status.CRASHED,
        Status.SUCCEEDED,
    ]
    assert done.of("verdict") == [PASSED, ERROR, ERROR, PASSED, ERROR, ERROR, ERROR, PASSED]
    assert set(done.of("stdout")[4]) <= {*b"x\n"}
    assert (done.outcome and done.outcome.status, done.verdict) == (Status.SUCCEEDED, FAILED)


@pytest.mark.parametrize(("spare", "taken"), [(0, 0), (1, 1), (20, AT_ONCE - 1)])
async def test_tests_run_in_slots_that_are_spare_up_to_a_bound(
    python: Desk, spare: int, taken: int
) -> None:
    into = Submitted(Spare(spare))
    done = await python(programs.ECHO["PYTHON"], *[case("x", "x")] * 5, into=into)
    assert done.of("position") == [*range(5)]
    assert sorted(done.of("rank")) == [*range(1, 6)]
    assert (done.verdict, done.slots.most) == (PASSED, taken)


async def test_nothing_is_run_after_a_failure_if_that_is_wanted(python: Desk) -> None:
    cases = [case(each, "a") for each in ("a", "a", "b", "a")]
    done = await python(programs.ECHO["PYTHON"], *cases, stops=True)
    assert done.of("verdict") == [PASSED, PASSED, FAILED]
    assert (done.of("rank"), done.verdict, done.slots.most) == ([1, 2, 3], FAILED, 0)


async def test_what_another_process_has_judged_is_not_run_again(python: Desk) -> None:
    cases = [case(each, "a") for each in "abab"]
    first = judged(1, FAILED), judged(2, PASSED)
    done = await python(programs.ECHO["PYTHON"], *cases, done=first)
    assert done.of("position") == [0, 3]
    assert done.of("verdict") == [PASSED, FAILED]
    assert sorted(done.of("rank")) == [3, 4]
    assert done.verdict is FAILED
    assert (await python(programs.ECHO["PYTHON"], *cases, done=first, stops=True)).written == []
    one = await python(programs.ECHO["PYTHON"], *cases, done=first[1:], stops=True)
    assert one.of("verdict") == [PASSED, FAILED]


async def test_a_cancelled_submission_leaves_nothing_behind(python: Desk) -> None:
    # The first is over while the others sleep.
    first, others = case(limits=limits_with(wall_time=0.4)), [case()] * 5
    with anyio.CancelScope() as scope:
        into = Submitted(Spare(3), heard=scope.cancel)
        await python(programs.SLEEP["PYTHON"], first, *others, into=into)
    assert scope.cancelled_caught
    assert into.of("position") == [0]
    assert into.slots.taken == 0


# --- Prepared once, and nothing brought back -------------------------------------------------

DOUBLE = """
#include <stdio.h>
int main(void) { int n; scanf("%d", &n); printf("%d\\n", 2 * n); return 0; }
"""


async def test_a_program_is_compiled_once_for_all_its_tests(executor: Executor) -> None:
    asked: list[Sources] = []

    def compile(sources: Sources, limits: Limits) -> tuple[str, ...]:
        asked.append(sources)
        assert C.compile
        return tuple(C.compile(sources, limits))

    counted = replace(supported(executor, C), compile=compile)
    cases = [case(str(n), str(2 * n)) for n in range(5)]
    done = await Desk(executor, counted)(DOUBLE, *cases)
    assert done.verdict is PASSED
    assert len(asked) == 1
    assert done.outcome
    assert done.outcome.compilation


async def test_files_that_tests_leave_are_no_artifacts(python: Desk) -> None:
    source = """
import os
def solve(): os.mkdir("out"); [open(f"out/{n}", "w").close() for n in range(25)]; return 1
if __name__ == "__main__": solve()
"""
    done = await python(source, case(), calling(expected=1))
    assert done.of("verdict") == [PASSED, PASSED]
    # Were they collected, some would be too many.
    assert [outcome.left_out for outcome in done.of("outcome")] == [0, 0]
