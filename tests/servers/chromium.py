"""Headless Chromium from Debian's packages for browser tests, driven by Playwright's async API.

Playwright's own browsers are not used: they come from a download that is no package registry.
"""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import TemporaryDirectory, to_thread
from playwright.async_api import Browser, async_playwright

from .debian import install

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
    if (said := install(["chromium"])) is not None:
        message = f"apt-get could not install `chromium`:\n{said}"
        raise ChromiumMissing(message)
