"""The memory limit of a box: beyond it the whole box dies at once, as a gVisor container does.

Nothing in the box may outlive the moment and report: not even process 1. With cgroup v2 the
kernel kills the group as one. With v1 its killer is switched off, so that everything which
needs memory stops, and the server that is told of it ends the box. Without cgroups the server
looks every 20 ms.

Sources: kernel documentation, "Control Group v2" (memory.oom.group) and "Memory Resource
Controller" (v1: memory.oom_control, cgroup.event_control).
"""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import Protocol

import anyio
import anyio.to_thread

from app.domain.limits import DEFAULT_LIMITS, Limits
from app.executors.local.census import Census
from app.executors.local.cgroups import Leaf
from app.executors.modal.loopback.cell import Cell
from app.executors.modal.loopback.host import Host

_PROCESSES = 1024
_PAUSE = 0.02  # s; a look at every process costs about as much as a millisecond


class Meter(Protocol):
    """Watches one box."""

    async def until_exceeded(self) -> None:
        """Return when the box has to be ended; never, where the kernel does that."""

    def was_exceeded(self) -> bool:
        """Tell of a box that has ended whether the kernel did it; may block for a moment."""

    def cpu_time(self) -> float:
        """Return the CPU time used so far in seconds; may block for a moment."""


class CgroupMeter:
    """Counts by a cgroup."""

    def __init__(self, leaf: Leaf) -> None:
        self._leaf = leaf
        self._folder = leaf.processes_files()[0].parent
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def take(self, pid: int) -> None:
        """Put process 1 into the cgroup before it has started anything, and set the rule."""
        for path in self._leaf.processes_files():
            path.write_text(str(pid))
        group = self._folder / "memory.oom.group"
        if group.exists():
            group.write_text("1")
            return
        control = self._folder / "memory.oom_control"
        control.write_text("1")
        with control.open("rb") as file:
            told = f"{self._event} {file.fileno()}"
            (self._folder / "cgroup.event_control").write_text(told)

    async def until_exceeded(self) -> None:
        """Wait for the event of v1; with v2 there is none."""
        await anyio.wait_readable(self._event)

    def was_exceeded(self) -> bool:
        """Read the kernel's counter."""
        return self._leaf.oom_kills() > 0

    def cpu_time(self) -> float:
        """Read the kernel's counter."""
        return self._leaf.cpu_time()

    def close(self) -> None:
        """Remove the cgroup, when no process is left in it."""
        os.close(self._event)
        self._leaf.remove()


class CensusMeter:
    """Looks at the processes of a box, where there are no cgroups."""

    def __init__(self, pid: int, limit: int) -> None:
        self._census, self._limit = Census(pid), limit

    async def until_exceeded(self) -> None:
        """Look until it is too much."""
        while not await anyio.to_thread.run_sync(  # noqa: ASYNC110 - the kernel tells nobody
            self._census.exceeds, self._limit
        ):
            await anyio.sleep(_PAUSE)

    def was_exceeded(self) -> bool:
        """Return False: the kernel knows of no limit."""
        return False

    def cpu_time(self) -> float:
        """Add up the processes."""
        return self._census.cpu_time()


@contextlib.asynccontextmanager
async def metered(host: Host, limit: int) -> AsyncIterator["_Start"]:
    """Prepare a meter; what it leaves behind is removed when the box has gone."""
    if host.cgroups is None:
        yield _Start(None, limit)
        return
    # Shielded: a leaf that was made must not be forgotten.
    with anyio.CancelScope(shield=True):
        leaf = await anyio.to_thread.run_sync(host.cgroups.leaf, _limits(limit))
    meter = CgroupMeter(leaf)
    try:
        yield _Start(meter, limit)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(meter.close)


class _Start:
    """Puts a cell under its limit."""

    def __init__(self, meter: CgroupMeter | None, limit: int) -> None:
        self._meter, self._limit = meter, limit

    async def __call__(self, cell: Cell) -> Meter:
        if self._meter is None:
            return CensusMeter(cell.pid, self._limit)
        await anyio.to_thread.run_sync(self._meter.take, cell.pid)
        return self._meter


def _limits(memory: int) -> Limits:
    return Limits(
        wall_time=DEFAULT_LIMITS.wall_time,
        cpu_time=DEFAULT_LIMITS.cpu_time,
        output=DEFAULT_LIMITS.output,
        disk=DEFAULT_LIMITS.disk,
        memory=memory,
        processes=_PROCESSES,
    )
