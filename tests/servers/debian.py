"""Debian's packages, for tests that need what no Python package brings."""

import os
import subprocess
import sys
from collections.abc import Sequence

INSTALL_TIMEOUT = 600  # s for each step; about 100 MB to fetch, at 200 kB/s
# The group of apt-get is ended by `timeout`: killing apt-get alone leaves its children, and us
# waiting for their output.
BOUNDED = ("timeout", "--kill-after=10", str(INSTALL_TIMEOUT))
UPDATE = ("apt-get", "update")
INSTALL = ("apt-get", "install", "-y", "--no-install-recommends")
LOCK_OPTION = ("-o", "DPkg::Lock::Timeout=120")  # s; another apt may be at work


def install(packages: Sequence[str]) -> str | None:
    """Install packages as root; return what apt-get said where it failed."""
    # A failed update may be another repository's: whether it matters, the install shows.
    steps = [_apt(UPDATE), _apt((*INSTALL, *packages))]
    if steps[-1].returncode == 0:
        return None
    return "\n".join(step.stdout[-1000:] for step in steps)


def _apt(step: Sequence[str]) -> subprocess.CompletedProcess[str]:
    sys.stderr.write(f"Missing on this machine: running `{' '.join(step)}` ...\n")
    sys.stderr.flush()
    return subprocess.run(
        [*BOUNDED, *step, *LOCK_OPTION],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
