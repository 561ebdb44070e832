"""From facts to a verdict: the first rule that matches wins."""

from dataclasses import replace

from app.domain.execution import Exit, KillReason, Outcome, Status, TimeLimit

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
