"""What both versions of cgroups have in common: the folders of servers, and how knobs are used."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

from app.processes import start_time

NAME = "greenroom"
_PAGE = 4096  # bytes; these files are shorter
# s; the kernel lets go of a folder a moment after its last process ended
_REMOVE_PAUSES = (0.001, 0.002, 0.004, 0.008, *(0.01,) * 50)


def own_folder(parent: Path) -> Path:
    """Make a folder for this server; remove those of servers that have died."""
    for folder, owner in _server_folders(parent):
        if not _is_alive(owner):
            for leaf in [path for path in folder.iterdir() if path.is_dir()]:
                remove(leaf)
            remove(folder)
    own = parent / f"{NAME}-{os.getpid()}-{start_time(os.getpid())}-{uuid4().hex[:8]}"
    own.mkdir()
    return own


def _server_folders(parent: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    for folder in parent.glob(f"{NAME}-*-*-*"):
        numbers = folder.name.split("-")[1:3]
        if all(number.isdigit() for number in numbers):
            yield folder, (int(numbers[0]), int(numbers[1]))


def _is_alive(owner: tuple[int, int]) -> bool:
    pid, started = owner
    try:
        return start_time(pid) == started
    except OSError:
        return False


@contextlib.contextmanager
def undone_on_error(undo: Callable[[], None]) -> Iterator[None]:
    """Leave nothing half made where the kernel refuses us."""
    try:
        yield
    except OSError:
        undo()
        raise


def field(path: Path, name: str) -> int:
    """Read one number of a file with a name and a number on each line; 0 if it is not there."""
    try:
        lines = read(path).splitlines()
    except FileNotFoundError:
        return 0
    for line in lines:
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def read(path: Path) -> str:
    """Read a file of a few lines that the kernel has put there."""
    # Half of what a text file costs, and these are read for every run.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _PAGE).decode()
    finally:
        os.close(descriptor)


def write(path: Path, value: int | str) -> None:
    """Write to a file that the kernel has put there."""
    # Opened without O_CREAT: a missing knob must not look like a written one.
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, str(value).encode())
    except OSError as error:
        # So that it is said which of the many files refused.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a folder of the kernel's; it may block for a moment."""
    for pause in _REMOVE_PAUSES:
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(pause)
        else:
            return
