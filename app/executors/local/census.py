"""What a cell uses, seen from outside: for hosts where no cgroup can be written.

It looks at every process below process 1 of the cell, and what it tells is approximate. Memory
is what each process holds of its own; a burst between two looks is not seen, nor is memory that
no process has mapped (a memfd, a detached segment). CPU time is that of the living and of those
that were waited for, or that of all that were ever seen, whichever is more: nobody waits for
the children of a program that ignores SIGCHLD.

A program names itself as it likes, in any bytes, and the kernel writes that name into the very
files that are read here. So they are read as bytes, and a line ends where the kernel ends it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


class Census:
    """The processes of one cell, found from its process 1."""

    def __init__(self, init: int) -> None:
        self._init = init
        self._seen: dict[tuple[int, int], int] = {}
        self.peak_memory = 0
        """The highest use seen, in bytes."""
        self.peak_cpu_time = 0.0
        """The same in seconds."""

    def exceeds(self, limit: int) -> bool:
        """Tell whether the cell holds more than `limit` bytes now.

        The sum is quick but counts shared pages once for each process, as after a fork; so
        before it condemns anybody, the kernel is asked for the shares, which costs more.
        """
        held = self.memory()
        if held > limit:
            held = sum(map(_share, self._program()))
        self.peak_memory = max(self.peak_memory, held)
        return held > limit

    def memory(self) -> int:
        """Sum up what the cell's processes hold now, in bytes."""
        return sum(map(_own, self._program()))

    def cpu_time(self) -> float:
        """Sum up what the cell's processes have used, in seconds; it never goes back."""
        init = _times(self._init)
        ticks = init.children if init else 0
        for pid in self._program():
            if times := _times(pid):
                self._seen[pid, times.began] = times.own
                ticks += times.own + times.children
        self.peak_cpu_time = max(
            self.peak_cpu_time, _TICK * ticks, _TICK * sum(self._seen.values())
        )
        return self.peak_cpu_time

    def _program(self) -> Iterator[int]:
        found = list(_children(self._init))
        while found:
            pid = found.pop()
            yield pid
            found += _children(pid)


def process_of(pidfd: int) -> int:
    """Return the pid that a pidfd stands for, in our own pid namespace.

    Raises:
        ProcessLookupError: it has ended.
    """
    for line in Path("/proc/self/fdinfo", str(pidfd)).read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "Pid" and int(value) > 0:
            return int(value)
    raise ProcessLookupError(pidfd)


@dataclass(frozen=True, slots=True)
class _Times:
    """In clock ticks."""

    own: int
    children: int
    """Of those that were waited for."""
    began: int
    """Since boot: tells pids that recur apart."""


def _times(pid: int) -> _Times | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None  # it ended while we looked
    fields = stat.rpartition(b")")[2].split()
    user, system, children_user, children_system = map(int, fields[11:15])
    return _Times(user + system, children_user + children_system, int(fields[19]))


def _children(pid: int) -> Iterator[int]:
    try:
        for thread in (_PROC / str(pid) / "task").iterdir():
            yield from map(int, (thread / "children").read_text().split())
    except OSError:
        return


def _own(pid: int) -> int:
    try:
        return _sizes(pid, "status", b"RssAnon", b"RssShmem")
    except OSError:
        return 0


def _share(pid: int) -> int:
    try:
        return _sizes(pid, "smaps_rollup", b"Pss_Anon", b"Pss_Shmem")
    except PermissionError:
        return _own(pid)  # whoever hides must not weigh nothing
    except OSError:
        return 0


def _sizes(pid: int, file: str, *names: bytes) -> int:
    lines = (_PROC / str(pid) / file).read_bytes().split(b"\n")
    sizes = (size for name, _, size in (line.partition(b":") for line in lines) if name in names)
    return sum(int(size.split()[0]) * 1024 for size in sizes)
