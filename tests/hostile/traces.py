"""What an attack could leave on this host, written down before and after it."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.executors.local.cgroup_v1 import CgroupsV1
from app.executors.local.cgroup_v2 import CgroupsV2
from app.executors.local.executor import LocalExecutor
from tests.contract import waiting
from tests.contract.subjects import Subject

_KNOBS = ("core_pattern", "hostname", "modprobe", "randomize_va_space", "sysrq")
_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """Everything that has to be the same before and after.

    Descriptors are those of the whole process. So no other executor may be open beside: boxes of a
    pool grow old and are replaced, whatever is tested. Fixtures that open one end with their folder
    or file.
    """

    processes: tuple[str, ...]
    cgroups: frozenset[str]
    mounts: frozenset[str]
    stage: frozenset[str]
    files: frozenset[str]
    segments: frozenset[str]
    descriptors: int
    knobs: tuple[str, ...]


async def traces(subject: Subject) -> Traces:
    """Look at the host."""
    executor = subject.executor
    assert isinstance(executor, LocalExecutor)
    stage = executor._stage
    uid = os.geteuid() if stage.uid is None else stage.uid
    return Traces(
        processes=tuple(await subject.survivors()),
        cgroups=frozenset(_leaves(executor)) - waiting.leaves(executor),
        mounts=frozenset(_mounts_of(str(uid), str(stage.path))),
        stage=frozenset(map(str, stage.path.rglob("*"))),
        files=frozenset(_files_of(uid)),
        segments=frozenset(_segments_of(uid)),
        descriptors=_descriptors() - waiting.DESCRIPTORS * len(waiting.slots(executor)),
        knobs=tuple(_knobs()),
    )


def _leaves(executor: LocalExecutor) -> Iterator[str]:
    match executor._cgroups:
        case CgroupsV1() as v1:
            folders = list(v1._folders.values())
        case CgroupsV2() as v2:
            folders = [v2._folder]
        case _:
            folders = []
    for folder in folders:
        yield from (str(path) for path in folder.iterdir() if path.is_dir())


def _files_of(uid: int) -> Iterator[str]:
    """Name files that lie about; an ordinary user's own are told by our tests' name."""
    for folder in {*_FOLDERS, tempfile.gettempdir()}:
        for path in Path(folder).iterdir():
            try:
                is_theirs = path.lstat().st_uid == uid
            except OSError:
                continue  # somebody else's, and gone already
            if is_theirs:
                yield str(path)


def _mounts_of(uid: str, stage: str) -> Iterator[str]:
    """Name mounts that came out of a cell; others come and go by themselves."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if any(word in line for word in (f"uid={uid}", stage, "tmpfs scratch", "newroot")):
            yield line


def _segments_of(uid: int) -> Iterator[str]:
    for kind in ("shm", "sem", "msg"):
        for line in Path("/proc/sysvipc", kind).read_text().splitlines()[1:]:
            if str(uid) in line.split():
                yield f"{kind}: {line}"


def _knobs() -> Iterator[str]:
    for name in _KNOBS:
        path = Path("/proc/sys/kernel", name)
        yield f"{name}: {path.read_text() if path.exists() else ''}"


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
