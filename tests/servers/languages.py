"""Languages that this machine lacks: Debian's packages, where we may, and PyPI's."""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from app.domain.language import Language, NotFound
from scripts.install import install_clang

from .debian import install


def ensure_languages(languages: Iterable[Language]) -> None:
    """Install what is missing; where that cannot be, the tests of a language skip and say why."""
    with Path(sys.prefix, ".languages.lock").open("w") as lock:
        # Processes of one test run come here at the same time; the others wait for the first.
        fcntl.flock(lock, fcntl.LOCK_EX)
        _ensure(languages)


def _ensure(languages: Iterable[Language]) -> None:
    install_clang(again=False)
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
