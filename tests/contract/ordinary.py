"""Runs a command as an ordinary user of this host, from root.

The interpreter, the environment and the repository may lie where only root can look, such as
below /root. So a child of its own mount namespace covers each folder that is closed to others
with an empty one, shows in it just what is needed, at its own path, and only then becomes
somebody else. Nothing is copied, and nothing of it is seen outside.

    python ordinary.py UID HOME PATH... -- COMMAND...

It exits with 77 and the reason where a host does not let it.
"""

import ctypes
import os
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_OTHERS_MAY_ENTER = 0o001


CANNOT = 77  # what automake takes for "skipped"


def main() -> None:
    separator = sys.argv.index("--")
    uid, home, *paths = sys.argv[1:separator]
    command = sys.argv[separator + 1 :]
    try:
        show([Path(path) for path in paths])
        become(int(uid))
        require_readable([Path(path) for path in paths])
        require_namespaces()
    except OSError as error:
        print(f"no ordinary user can run the tests here: {error}")  # noqa: T201
        sys.exit(CANNOT)
    os.execve(command[0], command, environment(home))


def show(paths: Sequence[Path]) -> None:
    """Let others see the paths, in a mount namespace of our own."""
    libc = ctypes.CDLL(None, use_errno=True)
    _call("unshare", libc.unshare(_CLONE_NEWNS))
    _mount(libc, None, Path("/"), None, _MS_REC | _MS_PRIVATE)
    closed: dict[Path, list[Path]] = {}
    for path in paths:
        if (folder := _first_closed(path)) is not None:
            closed.setdefault(folder, []).append(path)
    holder = Path(tempfile.mkdtemp(prefix="greenroom-holder-"))
    _mount(libc, None, holder, b"tmpfs", 0)
    for folder, inside in closed.items():
        held = [(path, holder / str(number)) for number, path in enumerate(inside)]
        for path, place in held:
            place.mkdir()
            _mount(libc, path, place, None, _MS_BIND | _MS_REC)
        _mount(libc, None, folder, b"tmpfs", 0, b"mode=755")
        for path, place in held:
            path.mkdir(parents=True)
            _mount(libc, place, path, None, _MS_BIND | _MS_REC)
        for _, place in held:
            _call("umount", libc.umount2(os.fsencode(place), 2))
            place.rmdir()
    _call("umount", libc.umount2(os.fsencode(holder), 2))
    holder.rmdir()


def become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def require_readable(paths: Sequence[Path]) -> None:
    """Look at some file of each, for a careful umask keeps what is ours from others."""
    for path in paths:
        for file in islice((each for each in path.rglob("*.py") if each.is_file()), 20):
            file.open("rb").close()


def require_namespaces() -> None:
    """Make one, in a child that is done with that."""
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(ctypes.get_errno() if libc.unshare(_CLONE_NEWUSER) else 0)
    _, status = os.waitpid(child, 0)
    if (error := os.waitstatus_to_exitcode(status)) != 0:
        raise OSError(error, "no user namespaces for ordinary users")


def environment(home: str) -> dict[str, str]:
    """Return what a user has; what is written goes to a folder of the user's own."""
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": home,
        "HYPOTHESIS_STORAGE_DIRECTORY": f"{home}/hypothesis",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _first_closed(path: Path) -> Path | None:
    """Find the first folder on the way that others may not enter."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & _OTHERS_MAY_ENTER:
            return folder
    return None


def _mount(  # noqa: PLR0913 - as in C
    libc: ctypes.CDLL,
    source: Path | None,
    target: Path,
    kind: bytes | None,
    flags: int,
    options: bytes | None = None,
) -> None:
    place = None if source is None else os.fsencode(source)
    call = libc.mount(place, os.fsencode(target), kind, ctypes.c_ulong(flags), options)
    _call(f"mount {target}", call)


def _call(step: str, result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), step)


if __name__ == "__main__":
    main()
