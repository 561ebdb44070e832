"""Memory, processes and CPU time of a run, bounded and counted by the kernel.

A run gets a leaf of its own below a folder of this server. The server opens files of the leaf
and passes the descriptors into the cell; the cell's init writes "0" and is in the leaf before
the program exists. Leaves are never used twice: a v1 leaf keeps its peak and its counter of
out-of-memory kills for ever.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from app.domain.limits import Limits
from app.executors.local.cgroup_v1 import CgroupsV1
from app.executors.local.cgroup_v2 import CgroupsV2
from app.executors.local.mounts import cgroup_folders


class Leaf(Protocol):
    """The cgroups of one run. Times in seconds, sizes in bytes."""

    def processes_files(self) -> list[Path]:
        """Name the files through which any process is moved here."""

    def own_files(self) -> list[Path]:
        """Name the files through which a process of one thread moves itself here, by a "0"."""

    def limit(self, limits: Limits) -> None:
        """Write the limits, once more if they are others."""

    def reset_peak_memory(self) -> None:
        """Forget the highest use of memory, where the kernel can."""

    def cpu_time(self) -> float:
        """Read the CPU time of everything that ran here."""

    def oom_kills(self) -> int:
        """Read how many processes the kernel killed for want of memory."""

    def process_refusals(self) -> int:
        """Read how often the limit on processes refused one; 0 where the kernel does not count."""

    def peak_memory(self) -> int | None:
        """Read the highest use of memory, or None where the kernel is too old to know."""

    def remove(self) -> None:
        """Remove the leaf; it may block for a moment."""


class Cgroups(Protocol):
    """A way to make leaves on this host."""

    version: str

    @property
    def bounds_swap(self) -> bool:
        """Whether the kernel counts what a run has in swap."""

    def leaf(self, limits: Limits) -> Leaf:
        """Make a leaf with the limits set."""

    def close(self) -> None:
        """Remove this server's folder."""


def find_cgroups() -> Cgroups:
    """Find a hierarchy that we may write.

    Raises:
        OSError: there is none; its message says what was missing.
    """
    return cgroups_in(
        *cgroup_folders(
            Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text()
        )
    )


def cgroups_in(v1: Mapping[str, Path], v2: Path | None) -> Cgroups:
    """Take what we need of these folders.

    Raises:
        OSError: it is not all there, or we may not write it.
    """
    if {"memory", "pids", "cpuacct"} <= v1.keys():
        return CgroupsV1({name: v1[name] for name in ("memory", "pids", "cpuacct")})
    if v2 is None:
        message = "no cgroup file system is mounted"
        raise FileNotFoundError(message)
    available = (v2 / "cgroup.controllers").read_text().split()
    missing = [name for name in ("memory", "pids") if name not in available]
    if missing:
        message = f"cgroup v2 has no {' and no '.join(missing)} controller here"
        raise FileNotFoundError(message)
    return CgroupsV2(v2)
