"""What a box sees: the command line of bubblewrap."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.executors.local.stage import HOST_ETC
from app.executors.modal.loopback.host import PROGRAM_UID, Host

PATH = "/usr/local/bin:/opt/bin:/usr/bin:/bin"
_NAMESPACES = ("user", "pid", "net", "ipc", "uts", "cgroup")
_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# What a container's root usually has, without what reaches devices or raw sockets.
_CAPABILITIES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
_WRITABLE = {
    "/tmp": "1777",  # noqa: S108 - the box's own
    "/var/tmp": "1777",  # noqa: S108
    "/dev/shm": "1777",  # noqa: S108
    "/root": "0755",
    "/home": "0755",
    "/box": "0755",
}
_LINKS, _OTHER_LINKS = Path("/usr/local/bin"), Path("/opt/bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptors:
    """What bubblewrap inherits."""

    control: int
    info: int
    block: int
    seccomp: int

    def __iter__(self) -> Iterator[int]:
        return iter((self.control, self.info, self.block, self.seccomp))


def command_line(host: Host, descriptors: Descriptors, *, disk: int) -> list[str]:
    """Return the arguments that start a box whose process 1 obeys `descriptors.control`."""
    python = str(host.interpreter.executable)
    return [
        str(host.stage.bubblewrap),
        *_isolation(host),
        *_descriptors(host, descriptors),
        *_system(),
        *_etc(host),
        *_writable(disk),
        *_tools(host),
        *("--ro-bind", str(host.folder / "init.py"), "/run/init.py"),
        *("--remount-ro", "/dev", "--remount-ro", "/"),
        *("--", python, "-I", "-S", "-B", "/run/init.py", str(descriptors.control)),
    ]


def _isolation(host: Host) -> Iterator[str]:
    # Where only one id can be mapped, it is the programs' own: a root that can take no other user
    # would be no root to a supervisor.
    uid = "0" if host.has_two_uids else str(PROGRAM_UID)
    yield from (f"--unshare-{name}" for name in _NAMESPACES)
    yield from ("--uid", uid, "--gid", uid, "--hostname", "modal")
    yield from ("--as-pid-1", "--die-with-parent", "--new-session", "--clearenv")
    yield from ("--cap-drop", "ALL")
    for capability in (*_CAPABILITIES, *(("SYS_ADMIN",) if host.may_mount else ())):
        yield from ("--cap-add", f"CAP_{capability}")


def _descriptors(host: Host, descriptors: Descriptors) -> Iterator[str]:
    yield from ("--info-fd", str(descriptors.info), "--seccomp", str(descriptors.seccomp))
    if host.has_two_uids:
        # It waits here until the server has written the id maps.
        yield from ("--userns-block-fd", str(descriptors.block))


def _system() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for path in (Path("/", name) for name in _SYSTEM_FOLDERS):
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    yield from ("--proc", "/proc", "--dev", "/dev")


def _etc(host: Host) -> Iterator[str]:
    yield from ("--ro-bind", str(host.stage.path / "etc"), "/etc")
    for name in ("passwd", "group"):
        yield from ("--ro-bind", str(host.folder / name), f"/etc/{name}")
    for name in HOST_ETC:
        if Path("/etc", name).exists():
            yield from ("--ro-bind", f"/etc/{name}", f"/etc/{name}")


def _writable(disk: int) -> Iterator[str]:
    yield from ("--dir", "/mnt")
    for path, mode in _WRITABLE.items():
        yield from ("--perms", mode, "--size", str(disk), "--tmpfs", path)


def _tools(host: Host) -> Iterator[str]:
    """Show the toolchains, and a link to each where an image has it."""
    links = _LINKS
    if any(mount.target == links.parent for mount in host.mounts):
        links = _OTHER_LINKS  # the whole of /usr/local is a toolchain, and read-only
    else:
        # An operator's own tools are not in an image.
        yield from ("--tmpfs", str(links.parent))
    yield from _folders(links, *(mount.target.parent for mount in host.mounts))
    for mount in host.mounts:
        yield from ("--ro-bind", str(host.stage.reachable(mount.source)), str(mount.target))
    for path in dict.fromkeys(path for tool in host.tools.values() for path in tool.hidden):
        if _is_visible(host, path):
            yield from ("--tmpfs", str(path), "--remount-ro", str(path))
    for name, tool in host.tools.items():
        if tool.executable != links / name:
            yield from ("--symlink", str(tool.executable), str(links / name))


def _folders(*paths: Path) -> Iterator[str]:
    """Make folders for all to enter: those that bubblewrap makes on the way are root's alone."""
    all_of_them = {folder for path in paths for folder in (path, *path.parents)}
    for folder in sorted(all_of_them - {Path("/"), Path("/usr")}):
        yield from ("--perms", "0755", "--dir", str(folder))


def _is_visible(host: Host, path: Path) -> bool:
    is_mounted = any(path.is_relative_to(mount.target) for mount in host.mounts)
    return is_mounted or (path.is_relative_to("/usr") and not path.is_relative_to("/usr/local"))
