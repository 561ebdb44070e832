"""The verdict: one table, from the first rule to the last."""

from dataclasses import replace

import pytest

from app.domain.execution import (
    Compilation,
    Exit,
    File,
    KillReason,
    LimitHit,
    Outcome,
    Status,
    Stream,
    TimeLimit,
    Usage,
)
from app.domain.verdict import NO_MAIN, NO_PRODUCT, NO_RESULT, judge, judge_compiler

NOTHING = Exit()

# What was observed, and its name. First match wins, so each rule stands above what it beats.
UNCOMPILED = Compilation(outcome=Outcome(status=Status.FAILED, exit_code=1))
COMPILED = Compilation(outcome=Outcome(status=Status.SUCCEEDED, exit_code=0))
PROGRAM = File(path=".build/main", data=b"", is_executable=True)
TABLE = [
    # What was not compiled did not run; what was, is judged by how it ran.
    (Exit(compilation=UNCOMPILED), Status.COMPILE_ERROR),
    (Exit(compilation=COMPILED, code=3), Status.FAILED),
    # No valid result, no kill reason of ours, no kill by the kernel: we do not know.
    (NOTHING, Status.INFRASTRUCTURE_ERROR),
    (Exit(truncated=frozenset({Stream.STDOUT})), Status.INFRASTRUCTURE_ERROR),
    # Our cancel flag, whatever else happened on the way down.
    (Exit(kill_reason=KillReason.CANCELLED), Status.CANCELLED),
    (Exit(kill_reason=KillReason.CANCELLED, signal="SIGKILL"), Status.CANCELLED),
    (Exit(kill_reason=KillReason.CANCELLED, oom_killed=True), Status.CANCELLED),
    (Exit(kill_reason=KillReason.CANCELLED, code=0), Status.CANCELLED),
    # The kernel's counter of this run rose ...
    (Exit(oom_killed=True), Status.MEMORY_LIMIT_EXCEEDED),
    (Exit(oom_killed=True, signal="SIGKILL"), Status.MEMORY_LIMIT_EXCEEDED),
    # ... also when only a child died and the main process went on ...
    (Exit(oom_killed=True, code=0), Status.MEMORY_LIMIT_EXCEEDED),
    (Exit(oom_killed=True, code=1), Status.MEMORY_LIMIT_EXCEEDED),
    # ... and before our own clocks, which ran out later ...
    (Exit(oom_killed=True, kill_reason=KillReason.WALL_TIME), Status.MEMORY_LIMIT_EXCEEDED),
    (Exit(oom_killed=True, kill_reason=KillReason.OUTPUT), Status.MEMORY_LIMIT_EXCEEDED),
    # ... or our watcher did it, where there is no cgroup.
    (Exit(kill_reason=KillReason.MEMORY), Status.MEMORY_LIMIT_EXCEEDED),
    # Our reader passed the limit, even if the program had just ended by itself.
    (Exit(kill_reason=KillReason.OUTPUT), Status.OUTPUT_LIMIT_EXCEEDED),
    (Exit(kill_reason=KillReason.OUTPUT, code=0), Status.OUTPUT_LIMIT_EXCEEDED),
    (Exit(kill_reason=KillReason.OUTPUT, signal="SIGPIPE"), Status.OUTPUT_LIMIT_EXCEEDED),
    # Our look at its files, where nothing else bounds them.
    (Exit(kill_reason=KillReason.DISK, signal="SIGKILL"), Status.OUTPUT_LIMIT_EXCEEDED),
    # Our clocks.
    (Exit(kill_reason=KillReason.CPU_TIME), Status.TIME_LIMIT_EXCEEDED),
    (Exit(kill_reason=KillReason.WALL_TIME), Status.TIME_LIMIT_EXCEEDED),
    (Exit(kill_reason=KillReason.WALL_TIME, signal="SIGKILL"), Status.TIME_LIMIT_EXCEEDED),
    # A signal that was not ours; 9 is no sign of a limit.
    (Exit(signal="SIGKILL"), Status.CRASHED),
    (Exit(signal="SIGSEGV"), Status.CRASHED),
    (Exit(signal="SIGXFSZ"), Status.CRASHED),
    (Exit(signal="SIGXCPU"), Status.CRASHED),
    # What the program said itself; no number has a meaning of its own.
    *((Exit(code=code), Status.FAILED) for code in (1, 2, 3, 124, 137, 139, 143, 255)),
    (Exit(code=0), Status.SUCCEEDED),
]


