"""What a cell sees: the command line of bubblewrap."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from app.domain.language import Mount, Toolchain
from app.executors.local.stage import FORK_SERVER, HOST_ETC, INIT, Stage

CELL_UID = 1000
# The cgroup namespace is init's to make, after it has joined the run's cgroup.
_NAMESPACES = ("user", "pid", "net", "ipc", "uts")
_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# Our init mounts the scratch space, bounds its namespace and drops the rest; the program gets
# none of these.
_INIT_CAPABILITIES = ("CAP_SYS_ADMIN", "CAP_SYS_RESOURCE", "CAP_SETPCAP")


def command_line(stage: Stage, interpreter: Toolchain, toolchain: Toolchain) -> list[str]:
    """Return the arguments that start a cell; the number of init's control descriptor follows."""
    mounts, hidden = _seen((interpreter, toolchain))
    return [
        str(stage.bubblewrap),
        *_isolation(),
        *("--as-pid-1", *_capabilities()),
        *_system(),
        *_stage_folders(stage),
        *_mounts(stage, mounts),
        *_hidden(hidden),
        *_fresh_folders(),
        "--",
        *isolated(interpreter),
        f"/greenroom/{INIT}",
    ]


def warm_command_line(
    stage: Stage, interpreter: Toolchain, toolchain: Toolchain, *, is_within: bool
) -> tuple[list[str], list[str]]:
    """Return the arguments that start a fork server's cell, but for its command; see `zygote.py`.

    It has no capability. Its process 1 is bubblewrap's own, which outlives the fork server and
    with it lets runs end that it has begun.

    Args:
        stage: what cells are made from.
        interpreter: runs our own files.
        toolchain: that of the programs.
        is_within: whether the programs' own interpreter is to import the fork server. Then it is
            put into the folders for packages, whose paths are returned as well: in each run's
            cell these have to be covered again.
    """
    mounts, hidden = _seen((interpreter, toolchain))
    line = [
        str(stage.bubblewrap),
        *_isolation(),
        *_system(),
        *_stage_folders(stage),
        *_mounts(stage, mounts),
        *_hidden(hidden),
    ]
    covered = [str(folder) for folder in hidden if is_within and folder in toolchain.hidden]
    for folder in covered:
        line += ("--ro-bind", str((stage.path / "greenroom" / FORK_SERVER).parent), folder)
    return [*line, *_fresh_folders(), "--"], covered


def isolated(interpreter: Toolchain) -> tuple[str, ...]:
    """Return how our own files are run: without packages, environment or byte code."""
    return (str(interpreter.executable), "-I", "-S", "-B")


def _seen(toolchains: Sequence[Toolchain]) -> tuple[list[Mount], list[Path]]:
    """Return what is mounted for these toolchains, and what of it is hidden."""
    mounts = list(dict.fromkeys(mount for each in toolchains for mount in each.mounts))
    hidden = dict.fromkeys(path for each in toolchains for path in each.hidden)
    return mounts, [folder for folder in hidden if _is_visible(folder, mounts)]


def _isolation() -> Iterator[str]:
    yield from (f"--unshare-{name}" for name in _NAMESPACES)
    yield from ("--uid", str(CELL_UID), "--gid", str(CELL_UID), "--hostname", "greenroom")
    yield from ("--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL")


def _capabilities() -> Iterator[str]:
    for capability in _INIT_CAPABILITIES:
        yield from ("--cap-add", capability)


def _system() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    if Path("/usr/local").is_dir():
        # An operator's own tools are not a program's business.
        yield from _empty(Path("/usr/local"))
    for path in (Path("/", name) for name in _SYSTEM_FOLDERS):
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))


def _stage_folders(stage: Stage) -> Iterator[str]:
    yield from ("--ro-bind", str(stage.path / "etc"), "/etc")
    for name in HOST_ETC:
        if Path("/etc", name).exists():
            yield from ("--ro-bind", f"/etc/{name}", f"/etc/{name}")
    yield from ("--ro-bind", str(stage.path / "greenroom"), "/greenroom")


def _mounts(stage: Stage, mounts: Iterable[Mount]) -> Iterator[str]:
    for mount in mounts:
        yield from ("--ro-bind", str(stage.reachable(mount.source)), str(mount.target))


def _is_visible(folder: Path, mounts: Iterable[Mount]) -> bool:
    is_mounted = any(folder.is_relative_to(mount.target) for mount in mounts)
    return is_mounted or (folder.is_relative_to("/usr") and not folder.is_relative_to("/usr/local"))


def _hidden(folders: Iterable[Path]) -> Iterator[str]:
    for folder in folders:
        yield from _empty(folder)


def _fresh_folders() -> Iterator[str]:
    yield from ("--proc", "/proc", "--dev", "/dev", "--dir", "/box", "--dir", "/tmp")  # noqa: S108
    yield from ("--remount-ro", "/dev", "--remount-ro", "/")


def _empty(folder: Path) -> tuple[str, ...]:
    return ("--tmpfs", str(folder), "--remount-ro", str(folder))
