"""What goes into a box, and what is read from its report."""

import json
import signal
from typing import Any

import pytest

from app.domain.errors import ExecutorError
from app.domain.execution import KillReason, Stream, Usage
from app.domain.limits import DEFAULT_LIMITS
from app.domain.ports import Command
from app.executors.modal.attempt import decode_exit
from app.executors.modal.sandbox import encode_job
from app.languages import all_languages

PYTHON = all_languages()["PYTHON"]


def report(**changes: object) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "status": 0,
        "kill_reason": None,
        "truncated": [],
        "wall_time": 0.5,
        "cpu_time": 0.25,
        "peak_memory": 4096,
    }
    return usual | changes


def test_a_job_announces_what_follows_it() -> None:
    command = Command(arguments=("/box/main.py", "ü"), stdin=b"in\n\0")
    job = encode_job(PYTHON, DEFAULT_LIMITS, {"main.py": b"print(1)\n\xff"}, command)
    head, rest = job.split(b"\n", 1)
    announced = json.loads(head)
    assert announced["argv"] == ["python3", "/box/main.py", "ü"]
    assert announced["files"] == [{"path": "main.py", "size": 10}]
    assert announced["stdin"] == 4
    assert rest == b"print(1)\n\xffin\n\0"


def test_a_job_carries_the_limits_but_no_setting_of_the_server() -> None:
    head = json.loads(encode_job(PYTHON, DEFAULT_LIMITS, {}, Command()).split(b"\n")[0])
    assert head["memory"] == DEFAULT_LIMITS.memory
    assert head["rlimits"]["RLIMIT_NPROC"] == DEFAULT_LIMITS.processes
    assert set(head["environment"]) == {"HOME", "LANG", "TMPDIR", "USER"}


@pytest.mark.parametrize(
    ("status", "code", "name"),
    [
        (0, 0, None),
        (3 << 8, 3, None),
        (139 << 8, 139, None),
        (signal.SIGSEGV, None, "SIGSEGV"),
        (signal.SIGABRT | 0x80, None, "SIGABRT"),
        (40, None, "SIG40"),
    ],
)
def test_a_wait_status_is_an_exit_code_or_a_signal(
    status: int, code: int | None, name: str | None
) -> None:
    end = decode_exit(report(status=status))
    assert (end.code, end.signal) == (code, name)


def test_the_facts_are_taken_as_reported() -> None:
    end = decode_exit(report(kill_reason="OUTPUT", truncated=["O"]))
    assert end.kill_reason is KillReason.OUTPUT
    assert end.truncated == {Stream.STDOUT}
    assert end.usage == Usage(wall_time=0.5, cpu_time=0.25, peak_memory=4096)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        report(status=None),
        report(status="0"),
        report(status=2**70),
        report(kill_reason="BORED"),
        report(truncated=["Z"]),
        report(truncated=3),
        report(wall_time="long"),
        report(peak_memory=None),
    ],
)
def test_a_report_that_makes_no_sense_is_our_failure(wrong: dict[str, Any]) -> None:
    with pytest.raises(ExecutorError):
        decode_exit(wrong)
