"""A process can be told from every other one, also from a later one with its pid."""

import os
import subprocess
import sys

import pytest

from app.executions.holder import has_died, own_name

OWN_NAME = "from app.executions.holder import own_name; print(own_name())"


def test_we_live() -> None:
    assert not has_died(own_name())


def test_each_name_is_used_once() -> None:
    assert own_name() != own_name()


def test_a_process_that_has_ended_is_dead() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", OWN_NAME], capture_output=True, text=True, check=True
    )
    assert has_died(ended.stdout.strip())


def test_a_process_with_a_recycled_pid_is_another_one() -> None:
    where, pid, started, part = own_name().split(":")
    assert int(pid) == os.getpid()
    assert has_died(f"{where}:{pid}:{int(started) - 1}:{part}")


def test_a_recycled_pid_may_have_any_name() -> None:
    """A program that we run gives itself one that is no text, with a parenthesis in it."""
    program = r"open('/proc/self/comm', 'wb').write(b'\xff) R 1'); print(flush=True); input()"
    where, _, started, part = own_name().split(":")
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout
        other.stdout.readline()
        assert has_died(f"{where}:{other.pid}:{started}:{part}")
        other.communicate(b"\n")


@pytest.mark.parametrize("name", ["", "somewhere/1:1:1:x", "nonsense"])
def test_of_a_process_elsewhere_we_know_nothing(name: str) -> None:
    assert not has_died(name)
