"""Who holds a lease: a name by which others on the same host can tell that a process died."""

import os
from pathlib import Path
from uuid import uuid4

from app.processes import start_time


def own_name() -> str:
    """Name this process: host boot, pid namespace, pid, start time, and a part that is unique."""
    return ":".join((_where(), str(os.getpid()), str(start_time(os.getpid())), uuid4().hex[:8]))


def has_died(name: str) -> bool:
    """Whether the named process is known to be dead: only one that ran where we run can be."""
    where, _, rest = name.partition(":")
    if where != _where():
        return False
    pid, started, _ = rest.split(":")
    try:
        return start_time(int(pid)) != int(started)
    except OSError:
        return True


def _where() -> str:
    """Name the boot of this host and the pid namespace: pids mean something only within both."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
