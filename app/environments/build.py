"""Builds an environment for the cells of this host: `greenroom env build`.

It grows in a hidden folder that gets its name when it is whole, so one that was killed on the way
is seen by nobody, and the next build removes what it left. Builds for one folder wait for each
other: the lock is also held by the installer, in case that it outlives us.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.domain.environment import Environment
from app.domain.language import Toolchain
from app.environments._python import BYTE_CODE, NO_CODE_OF_OTHERS

Tell = Callable[[str], None]

# The server's own environment may hold secrets; these are what finds the registry, and trusts it.
_PASSED_ON = re.compile(
    "PATH|HOME|LANG|PIP_.*|(https?|all|no)_proxy|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|XDG_.*_HOME",
    re.IGNORECASE,
)
_PIP = ("-Im", "pip")
_QUIETLY = ("--no-input", "--disable-pip-version-check", "--no-compile", "--progress-bar", "off")
_LAST_LINES = 10
_REGISTRY = "check the network, or point PIP_INDEX_URL at a registry that can be reached"
_REMEDIES = {
    "no space left on device": "the disk is full: free half a gigabyte",
    "permission denied": "this user may not write there: see GREENROOM_ENVIRONMENTS",
    "read-only file system": "nothing can be written there: see GREENROOM_ENVIRONMENTS",
    "no module named pip": f"this Python has no pip: `{sys.executable} -m ensurepip` brings it",
    "do not match the hashes": "the registry gave another file than the lock names: do not use it",
    "certificate verify failed": "the registry's certificate is not trusted: see PIP_CERT",
    "from versions: none": f"the registry is out of reach or lacks a package: {_REGISTRY}",
    "no matching distribution": "the registry has no wheel for this Python and this machine",
    "max retries exceeded": f"the registry is out of reach: {_REGISTRY}",
    "read timed out": f"the registry is too slow: {_REGISTRY}",
}


class BuildError(Exception):
    """An environment could not be built; the message says what to do."""


def build(environment: Environment, toolchain: Toolchain, folder: Path, tell: Tell) -> bool:
    """Build an environment for a Python of this host; False if it was there.

    Args:
        environment: what to build.
        toolchain: that Python; a cell sees it where the host has it.
        folder: where environments are kept.
        tell: hears what is going on.

    Raises:
        BuildError: it could not be done, and nothing of it is left.
    """
    if toolchain.equipped(environment, folder):
        return False
    target = folder.absolute() / environment.name_for(toolchain.abi)
    try:
        with _turn(folder) as turn:
            if target.is_dir():  # somebody was quicker
                return False
            with _growing(target.with_name(f".{target.name}")) as grown:
                _fill(grown, environment, toolchain.executable, turn, tell)
                grown.rename(target)
    except OSError as error:
        raise BuildError(_remedy(str(error)) or str(error)) from error
    return True


@contextmanager
def _turn(folder: Path) -> Iterator[int]:
    """Wait until nobody else builds here, and keep it so while the descriptor is open anywhere."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


@contextmanager
def _growing(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # nothing is there any more if it went well


def _fill(folder: Path, environment: Environment, python: Path, turn: int, tell: Tell) -> None:
    scratch = folder / ".scratch"
    scratch.mkdir()
    lock = scratch / "lock.txt"
    lock.write_text(environment.lock)
    wanted = ("--require-hashes", "--requirement", str(lock), "--target", str(folder))
    pip = (*_PIP, "--python", str(python), "install", *_QUIETLY, *NO_CODE_OF_OTHERS)
    _run((sys.executable, *pip, *wanted), scratch, turn, tell)
    for name, text in environment.files.items():
        (folder / name).write_text(text)
    shutil.rmtree(scratch)
    tell("Compiling ...")
    # In the byte code stands where a cell sees it, not where it lies on this host.
    places = ("-s", str(folder), "-p", str(environment.target), str(folder))
    _run((str(python), "-I", *BYTE_CODE, *places), folder, turn, tell)
    _open_to_all(folder)


def _run(command: tuple[str, ...], scratch: Path, turn: int, tell: Tell) -> None:
    """Run a step, and tell each line of it.

    Raises:
        BuildError: it failed.
    """
    passed_on = {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}
    said: deque[str] = deque(maxlen=_LAST_LINES)
    with subprocess.Popen(
        command,
        env={**passed_on, "TMPDIR": str(scratch), "PYTHONUNBUFFERED": "1"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=(turn,),
        umask=0o022,
        process_group=0,
    ) as step:
        assert step.stdout is not None  # noqa: S101 - it is a pipe
        try:
            for line in step.stdout:
                said.append(line.strip())
                tell(said[-1])
        except BaseException:
            os.killpg(step.pid, signal.SIGKILL)
            step.wait()
            raise
    if step.returncode != 0:
        text = "\n".join(said)
        raise BuildError(_remedy(text) or f"`{' '.join(command[:4])} ...` failed:\n{text}")


def _remedy(said: str) -> str | None:
    return next((text for sign, text in _REMEDIES.items() if sign in said.lower()), None)


def _open_to_all(folder: Path) -> None:
    """Let a cell's user, who is nobody on this host, read what is here."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
