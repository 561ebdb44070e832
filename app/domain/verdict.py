"""From facts to a verdict: the first rule that matches wins."""

from collections.abc import Sequence
from dataclasses import replace

from app.domain.comparison import difference
from app.domain.execution import (
    Compilation,
    Exit,
    KillReason,
    Outcome,
    Status,
    TimeLimit,
    Usage,
)
from app.domain.testing import Case, Verdict

NO_RESULT = "The sandbox gave no valid result; the program's own behaviour is not known."


NO_PRODUCT = "The compiler ended well, but left nothing that can be run."
NO_MAIN = "The compiler ended well, but left no executable program: is there a `main`?"


def judge(end: Exit) -> Outcome:
    """Name the outcome of a program from what was observed, never from a guess."""
    compilation = end.compilation
    if compilation and compilation.outcome.status is not Status.SUCCEEDED:
        return Outcome(
            status=Status.COMPILE_ERROR,
            message=compilation.outcome.message,
            compilation=compilation,
        )
    status = _status(end)
    return Outcome(
        status=status,
        exit_code=end.code,
        signal=end.signal,
        time_limit=_time_limit(end) if status is Status.TIME_LIMIT_EXCEEDED else None,
        limits_hit=end.limits_hit,
        truncated=end.truncated,
        usage=end.usage,
        message=NO_RESULT if status is Status.INFRASTRUCTURE_ERROR else None,
        left_out=end.left_out,
        compilation=compilation,
    )


def judge_compiler(end: Exit, *, program: str | None) -> Outcome:
    """Name the outcome of a compiler: it must also leave what can be run.

    Args:
        end: what was observed.
        program: the path of the file that has to be there and executable; None where any will do.
    """
    outcome = judge(end)
    if outcome.status is not Status.SUCCEEDED:
        return outcome
    product = end.product or ()
    if not product:
        return replace(outcome, status=Status.FAILED, message=NO_PRODUCT)
    if program and not any(each.path == program and each.is_executable for each in product):
        return replace(outcome, status=Status.FAILED, message=NO_MAIN)
    return outcome


def judge_case(case: Case, outcome: Outcome, answer: bytes | None) -> tuple[Verdict, str]:
    """Say what a test says, and where the answer of the program is not what was expected.

    The answer is its output, or as JSON what its function returned: None if it did not.
    """
    if outcome.status is not Status.SUCCEEDED or answer is None:
        return Verdict.ERROR, ""
    if case.expected is None:
        return Verdict.PASSED, ""
    where = difference(case.comparison, answer, case.expected, case.tolerance)
    return (Verdict.FAILED if where else Verdict.PASSED), where


def judge_suite(
    ended: Sequence[tuple[Verdict, Outcome]], compilation: Compilation | None
) -> tuple[Outcome, Verdict]:
    """Name the outcome of an execution whose tests were carried out, and what they say together."""
    outcome = Outcome(
        status=Status.SUCCEEDED,
        usage=_together([each.usage for _, each in ended if each.usage]),
        compilation=compilation,
    )
    if any(each.status is Status.INFRASTRUCTURE_ERROR for _, each in ended):
        return outcome, Verdict.ERROR
    is_passed = all(verdict is Verdict.PASSED for verdict, _ in ended)
    return outcome, Verdict.PASSED if is_passed else Verdict.FAILED


def _together(usages: Sequence[Usage]) -> Usage | None:
    """Add up what programs have used, as if one had run after the other."""
    if not usages:
        return None
    return Usage(
        wall_time=sum(each.wall_time for each in usages),
        cpu_time=sum(each.cpu_time for each in usages),
        peak_memory=max(each.peak_memory for each in usages),
        reserved_cores=max(each.reserved_cores for each in usages),
        reserved_memory=max(each.reserved_memory for each in usages),
    )


def _status(end: Exit) -> Status:  # noqa: PLR0911 - one line per row of the table
    reported = end.code is not None or end.signal is not None
    if not reported and end.kill_reason is None and not end.oom_killed:
        return Status.INFRASTRUCTURE_ERROR
    if end.kill_reason is KillReason.CANCELLED:
        return Status.CANCELLED
    if end.oom_killed or end.kill_reason is KillReason.MEMORY:
        return Status.MEMORY_LIMIT_EXCEEDED
    if end.kill_reason in {KillReason.OUTPUT, KillReason.DISK}:
        return Status.OUTPUT_LIMIT_EXCEEDED
    if end.kill_reason is not None:
        return Status.TIME_LIMIT_EXCEEDED
    if end.signal is not None:
        return Status.CRASHED
    return Status.SUCCEEDED if end.code == 0 else Status.FAILED


def _time_limit(end: Exit) -> TimeLimit:
    return TimeLimit.CPU if end.kill_reason is KillReason.CPU_TIME else TimeLimit.WALL
