"""What the supervisor of a box does where the kernel lets it down for a moment."""

import errno
import os
from pathlib import Path

import pytest

from app.executors.modal import supervisor


@pytest.mark.parametrize("error", [OSError(errno.ENOMEM, "none", "/proc"), MemoryError()])
def test_a_moment_without_memory_for_proc_is_waited_out(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    listdir, failures = os.listdir, [error, error]

    def list_later(path: str) -> list[str]:
        if failures:
            raise failures.pop()
        return listdir(path)

    monkeypatch.setattr("os.listdir", list_later)
    assert str(os.getpid()) in supervisor.names_in_proc()
    assert not failures


def test_no_proc_at_all_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()

    def refuse(path: str) -> list[str]:
        asked.append(path)
        raise PermissionError

    monkeypatch.setattr("os.listdir", refuse)
    with pytest.raises(PermissionError):
        supervisor.names_in_proc()
    assert asked == ["/proc"]


@pytest.mark.skipif(not supervisor.HAS_UID, reason="only root can give a file to another user")
def test_what_is_another_users_is_not_brought(tmp_path: Path) -> None:
    for name, owner in (("mine", supervisor.UID), ("others", 0)):
        (tmp_path / name).write_bytes(b"xyz")
        folder_of = tmp_path / f"folder of {name}"
        folder_of.mkdir()
        (folder_of / "inside").write_bytes(b"")
        for path in (tmp_path / name, folder_of, folder_of / "inside"):
            os.chown(path, owner, owner)
    folder = os.open(tmp_path, os.O_RDONLY)
    assert list(supervisor.regular_files(folder, "out", 0)) == [
        ("out/folder of mine/inside", 0),
        ("out/folder of others", None),
        ("out/mine", 3),
        ("out/others", None),
    ]
