"""Where this process's cgroups are, from what the kernel says in /proc."""

from collections.abc import Iterator
from pathlib import Path


def cgroup_folders(cgroup: str, mountinfo: str) -> tuple[dict[str, Path], Path | None]:
    """Return the folder of each v1 controller, and that of v2, for the process described.

    Args:
        cgroup: the text of /proc/PID/cgroup.
        mountinfo: the text of /proc/PID/mountinfo.
    """
    paths = dict(_groups(cgroup))
    v1: dict[str, Path] = {}
    v2: Path | None = None
    for kind, root, point, options in _cgroup_mounts(mountinfo):
        if kind == "cgroup2":
            v2 = _below(point, root, paths.get("", "/"))
        for controller in options if kind == "cgroup" else ():
            if controller in paths:
                v1[controller] = _below(point, root, paths[controller])
    return v1, v2


def _groups(cgroup: str) -> Iterator[tuple[str, str]]:
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _cgroup_mounts(mountinfo: str) -> Iterator[tuple[str, str, str, list[str]]]:
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            root, point = before.split(" ")[3:5]
            yield kind, root, point, options.split(",")


def _below(point: str, root: str, path: str) -> Path:
    """Return where `path` of the hierarchy is, when `root` of it is mounted at `point`."""
    inside = Path(path)
    if inside.is_relative_to(root) and ".." not in inside.parts:
        return Path(point) / inside.relative_to(root)
    return Path(point)  # outside of what this mount, or our cgroup namespace, shows
