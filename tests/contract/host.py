"""What the local sandbox leaves on this host, if it leaves anything."""

import os
from collections.abc import Iterator
from pathlib import Path


def living(uid: int) -> dict[int, str]:
    """Name every process of our cells that runs under a uid, zombies included, by its pid."""
    named = ((pid, _describe(pid)) for pid in _pids())
    return {int(pid): name for pid, name in named if name.startswith(f"{uid} ") and _is_ours(pid)}


def _is_ours(pid: str) -> bool:
    """Whether it descends from us: other tests on this host have the same uids."""
    while pid not in {"0", "1", str(os.getpid())}:
        try:
            stat = Path("/proc", pid, "stat").read_bytes()
        except OSError:
            return False  # it ended while we looked
        pid = stat.rpartition(b")")[2].split()[1].decode()
    return pid == str(os.getpid())


def _pids() -> Iterator[str]:
    return (path.name for path in Path("/proc").iterdir() if path.name.isdigit())


def _describe(pid: str) -> str:
    """Return uid, name, state and pids of a process in a cell or of a bubblewrap; or nothing."""
    try:
        lines = Path("/proc", pid, "status").read_text(errors="replace").split("\n")
    except OSError:
        return ""  # it ended while we looked
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    is_ours = fields["Name"] == "bwrap" and fields["PPid"] == str(os.getpid())
    is_inside = len(fields["NSpid"].split()) > 1
    if not is_ours and not is_inside:
        return ""
    return f"{fields['Uid'].split()[0]} {fields['Name']} ({fields['State']}, {fields['NSpid']})"
