"""Tests of an execution, as the public API tells them to whom.

Of a hidden test a candidate learns its name, its weight and, when the execution has ended, its
verdict: no input, no output, no time, and nothing from which one of them follows.
"""

import json
from datetime import datetime
from typing import Self

import strawberry
from graphql import OperationType

from app.api.context import Info
from app.api.enums import Comparison, ExecutionStatus, TestVerdict, TimeLimitKind
from app.api.figures import Limits, ResourceUsage
from app.api.files import File
from app.api.output import read
from app.api.scalars import Json
from app.domain.access import Caller
from app.domain.execution import Execution, Outcome, Status
from app.domain.results import CaseDetails, CaseRun, told
from app.domain.testing import Call

_DETAILS = {
    *("stdin", "args", "files", "limits", "call", "expectedStdout", "comparison"),
    *("stdout", "stderr", "diff"),
}
_UNKNOWN = Outcome(status=Status.QUEUED)
_HIDDEN = "Null where it is hidden from you."


@strawberry.type(description="A call of a function, and what came of it.")
class TestCall:
    function: str = strawberry.field(description="The name of the function.")
    arguments: list[Json | None] = strawberry.field(description="As they were given.")
    expected_value: Json | None = strawberry.field(description="As it was given.")
    returned_value: Json | None = strawberry.field(
        description="What the function returned; null if it did not, and where that is longer than "
        "what is kept of `stdout`."
    )

    @classmethod
    def of(cls, call: Call, details: CaseDetails) -> Self:
        """Translate."""
        return cls(
            function=call.function,
            arguments=[Json(each) for each in call.arguments],
            expected_value=_value(details.case.expected),
            returned_value=_value(details.returned),
        )


def _value(text: bytes | None) -> Json | None:
    return None if text is None else Json(json.loads(text))


