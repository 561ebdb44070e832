"""What the supervisor of a box does where the kernel lets it down for a moment."""

import errno
import os

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