@pytest.mark.parametrize(("end", "status"), TABLE, ids=lambda each: repr(each)[:90])
def test_specification(end: Exit, status: Status) -> None:
    assert judge(end).status is status


@pytest.mark.parametrize(
    ("reason", "clock"),
    [(KillReason.CPU_TIME, TimeLimit.CPU), (KillReason.WALL_TIME, TimeLimit.WALL)],
)
def test_a_time_limit_says_which_clock_ran_out(reason: KillReason, clock: TimeLimit) -> None:
    assert judge(Exit(kill_reason=reason)).time_limit is clock


@pytest.mark.parametrize(
    "end",
    [end for end, status in TABLE if status is not Status.TIME_LIMIT_EXCEEDED],
    ids=lambda each: repr(each)[:90],
)
def test_no_other_verdict_names_a_clock(end: Exit) -> None:
    assert judge(end).time_limit is None


def test_every_final_status_but_none_other_is_a_verdict() -> None:
    assert {status for _, status in TABLE} == {status for status in Status if status.is_final}


def test_the_facts_go_through_unchanged() -> None:
    usage = Usage(wall_time=1.5, cpu_time=0.5, peak_memory=4096)
    truncated, hit = frozenset({Stream.STDERR}), frozenset({LimitHit.DISK})
    end = Exit(signal="SIGSEGV", truncated=truncated, limits_hit=hit, usage=usage)
    expected = Outcome(
        status=Status.CRASHED,
        signal="SIGSEGV",
        truncated=truncated,
        limits_hit=hit,
        usage=usage,
        message=None,
    )
    assert judge(end) == expected


def test_there_is_no_exit_code_unless_the_program_exited() -> None:
    assert judge(Exit(signal="SIGKILL")).exit_code is None
    assert judge(Exit(kill_reason=KillReason.WALL_TIME)).exit_code is None


def test_only_our_own_failure_comes_with_a_message() -> None:
    assert {end for end, _ in TABLE if judge(end).message} == {
        end for end, status in TABLE if status is Status.INFRASTRUCTURE_ERROR
    }
    assert judge(NOTHING).message == NO_RESULT


@pytest.mark.parametrize(
    ("end", "status", "message"),
    [
        (Exit(code=0, product=(PROGRAM,)), Status.SUCCEEDED, None),
        (Exit(code=1, product=(PROGRAM,)), Status.FAILED, None),
        (Exit(code=0, product=None), Status.FAILED, NO_PRODUCT),
        (Exit(code=0, product=()), Status.FAILED, NO_PRODUCT),
        (Exit(code=0, product=(replace(PROGRAM, is_executable=False),)), Status.FAILED, NO_MAIN),
        (Exit(code=0, product=(replace(PROGRAM, path="main"),)), Status.FAILED, NO_MAIN),
        (Exit(kill_reason=KillReason.WALL_TIME), Status.TIME_LIMIT_EXCEEDED, None),
        (Exit(oom_killed=True), Status.MEMORY_LIMIT_EXCEEDED, None),
    ],
)
def test_a_compiler_must_leave_a_program(end: Exit, status: Status, message: str | None) -> None:
    outcome = judge_compiler(end, program=".build/main")
    assert (outcome.status, outcome.message) == (status, message)


def test_a_product_without_a_program_will_do_where_the_language_runs_it() -> None:
    end = Exit(code=0, product=(File(path=".build/Main.class", data=b""),))
    assert judge_compiler(end, program=None).status is Status.SUCCEEDED