@strawberry.type(description="A test of an execution, and what came of it.")
class TestResult:
    outcome: strawberry.Private[Outcome | None]
    details: strawberry.Private[CaseDetails | None]
    position: int = strawberry.field(description="Its place among the tests, from 0.")
    name: str = strawberry.field(description="As it was given, or `Test 1` and so on.")
    is_hidden: bool = strawberry.field(
        description="Whether candidates see nothing of it but its name and its verdict."
    )
    weight: float = strawberry.field(description="As it was given.")
    verdict: TestVerdict | None = strawberry.field(
        description="What it says of the program; null until it has ended, and to candidates, "
        "where it is hidden, until the execution has. If that did not come to its end, they see "
        "SKIPPED."
    )
    status: ExecutionStatus | None = strawberry.field(
        description=f"How the program ended; null until then, and if it was skipped. {_HIDDEN}"
    )
    exit_code: int | None = strawberry.field(description="Null unless the program exited.")
    signal: str | None = strawberry.field(description="The signal that ended it, if one did.")
    time_limit: TimeLimitKind | None = strawberry.field(
        description="Which limit stopped it, when its status is TIME_LIMIT_EXCEEDED."
    )
    message: str | None = strawberry.field(
        description="Why there is no answer, when we failed or a function did not return one."
    )
    is_truncated: bool | None = strawberry.field(
        description=f"Whether more was written than is kept in `stdout` and `stderr`. {_HIDDEN}"
    )
    ended_at: datetime | None = strawberry.field(description=f"When it ended. {_HIDDEN}")

    @classmethod
    def of(cls, run: CaseRun, caller: Caller, details: CaseDetails | None, status: Status) -> Self:
        """Translate for a caller, by the status of the execution.

        The details may be left out if nobody asks for any of them.
        """
        is_open = caller.sees_hidden or not run.is_hidden
        verdict = run.verdict if is_open else told(run.verdict, status)
        outcome = run.outcome if is_open else None
        facts = outcome or _UNKNOWN
        return cls(
            outcome=outcome,
            details=details if is_open else None,
            position=run.position,
            name=run.name,
            is_hidden=run.is_hidden,
            weight=run.weight,
            verdict=None if verdict is None else TestVerdict(verdict),
            status=ExecutionStatus(outcome.status) if outcome else None,
            exit_code=facts.exit_code,
            signal=facts.signal,
            time_limit=None if facts.time_limit is None else TimeLimitKind(facts.time_limit),
            message=facts.message,
            is_truncated=bool(outcome.truncated) if outcome else None,
            ended_at=run.ended_at if is_open else None,
        )

    @strawberry.field(description=f"What the program has used. {_HIDDEN}")
    def usage(self) -> ResourceUsage | None:
        usage = self.outcome and self.outcome.usage
        return ResourceUsage.of(usage) if usage else None

    @strawberry.field(description=f"Its standard input; null if that is the execution's. {_HIDDEN}")
    def stdin(self, info: Info) -> str | None:
        details = self.details
        stdin = details.case.stdin if details else None
        return None if stdin is None else read(info, stdin, None)

    @strawberry.field(description=f"Its arguments; null if these are the execution's. {_HIDDEN}")
    def args(self, info: Info) -> list[str] | None:
        details = self.details
        args = details.case.args if details else None
        info.context.allow(sum(map(len, args or ())))
        return None if args is None else list(args)

    @strawberry.field(description=f"Its files, beside those of the execution. {_HIDDEN}")
    def files(self) -> list[File] | None:
        if self.details is None:
            return None
        return [File(path=each.path, data=each.data) for each in self.details.case.files]

    @strawberry.field(description=f"The limits that the program ran under. {_HIDDEN}")
    def limits(self) -> Limits | None:
        return Limits.of(self.details.case.limits) if self.details else None

    @strawberry.field(
        description="The beginning of what the program has written to standard output: up to 64 "
        f"KiB, less where there are many tests. It is compared whole. {_HIDDEN}"
    )
    def stdout(self, info: Info) -> str | None:
        details = self.details
        return read(info, details.stdout, None) if details else None

    @strawberry.field(description=f"Likewise of standard error. {_HIDDEN}")
    def stderr(self, info: Info) -> str | None:
        details = self.details
        return read(info, details.stderr, None) if details else None

    @strawberry.field(
        description=f"The function that was called; null if the program was run. {_HIDDEN}"
    )
    def call(self, info: Info) -> TestCall | None:
        details = self.details
        if details is None or (call := details.case.call) is None:
            return None
        given = len(json.dumps(call.arguments, ensure_ascii=False))
        info.context.allow(given + len(details.case.expected or b"") + len(details.returned or b""))
        return TestCall.of(call, details)

    @strawberry.field(description=f"What was expected; null if nothing was. {_HIDDEN}")
    def expected_stdout(self, info: Info) -> str | None:
        details = self.details
        expected = details.case.expected if details and not details.case.call else None
        return None if expected is None else read(info, expected, None)

    @strawberry.field(description=f"How that is compared. {_HIDDEN}")
    def comparison(self) -> Comparison | None:
        details = self.details
        return Comparison(details.case.comparison) if details else None

    @strawberry.field(
        description="Where the output first differs from what was expected, for people; null if it "
        f"does not. {_HIDDEN}"
    )
    def diff(self) -> str | None:
        details = self.details
        return (details.difference or None) if details else None


async def results_of(info: Info, record: Execution) -> list[TestResult]:
    """Return the tests of an execution.

    Raises:
        BadArgumentError: the answer would have too many.
    """
    if not record.tests:
        return []
    context, details = info.context, dict[int, CaseDetails]()
    runs = await context.tests.load(record)
    if _asks_for_details(info):
        context.look_into(record)
        details = await context.test_details.load(record.id)
    return [
        TestResult.of(run, context.caller, details.get(run.position), record.status) for run in runs
    ]


async def result_of(info: Info, run: CaseRun) -> TestResult:
    """Return a test that has ended, and of which the caller may know that."""
    details = await _details_of(info, run) if _asks_for_details(info) else None
    # A hidden one is told of when all were carried out, and no sooner.
    return TestResult.of(run, info.context.caller, details, Status.SUCCEEDED)


async def _details_of(info: Info, run: CaseRun) -> CaseDetails | None:
    context, id, position = info.context, run.execution_id, run.position
    if info.operation.operation is not OperationType.SUBSCRIPTION:
        # A query has many events at once; a subscription has one, of perhaps a thousand tests.
        return (await context.test_details.load(id)).get(position)
    found = await context.history.test_details(
        context.owner, [id], sees_hidden=context.caller.sees_hidden, position=position
    )
    return found.get(id, {}).get(position)


def _asks_for_details(info: Info) -> bool:
    """Whether the answer has more of a test than how it stands."""
    # Asked once for all tests: a question by each field of a thousand tests would take a second.
    waiting, seen = [*info.selected_fields], set[str]()
    while waiting:
        selection = waiting.pop()
        seen.add(getattr(selection, "name", ""))
        waiting += selection.selections
    return not seen.isdisjoint(_DETAILS)
