"""How a run's use of memory and CPU is counted: by its cgroups, or by looking at its processes."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from app.domain.execution import KillReason
from app.domain.limits import Limits
from app.executors.local.cell import Cell
from app.executors.local.census import Census, process_of
from app.executors.local.cgroups import Cgroups, Leaf

_CPUS = len(os.sched_getaffinity(0))
_SHORTEST_PAUSE = 0.005  # s; well below the 50 ms within which a limit has to hold
_CENSUS_PAUSE = 0.02  # s; a look at one process costs 0.2 ms
_CENSUS_SHARE = 0.1  # of a CPU, at most: many processes are looked at less often


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """What a run has used in the end. Seconds and bytes; 0 where it could not be read."""

    oom_killed: bool
    lacked_processes: bool
    """Whether one was refused to it, as far as the kernel counts that."""
    cpu_time: float
    peak_memory: int


class Meter(Protocol):
    """Counts one run. `exceeded` and `change` may block for a moment: call them in a thread."""

    bounds_processes: bool
    """Whether the kernel bounds them for us; if not, an rlimit has to."""

    @property
    def joins(self) -> Sequence[int]:
        """The open files through which a cell's init joins what is counted."""

    def begin(self) -> None:
        """Count from here: what has happened so far is not the program's doing."""

    def change(self, limits: Limits) -> None:
        """Take other limits than it was made with.

        Raises:
            OSError: what is counted has more already.
        """

    def pause(self, limits: Limits) -> float:
        """Return for how long, in seconds, nothing can be exceeded that was not before."""

    def exceeded(self, limits: Limits) -> KillReason | None:
        """Look whether a limit is exceeded that the kernel does not enforce by itself."""

    def close(self) -> Metered:
        """Read the final figures, when no process of the run is left."""


class CgroupMeter:
    """Counts by a cgroup: memory and processes are the kernel's to enforce, CPU time is ours."""

    bounds_processes = True

    def __init__(self, leaf: Leaf) -> None:
        self._leaf = leaf
        self._used = self._unbilled = 0.0
        self.joins: list[int] = []

    @classmethod
    def make(cls, cgroups: Cgroups, limits: Limits) -> Self:
        """Make a leaf and open its files; it may block for a moment."""
        meter = cls(cgroups.leaf(limits))
        try:
            for path in meter._leaf.own_files():
                meter.joins.append(os.open(path, os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            meter.remove()
            raise
        return meter

    def remove(self) -> None:
        """Remove the leaf, when no process is left in it; it may block for a moment."""
        self._close_joins()
        self._leaf.remove()

    def begin(self) -> None:
        """Count from here: what has joined so far is not the program's doing."""
        self._close_joins()
        self._leaf.reset_peak_memory()
        self._unbilled = self._leaf.cpu_time()

    def change(self, limits: Limits) -> None:
        """Take other limits than the leaf was made with.

        Raises:
            OSError: what is in it holds more already.
        """
        self._leaf.limit(limits)

    def pause(self, limits: Limits) -> float:
        """Even on all CPUs at once the rest of the CPU time lasts this long."""
        return max(_SHORTEST_PAUSE, (limits.cpu_time - self._used) / _CPUS)

    def exceeded(self, limits: Limits) -> KillReason | None:
        """Look at the CPU time."""
        self._used = self._cpu_time()
        return KillReason.CPU_TIME if self._used >= limits.cpu_time else None

    def close(self) -> Metered:
        """Read the kernel's counters."""
        return Metered(
            oom_killed=self._leaf.oom_kills() > 0,
            lacked_processes=self._leaf.process_refusals() > 0,
            cpu_time=self._cpu_time(),
            peak_memory=self._leaf.peak_memory() or 0,
        )

    def _cpu_time(self) -> float:
        return self._leaf.cpu_time() - self._unbilled

    def _close_joins(self) -> None:
        while self.joins:
            os.close(self.joins.pop())


class CensusMeter:
    """Counts by looking at the processes every 20 ms, where there are no cgroups.

    No rlimit helps it: V8 reserves half a GiB of data for itself and for each worker, so a
    limit that lets Node live does not bound anybody.
    """

    bounds_processes = False
    joins: Sequence[int] = ()

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._census: Census | None = None
        self._cost = self._unbilled = 0.0

    def begin(self) -> None:
        """Count from here, as the other."""
        self._census = Census(process_of(self._cell.init))
        self._unbilled = self._census.cpu_time()

    def change(self, limits: Limits) -> None:
        """Look at the limits only when it looks."""

    def pause(self, limits: Limits) -> float:  # noqa: ARG002 - memory can grow at any time
        """Return the time between two looks."""
        return max(_CENSUS_PAUSE, self._cost / _CENSUS_SHARE)

    def exceeded(self, limits: Limits) -> KillReason | None:
        """Look at memory, then at CPU time."""
        began = time.thread_time()
        try:
            return self._look(limits)
        finally:
            self._cost = time.thread_time() - began

    def close(self) -> Metered:
        """Return what was seen; the kernel has counted nothing for us."""
        seen = self._census
        return Metered(
            oom_killed=False,
            lacked_processes=False,
            cpu_time=seen.peak_cpu_time - self._unbilled if seen else 0.0,
            peak_memory=seen.peak_memory if seen else 0,
        )

    def _look(self, limits: Limits) -> KillReason | None:
        if self._census is None:
            try:
                self._census = Census(process_of(self._cell.init))
            except ProcessLookupError:
                return None
        if self._census.exceeds(limits.memory):
            return KillReason.MEMORY
        used = self._census.cpu_time() - self._unbilled
        return KillReason.CPU_TIME if used >= limits.cpu_time else None
