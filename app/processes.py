"""What tells processes of this host apart."""

from pathlib import Path


def start_time(pid: int) -> int:
    """Read when a process started, in clock ticks since boot: it tells pids that recur apart.

    Raises:
        OSError: there is none.
    """
    # Bytes: a process gives itself its name, and a hostile one any.
    stat = Path("/proc", str(pid), "stat").read_bytes()
    return int(stat.rpartition(b")")[2].split()[19])
