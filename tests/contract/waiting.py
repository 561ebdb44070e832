"""What an embedded sandbox keeps ready: it is there between runs, and is nobody's trace."""

from collections.abc import Iterator
from pathlib import Path

import anyio

from app.executors.local.census import process_of
from app.executors.local.executor import LocalExecutor
from app.executors.local.meter import CgroupMeter
from app.executors.local.warm import Slot, WarmCells

_PATIENCE = 20.0  # s


async def at_rest(executor: LocalExecutor) -> None:
    """Wait until everything is ready again that is to be ready."""
    with anyio.move_on_after(_PATIENCE):
        while not all(map(_is_at_rest, executor._warm.cells.values())):  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(0.005)


def _is_at_rest(cells: WarmCells) -> bool:
    is_full = cells._zygote is not None and len(cells._ready) >= cells._target
    return is_full and cells._owned == len(cells._ready) + cells._in_use


def slots(executor: LocalExecutor) -> list[Slot]:
    """Return the slots that wait for a program."""
    return [slot for cells in executor._warm.cells.values() for slot in cells._ready]


def pids(executor: LocalExecutor) -> set[int]:
    """Return the processes of these, and of the fork servers that they came out of."""
    found = set(_of_fork_servers(executor))
    for slot in slots(executor):
        init = process_of(slot.cell.init)
        found |= {init, *children(init)}
    return found


def _of_fork_servers(executor: LocalExecutor) -> Iterator[int]:
    for cells in executor._warm.cells.values():
        if cells._zygote:
            outside = cells._zygote.process
            yield outside
            for first in children(outside):
                yield first
                for keeper in children(first):
                    yield from (keeper, *children(keeper)[:1])


def children(pid: int) -> list[int]:
    return [
        int(child)
        for task in Path("/proc", str(pid), "task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def leaves(executor: LocalExecutor) -> set[str]:
    """Return the cgroups of the waiting slots."""
    meters = [slot.meter for slot in slots(executor)]
    return {
        str(file.parent)
        for meter in meters
        if isinstance(meter, CgroupMeter)
        for file in meter._leaf.own_files()
    }


DESCRIPTORS = 5
"""What the server holds open of each: the socket, the pidfd, and its ends of the three pipes."""
