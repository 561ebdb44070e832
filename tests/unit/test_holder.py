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


@pytest.mark.parametrize("name", ["", "somewhere/1:1:1:x", "nonsense"])
def test_of_a_process_elsewhere_we_know_nothing(name: str) -> None:
    assert not has_died(name)
