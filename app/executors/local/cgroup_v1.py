"""Cgroups of the old kind: one hierarchy for memory, one for processes, one for CPU time.

Source: kernel documentation, "CGroup v1" (memory, pids, cpuacct).
"""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from app.domain.limits import Limits
from app.executors.local.cgroup_folders import (
    field,
    own_folder,
    read,
    remove,
    undone_on_error,
    write,
)

_INIT = 1  # process 1 of a cell does not count against the program's limit


class LeafV1:
    """A leaf in each of the v1 hierarchies."""

    def __init__(self, memory: Path, pids: Path, cpuacct: Path) -> None:
        self._memory, self._pids, self._cpuacct = memory, pids, cpuacct
        self._limit = sys.maxsize  # as the kernel makes it: none

    def processes_files(self) -> list[Path]:
        """Name one file for each hierarchy."""
        return [path / "cgroup.procs" for path in self._folders()]

    def own_files(self) -> list[Path]:
        """Name the files for single threads.

        A thread that moves itself is not waited for on every CPU: 0.1 ms instead of 12
        (Linux 5.5, "cgroup: Optimize single thread migration").
        """
        return [path / "tasks" for path in self._folders()]

    def limit(self, limits: Limits) -> None:
        """Write the limits."""
        # Memory and swap together is never the lower one of the two.
        if limits.memory > self._limit:
            self._limit_swap(limits)
        write(self._memory / "memory.limit_in_bytes", limits.memory)
        self._limit_swap(limits)
        self._limit = limits.memory
        write(self._pids / "pids.max", limits.processes + _INIT)

    def _limit_swap(self, limits: Limits) -> None:
        # As much as memory alone: no swap. Absent where the kernel does not account swap.
        with contextlib.suppress(FileNotFoundError):
            write(self._memory / "memory.memsw.limit_in_bytes", limits.memory)

    def cpu_time(self) -> float:
        """Read cpuacct.usage, which counts nanoseconds."""
        return int(read(self._cpuacct / "cpuacct.usage")) / 1e9

    def oom_kills(self) -> int:
        """Read the counter in memory.oom_control."""
        return field(self._memory / "memory.oom_control", "oom_kill")

    def process_refusals(self) -> int:
        """Read the counter in pids.events."""
        return field(self._pids / "pids.events", "max")

    def peak_memory(self) -> int | None:
        """Read memory.max_usage_in_bytes."""
        return int(read(self._memory / "memory.max_usage_in_bytes"))

    def reset_peak_memory(self) -> None:
        """Write to the file that counts it."""
        write(self._memory / "memory.max_usage_in_bytes", 0)

    def remove(self) -> None:
        """Remove the three folders."""
        for path in self._folders():
            remove(path)

    def _folders(self) -> tuple[Path, Path, Path]:
        return self._memory, self._pids, self._cpuacct


class CgroupsV1:
    """The v1 hierarchies memory, pids and cpuacct, each where this process is."""

    version = "v1"

    def __init__(self, folders: Mapping[str, Path]) -> None:
        # Hierarchies may be one and the same: a process is in one folder of each.
        own: dict[Path, Path] = {}
        try:
            for path in dict.fromkeys(folders.values()):
                own[path] = own_folder(path)
        except OSError:
            for path in own.values():
                remove(path)
            raise
        self._folders = {name: own[path] for name, path in folders.items()}

    @property
    def bounds_swap(self) -> bool:
        """Look for the file that bounds memory and swap together."""
        return (self._folders["memory"] / "memory.memsw.limit_in_bytes").exists()

    def leaf(self, limits: Limits) -> LeafV1:
        """Make the three folders and write the limits."""
        name = uuid4().hex
        paths = {controller: path / name for controller, path in self._folders.items()}
        leaf = LeafV1(memory=paths["memory"], pids=paths["pids"], cpuacct=paths["cpuacct"])
        with undone_on_error(leaf.remove):
            for path in paths.values():
                path.mkdir(exist_ok=True)
            leaf.limit(limits)
        return leaf

    def close(self) -> None:
        """Remove this server's folders."""
        for path in self._folders.values():
            remove(path)
