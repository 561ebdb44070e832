"""Languages that this machine lacks: Debian's packages, where we may, and PyPI's."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.domain.language import Language, NotFound
from scripts.install import install_clang

from .debian import install

ROOT = Path(__file__).parents[2]


def ensure_languages(languages: Iterable[Language]) -> None:
    """Install what is missing; where that cannot be, the tests of a language skip and say why."""
    with _alone():
        install_clang(again=False)
        _ensure(languages)


def begin_with_clang() -> Callable[[], None]:
    """Install Clang in a process that stands back for all others; return what ends that early.

    It compiles its libraries for a minute, and nobody should have to wait for it.
    """
    beginning = subprocess.Popen(
        ["nice", "-n", "19", sys.executable, "-m", "tests.servers.languages"],
        cwd=ROOT,
        start_new_session=True,
    )

    def end() -> None:
        with suppress(ProcessLookupError):
            os.killpg(beginning.pid, signal.SIGTERM)
        beginning.wait()

    return end


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process of a test run come here at a time; the others wait for the first."""
    with Path(sys.prefix, ".languages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ensure(languages: Iterable[Language]) -> None:
    packages = sorted({name for each in languages if _is_missing(each) for name in each.image.apt})
    if not packages or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    if (said := install(packages)) is not None:
        sys.stderr.write(f"apt-get could not install {', '.join(packages)}:\n{said}\n")


def _is_missing(language: Language) -> bool:
    try:
        language.find(None)
    except NotFound:
        return True
    return False


if __name__ == "__main__":
    with _alone():
        install_clang(again=False)
