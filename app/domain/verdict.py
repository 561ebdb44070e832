"""From facts to a verdict: the first rule that matches wins."""

from app.domain.execution import Exit, KillReason, Outcome, Status, TimeLimit

NO_RESULT = "The sandbox gave no valid result; the program's own behaviour is not known."


def judge(end: Exit) -> Outcome:
    """Name the outcome of a program from what was observed, never from a guess."""
    status = _status(end)
    return Outcome(
        status=status,
        exit_code=end.code,
        signal=end.signal,
        time_limit=_time_limit(end) if status is Status.TIME_LIMIT_EXCEEDED else None,
        truncated=end.truncated,
        usage=end.usage,
        message=NO_RESULT if status is Status.INFRASTRUCTURE_ERROR else None,
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
