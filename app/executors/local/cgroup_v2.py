"""Cgroups of the new kind: one hierarchy, in which controllers are delegated to us.

Source: kernel documentation, "Control Group v2" (memory.max, memory.swap.max, memory.events,
memory.peak since Linux 5.19, pids.max, cpu.stat, cpu.weight).
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from app.domain.limits import Limits
from app.executors.local.cgroup_folders import (
    NAME,
    field,
    own_folder,
    read,
    remove,
    undone_on_error,
    write,
)

_ASIDE = f"{NAME}-server"
_INIT = 1  # process 1 of a cell does not count against the program's limit


class LeafV2:
    """A leaf in the unified hierarchy."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def processes_files(self) -> list[Path]:
        """Name the one file."""
        return [self._path / "cgroup.procs"]

    def own_files(self) -> list[Path]:
        """Name the same file: in v2 single threads cannot leave their process."""
        return self.processes_files()

    def limit(self, limits: Limits) -> None:
        """Write the limits."""
        write(self._path / "memory.max", limits.memory)
        # Absent where the kernel has no swap.
        with contextlib.suppress(FileNotFoundError):
            write(self._path / "memory.swap.max", 0)
        write(self._path / "pids.max", limits.processes + _INIT)

    def cpu_time(self) -> float:
        """Read usage_usec of cpu.stat."""
        return field(self._path / "cpu.stat", "usage_usec") / 1e6

    def oom_kills(self) -> int:
        """Read the counter in memory.events."""
        return field(self._path / "memory.events", "oom_kill")

    def process_refusals(self) -> int:
        """Read the counter in pids.events."""
        return field(self._path / "pids.events", "max")

    def peak_memory(self) -> int | None:
        """Read memory.peak."""
        with contextlib.suppress(FileNotFoundError):
            return int(read(self._path / "memory.peak"))
        return None

    def reset_peak_memory(self) -> None:
        """Leave it: memory.peak is reset only for who holds it open, and since Linux 6.12."""

    def remove(self) -> None:
        """Remove the folder."""
        remove(self._path)


class CgroupsV2:
    """The unified hierarchy, where it is delegated to us with memory and pids."""

    version = "v2"

    def __init__(self, folder: Path) -> None:
        with _aside(folder):
            _switch_on(folder)
            self._folder = own_folder(folder)
            _switch_on(self._folder)

    @property
    def bounds_swap(self) -> bool:
        """Look for the file that bounds it."""
        return (self._folder / "memory.swap.max").exists()

    def leaf(self, limits: Limits) -> LeafV2:
        """Make the folder and write the limits."""
        path = self._folder / uuid4().hex
        leaf = LeafV2(path)
        with undone_on_error(leaf.remove):
            path.mkdir()
            leaf.limit(limits)
        return leaf

    def close(self) -> None:
        """Remove this server's folder; its own group goes with the service that holds it."""
        remove(self._folder)


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[None]:
    """Step into a group beside the runs' and stay there, or step back if the block fails.

    Only leaves may hold processes, so this comes before controllers are switched on.
    """
    for abandoned in folder.glob(f"{_ASIDE}-*"):
        with contextlib.suppress(OSError):
            abandoned.rmdir()  # fails, as it should, where a server lives in it
    own = folder / f"{_ASIDE}-{os.getpid()}"
    own.mkdir(exist_ok=True)
    try:
        write(own / "cgroup.procs", os.getpid())
        yield
    except OSError:
        with contextlib.suppress(OSError):
            write(folder / "cgroup.procs", os.getpid())
            own.rmdir()
        raise


def _switch_on(folder: Path) -> None:
    """Switch controllers on for what is below the folder.

    With the CPU controller all runs together get no more of a busy machine than the server.
    """
    write(folder / "cgroup.subtree_control", "+memory +pids")
    with contextlib.suppress(OSError):  # not delegated: then a run bomb slows the server down
        write(folder / "cgroup.subtree_control", "+cpu")
