"""What the local sandbox leaves on this host, if it leaves anything."""

import os
from collections.abc import Iterator
from pathlib import Path


def living(uid: int) -> list[str]:
    """Name every process of cells that run under a uid, zombies included."""
    return [name for name in map(_describe, _pids()) if name.startswith(f"{uid} ")]


def _pids() -> Iterator[str]:
    return (path.name for path in Path("/proc").iterdir() if path.name.isdigit())


def _describe(pid: str) -> str:
    """Return uid, name, state and pids of a process in a cell or of a bubblewrap; or nothing."""
    try:
        lines = Path("/proc", pid, "status").read_text().splitlines()
    except OSError:
        return ""  # it ended while we looked
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    is_ours = fields["Name"] == "bwrap" and fields["PPid"] == str(os.getpid())
    is_inside = len(fields["NSpid"].split()) > 1
    if not is_ours and not is_inside:
        return ""
    return f"{fields['Uid'].split()[0]} {fields['Name']} ({fields['State']}, {fields['NSpid']})"
