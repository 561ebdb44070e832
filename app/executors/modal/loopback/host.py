"""What all boxes of one server share: a folder, the thread that starts them, ids, cgroups."""

import contextlib
import pwd
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from app.domain.language import Mount, Toolchain
from app.executors.local.cgroups import Cgroups, find_cgroups
from app.executors.local.seccomp import seccomp_filter
from app.executors.local.stage import Stage

PROGRAM_UID = 1000
NOBODY_UID = 65534
_PASSWD = (
    "root:x:0:0:root:/root:/bin/sh\n"
    f"sandbox:x:{PROGRAM_UID}:{PROGRAM_UID}:sandbox:/box:/bin/sh\n"
    f"nobody:x:{NOBODY_UID}:{NOBODY_UID}::/:/bin/false\n"
)
_GROUP = f"root:x:0:\nsandbox:x:{PROGRAM_UID}:\nnogroup:x:{NOBODY_UID}:\n"
# What the root of a box needs to bound its program's files and to name its host. A program that
# is no root is refused by the kernel, and cannot become one: it may make no user namespace.
_MOUNTING = frozenset({"mount", "umount2", "sethostname"})
_INIT = Path(__file__).with_name("box_init.py")


class Host:
    """The parts of this machine that boxes are made of; used within `with`.

    Args:
        tools: by the name under which a box finds it on its PATH; `python3` must be one.
        may_mount: whether the root of a box may mount.
    """

    def __init__(self, tools: Mapping[str, Toolchain], *, may_mount: bool) -> None:
        self.tools = dict(tools)
        self.interpreter = self.tools["python3"]
        self.mounts = _distinct_mounts(self.tools)
        self.may_mount = may_mount
        self.cgroups: Cgroups | None = None
        self.id_map = ""
        """The lines of /proc/PID/uid_map; none where only one id can be mapped."""
        self._stage: Stage | None = None
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            self._stage = ends.enter_context(Stage(self.mounts))
            self._lay_out()
            if self._stage.uid is not None:
                self.id_map = _id_map(self._stage.uid)
            with contextlib.suppress(OSError):
                self.cgroups = find_cgroups()
                ends.callback(self.cgroups.close)
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every box that is left, and remove the folder and the cgroups."""
        self._ends.close()

    @property
    def stage(self) -> Stage:
        """The folder and the thread that boxes come from."""
        if self._stage is None:
            message = "the loopback server has not started"
            raise RuntimeError(message)
        return self._stage

    @property
    def folder(self) -> Path:
        """Where process 1, the filter, and the files of /etc that differ from a cell's are."""
        return self.stage.path / "box"

    @property
    def has_two_uids(self) -> bool:
        """Whether a box has other users than its root; only the host's root can map them."""
        return bool(self.id_map)

    @property
    def program_uid(self) -> int | None:
        """The host's id under which the programs of boxes run, where they have one of their own."""
        return int(self.id_map.splitlines()[1].split()[1]) if self.id_map else None

    def _lay_out(self) -> None:
        self.folder.mkdir()
        self.folder.chmod(0o755)
        (self.folder / "passwd").write_text(_PASSWD)
        (self.folder / "group").write_text(_GROUP)
        shutil.copy(_INIT, self.folder / "init.py")
        also = _MOUNTING if self.may_mount else frozenset()
        (self.folder / "filter").write_bytes(seccomp_filter(also=also))
        for path in self.folder.iterdir():
            path.chmod(0o644)


def _distinct_mounts(tools: Mapping[str, Toolchain]) -> tuple[Mount, ...]:
    return tuple(dict.fromkeys(mount for tool in tools.values() for mount in tool.mounts))


def _id_map(root: int) -> str:
    """Map the ids of a box to ids that nobody on the host has."""
    inside = (0, PROGRAM_UID, NOBODY_UID)
    unused = (root, *_unused_uids(below=root))
    return "".join(f"{ours} {theirs} 1\n" for ours, theirs in zip(inside, unused, strict=True))


def _unused_uids(below: int) -> tuple[int, int]:
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    unused = (uid for uid in range(below - 1, 0, -1) if uid not in taken)
    return next(unused), next(unused)
