"""Headless Chromium from Debian's packages for browser tests, driven by Playwright's async API.

Playwright's own browsers are not used: they come from a download that is no package registry.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import TemporaryDirectory, to_thread
from playwright.async_api import Browser, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

VERSION_TIMEOUT = 30  # s; 0.1 when warm, seconds from a cold disk
INSTALL_TIMEOUT = 600  # s for each step; about 100 MB to fetch, at 200 kB/s
# The group of apt-get is ended by `timeout`: killing apt-get alone leaves its children, and us
# waiting for their output.
BOUNDED = ("timeout", "--kill-after=10", str(INSTALL_TIMEOUT))
UPDATE = ("apt-get", "update")
INSTALL = ("apt-get", "install", "-y", "--no-install-recommends", "chromium")
LOCK_OPTION = ("-o", "DPkg::Lock::Timeout=120")  # s; another apt may be at work


class ChromiumMissing(RuntimeError):
    """There is no Chromium on this machine; the message says why and what to do."""


def find_chromium() -> Path | None:
    """Return the first Chromium on PATH that runs: Ubuntu has a stub that only names its snap."""
    found = (shutil.which(name) for name in NAMES)
    return next((Path(path) for path in found if path and _runs(path)), None)


def ensure_chromium() -> Path:
    """Return Chromium, installing it first where we may, or raise `ChromiumMissing`."""
    chromium = find_chromium()
    if chromium is None:
        _install()
        chromium = find_chromium()
    if chromium is None:
        message = "apt-get installed `chromium`, but it does not answer `--version`"
        raise ChromiumMissing(message)
    return chromium


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Run a Chromium whose profile and caches leave with it, or raise `ChromiumMissing`."""
    chromium = await to_thread.run_sync(ensure_chromium)
    async with TemporaryDirectory(prefix="greenroom-chromium-") as home, async_playwright() as play:
        chrome = await play.chromium.launch(
            executable_path=chromium,
            args=ARGUMENTS,
            env={**os.environ, "HOME": home, "TMPDIR": home},
        )
        try:
            yield chrome
        finally:
            await chrome.close()


def _runs(path: str) -> bool:
    try:
        subprocess.run(
            [path, "--version"], check=True, capture_output=True, timeout=VERSION_TIMEOUT
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _install() -> None:
    if shutil.which("apt-get") is None:
        message = f"none of {', '.join(NAMES)} runs here; install one"
        raise ChromiumMissing(message)
    if os.geteuid() != 0:
        message = "no Chromium here; run `apt-get install chromium` as root"
        raise ChromiumMissing(message)
    # A failed update may be another repository's: whether it matters, the install shows.
    update, install = _apt(UPDATE), _apt(INSTALL)
    if install.returncode:
        ends = (output.stdout[-1000:] for output in (update, install))
        message = "apt-get could not install `chromium`:\n" + "\n".join(ends)
        raise ChromiumMissing(message)


def _apt(step: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    sys.stderr.write(f"No Chromium here: running `{' '.join(step)}` ...\n")
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
