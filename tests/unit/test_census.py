"""The census: what a tree of real processes weighs and burns, seen from outside."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.execution import KillReason
from app.domain.limits import DEFAULT_LIMITS, MIB
from app.executors.local.cell import Cell
from app.executors.local.census import Census, process_of
from app.executors.local.control import Control
from app.executors.local.meter import CensusMeter

# Plays process 1 of a cell; the code that follows forks, and `tell` says when it is done.
PRELUDE = """
import os, signal, sys, time
def tell(): os.write(1, b".")
def stay(): sys.stdin.read()
def child(work):
    if os.fork() == 0:
        work(); tell(); stay(); os._exit(0)
def burn(seconds):
    while time.process_time() < seconds: pass
def hold(size):
    global held
    held = bytearray(b"x") * size
"""

Start = Callable[..., Census]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a tree of processes and wait until it has told so often; it ends with its stdin."""
    with ExitStack() as processes:

        def start(source: str, *, tells: int = 1) -> Census:
            process = processes.enter_context(
                subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", PRELUDE + source],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            assert process.stdin
            assert process.stdout
            processes.callback(process.stdin.close)
            for _ in range(tells):
                assert process.stdout.read(1) == b"."
            return Census(process.pid)

        yield start


def test_memory_is_that_of_every_descendant(start: Start) -> None:
    census = start(
        "child(lambda: (hold(30 << 20), child(lambda: hold(50 << 20))))\nstay()", tells=2
    )
    assert 80 * MIB < census.memory() < 110 * MIB


@pytest.mark.parametrize(
    "name",
    [
        rb"\xff\xfe",  # no text
        rb"\x0bRssAnonQ",  # what some take for the end of a line, and then nothing to read
        rb"\x0bRssAnonQ:-9999",  # less than nothing
        rb"\nRssAnon: -99999",
        rb") R 1 1 1",
    ],
    ids=repr,
)
def test_no_name_that_a_program_gives_itself_hides_anything(start: Start, name: bytes) -> None:
    named = f"import ctypes; ctypes.CDLL(None).prctl(15, b'{name.decode()}')"
    census = start(f"{named}; child(lambda: (hold(30 << 20), burn(0.3))); stay()")
    assert 30 * MIB < census.memory() < 60 * MIB
    assert census.exceeds(30 * MIB)
    assert 0.2 <= census.cpu_time() < 1


def test_process_1_itself_is_ours_and_weighs_nothing(start: Start) -> None:
    census = start("hold(50 << 20); tell(); stay()")
    assert census.memory() == 0
    assert not census.exceeds(1)


def test_what_a_fork_shares_counts_once_before_anybody_is_condemned(start: Start) -> None:
    census = start(
        "def family():\n"
        "    hold(60 << 20)\n"
        "    for _ in range(4): child(lambda: None)\n"
        "child(family); stay()",
        tells=5,
    )
    assert census.memory() > 240 * MIB
    assert not census.exceeds(150 * MIB)
    assert 55 * MIB < census.peak_memory < 150 * MIB
    assert census.exceeds(40 * MIB)


def test_memory_that_processes_share_by_intent_counts_once(start: Start) -> None:
    census = start(
        "import mmap\n"
        "def family():\n"
        "    global shared\n"
        "    shared = mmap.mmap(-1, 60 << 20)\n"
        "    shared.write(b'x' * (60 << 20))\n"
        "    for _ in range(3): child(lambda: sum(shared[::4096]))\n"
        "child(family); stay()",
        tells=4,
    )
    assert not census.exceeds(150 * MIB)
    assert census.exceeds(50 * MIB)


def test_a_process_that_closes_itself_to_others_weighs_what_it_weighs(start: Start) -> None:
    census = start(
        "import ctypes\n"
        "def work(): hold(60 << 20); ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n"
        "child(work); stay()"
    )
    assert census.exceeds(50 * MIB)


def test_cpu_time_is_that_of_the_living_and_of_those_waited_for(start: Start) -> None:
    census = start(
        "def work():\n"
        "    child(lambda: (burn(0.3), os._exit(0)))\n"
        "    os.wait()\n"
        "    burn(0.2)\n"
        "child(work); stay()"
    )
    assert 0.45 < census.cpu_time() < 0.8


def test_cpu_time_of_process_1_itself_is_ours(start: Start) -> None:
    assert start("burn(0.3); tell(); stay()").cpu_time() == 0


def test_cpu_time_that_was_seen_counts_although_nobody_waited(start: Start) -> None:
    census = start(
        "def work():\n"
        "    signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\n"
        "    child(lambda: burn(0.3))\n"
        "    signal.sigwait({signal.SIGUSR1})\n"
        "    child(lambda: burn(0.3))\n"
        "    stay()\n"
        "child(work); stay()"
    )
    assert 0.25 < census.cpu_time() < 0.5
    # The first child goes, and with it, in the kernel's books, all that it did; then the next.
    (worker,) = children(census._init)
    (burner,) = children(worker)
    gone = os.pidfd_open(burner)
    os.kill(burner, signal.SIGKILL)
    wait_readable(gone)
    os.kill(worker, signal.SIGUSR1)
    deadline = time.monotonic() + 10
    while census.cpu_time() < 0.55:
        assert time.monotonic() < deadline


def test_a_name_with_parentheses_confuses_nobody(start: Start) -> None:
    census = start(
        "import ctypes\n"
        "def work(): ctypes.CDLL(None).prctl(15, b') R 1 (', 0, 0, 0); burn(0.2)\n"
        "child(work); stay()"
    )
    assert 0.15 < census.cpu_time() < 0.5


def test_a_cell_that_has_gone_weighs_and_burns_nothing() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    census = Census(gone.pid)
    assert (census.memory(), census.cpu_time(), census.exceeds(0)) == (0, 0, False)


def test_a_pidfd_leads_to_its_process(start: Start) -> None:
    pid = start("tell(); stay()")._init
    pidfd = os.pidfd_open(pid)
    assert process_of(pidfd) == pid
    os.close(pidfd)


def test_a_pidfd_of_an_ended_process_leads_nowhere() -> None:
    process = subprocess.Popen(["true"])
    pidfd = os.pidfd_open(process.pid)
    process.wait()
    with pytest.raises(ProcessLookupError):
        process_of(pidfd)
    os.close(pidfd)


# --- What the meter makes of it ------------------------------------------------------------------


@pytest.fixture
def meter(start: Start) -> Iterator[Callable[[str], CensusMeter]]:
    """Meter a tree of processes as if it were a cell."""
    with ExitStack() as pidfds:

        def meter(source: str) -> CensusMeter:
            init = os.pidfd_open(start(source)._init)
            pidfds.callback(os.close, init)
            return CensusMeter(Cell(Control(pidfds.enter_context(socket.socket())), init, None))

        yield meter


Meter = Callable[[str], CensusMeter]


def test_a_cell_within_its_limits_goes_on(meter: Meter) -> None:
    metered = meter("child(lambda: hold(30 << 20)); stay()")
    assert metered.exceeded(DEFAULT_LIMITS) is None
    seen = metered.close()
    assert 30 * MIB < seen.peak_memory < 60 * MIB
    assert not seen.oom_killed


def test_a_cell_that_holds_too_much_is_ended_for_its_memory(meter: Meter) -> None:
    metered = meter("child(lambda: hold(60 << 20)); stay()")
    assert metered.exceeded(replace(DEFAULT_LIMITS, memory=50 * MIB)) is KillReason.MEMORY


def test_a_cell_that_burns_too_much_is_ended_for_its_cpu_time(meter: Meter) -> None:
    metered = meter("child(lambda: burn(0.3)); stay()")
    assert metered.exceeded(replace(DEFAULT_LIMITS, cpu_time=0.2)) is KillReason.CPU_TIME
    assert metered.close().cpu_time >= 0.2


def test_a_cell_that_ended_before_the_first_look_used_nothing_that_was_seen() -> None:
    with subprocess.Popen(["true"]) as process:
        init = os.pidfd_open(process.pid)
    with socket.socket() as connection:
        metered = CensusMeter(Cell(Control(connection), init, None))
        assert metered.exceeded(DEFAULT_LIMITS) is None
    os.close(init)
    assert (metered.close().cpu_time, metered.close().peak_memory) == (0, 0)


def test_the_more_there_is_to_look_at_the_less_often_it_is_looked_at(meter: Meter) -> None:
    metered = meter("tell(); stay()")
    assert metered.pause(DEFAULT_LIMITS) == 0.02
    metered._cost = 0.01  # s of a CPU for one look
    assert metered.pause(DEFAULT_LIMITS) == pytest.approx(0.1)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_readable(descriptor: int) -> None:
    assert select.select([descriptor], [], [], 10)[0]
    os.close(descriptor)
