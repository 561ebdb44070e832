"""What this host gives the sandbox, limit by limit, and what to do where it does not."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.domain.errors import Check
from app.executors.local.cgroups import Cgroups

_ROOT = Path("/")
_DOCKER = (
    "docker run --cap-drop ALL --security-opt no-new-privileges "
    "--security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined --user 1000 (untested; nothing needs --privileged)"
)
_DELEGATE = (
    "run it as `systemd-run --user --scope -p Delegate=yes .venv/bin/greenroom serve`, as a "
    "systemd service with Delegate=yes, or as root, where cgroups are writable"
)
_NPROC_BY_NAMESPACE = (5, 14)  # Linux: RLIMIT_NPROC counts in each user namespace


@dataclass(frozen=True, slots=True)
class _Knob:
    """A setting of the kernel that can forbid user namespaces."""

    path: str
    forbids: str
    remedy: str


_KNOBS = (
    _Knob(
        "proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for bwrap "
        "that says `userns,`",
    ),
    _Knob(
        "proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "sysctl kernel.unprivileged_userns_clone=1",
    ),
    _Knob("proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=16384"),
)
_IN_A_CONTAINER = (".dockerenv", "run/.containerenv")


def no_cell(problem: str, root: Path = _ROOT) -> Check:
    """Say that no cell can be made, and what of this host is in the way."""
    remedies = [knob.remedy for knob in _KNOBS if _read(root / knob.path) == knob.forbids]
    if any((root / name).exists() for name in _IN_A_CONTAINER):
        remedies.append(f"start the container so that it may make cells: {_DOCKER}")
    if not remedies:
        remedies.append("allow unprivileged user namespaces; `dmesg` may say what refused them")
    remedies.append("or set GREENROOM_EXECUTOR=modal")
    return Check(name="cell", passed=False, detail=problem, remedy="; ".join(remedies))


def kernel() -> Check:
    """Name the kernel."""
    about = os.uname()
    return Check(name="kernel", passed=True, detail=f"{about.release} on {about.machine}")


def cgroup_mode(cgroups: Cgroups | None, missing: str) -> Check:
    """Say which cgroups count, or why none do."""
    if cgroups is None:
        return Check(name="cgroups", passed=False, detail=missing, remedy=_DELEGATE, required=False)
    return Check(name="cgroups", passed=True, detail=f"{cgroups.version}, writable")


def limits(cgroups: Cgroups | None, root: Path = _ROOT) -> Iterator[Check]:
    """Say of each limit whether it is exact here, and what makes it so."""
    if cgroups is None:
        looked = "by looking at the processes every 20 ms"
        yield _approximate("memory", looked, _DELEGATE)
        yield _approximate("CPU time", looked, _DELEGATE)
        yield _processes_by_rlimit(os.uname().release)
    else:
        yield _memory(cgroups, root)
        yield _exact("CPU time", "by the counter of the run's cgroup, looked at when it can be due")
        yield _exact("processes", "pids.max")
    yield _exact("wall time", "our clock")
    yield _exact("output", "to the byte, by whoever reads it")
    yield _exact("disk", "bytes and files, by a file system in memory of that size")
    yield _exact("open files", "RLIMIT_NOFILE")


def _memory(cgroups: Cgroups, root: Path) -> Check:
    swaps = (_read(root / "proc/swaps") or "").splitlines()[1:]
    if swaps and not cgroups.bounds_swap:
        return _approximate(
            "memory",
            "the kernel does not count what a run has in swap",
            "boot with swapaccount=1, or `swapoff -a`",
        )
    return _exact("memory", "by the run's cgroup, swap included")


def _processes_by_rlimit(release: str) -> Check:
    version = tuple(
        int(part) for part in release.split("-", maxsplit=1)[0].split(".")[:2] if part.isdigit()
    )
    if version < _NPROC_BY_NAMESPACE:
        return _approximate(
            "processes", "counted for all runs together before Linux 5.14", "a newer kernel"
        )
    return _exact("processes", "RLIMIT_NPROC in the user namespace of the run")


def _exact(limit: str, how: str) -> Check:
    return Check(name=f"limit on {limit}", passed=True, detail=f"exact: {how}", required=False)


def _approximate(limit: str, how: str, remedy: str) -> Check:
    return Check(
        name=f"limit on {limit}",
        passed=False,
        detail=f"approximate: {how}",
        remedy=remedy,
        required=False,
    )


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
