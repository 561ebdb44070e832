"""What /proc says of a program has its name in it, and a program gives itself any."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.executors.local import census
from app.executors.modal import supervisor
from app.processes import start_time

NAMES = """
import sys
for line in sys.stdin:
    with open("/proc/self/comm", "wb", 0) as own:
        own.write(bytes.fromhex(line))
    print(flush=True)
"""


@pytest.fixture(scope="module")
def named() -> Iterator["subprocess.Popen[str]"]:
    """Start a program that takes the names that it is given, in hexadecimal digits."""
    with subprocess.Popen(
        [sys.executable, "-c", NAMES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        rename(program, b"ready")
        yield program
        program.communicate()


def rename(program: "subprocess.Popen[str]", name: bytes) -> None:
    """Let it take a name, and wait until it has."""
    assert program.stdin
    assert program.stdout
    program.stdin.write(name.hex() + "\n")
    program.stdin.flush()
    program.stdout.readline()


@given(st.binary(min_size=1, max_size=15).filter(lambda name: b"\0" not in name))
@example(b") T 1 1 1 1 1")
@example(b"\nRssAnon: 1 kB")
@example(b"\xff\xfe\\n(")
def test_no_name_changes_what_is_read(named: "subprocess.Popen[str]", name: bytes) -> None:
    before = start_time(named.pid), census._own(named.pid)
    rename(named, name)
    times = census._times(named.pid)
    assert times
    assert start_time(named.pid) == times.began == before[0]
    assert 0 <= times.own < 10_000  # ticks, of which a second has a hundred
    assert times.children == 0
    assert before[1] / 2 < census._own(named.pid) < before[1] * 2
    assert not supervisor.is_stopped(named.pid)
