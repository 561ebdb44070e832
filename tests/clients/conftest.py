"""What npm has locked, installed once for all processes of a test run; and a server to talk to."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import anyio
import pytest

from scripts.install import npm_environment
from tests.api.client import Api, Json
from tests.hosted import hosted
from tests.processes.server import serving

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PATH = {"PATH": f"{BIN}:{os.environ.get('PATH', '')}"}
PATIENCE = 60  # s
INSTALL_PATIENCE = 300  # s; usually 15


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install what is locked, in a folder of this run, beside the scripts."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / "clients", shared / "clients" / "installed"
    with (shared / "clients.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            done.parent.mkdir(exist_ok=True)
            done.write_text(_install(folder))
    if problem := done.read_text():
        pytest.skip(f"npm cannot install the clients: {problem}")
    return folder


def _install(folder: Path) -> str:
    """Install, and return what is wrong if something is."""
    for path in HERE.iterdir():
        if path.suffix in {".js", ".ts", ".json", ".graphql"} or path.name == ".npmrc":
            shutil.copy(path, folder)
    for name in ("schema.graphql", "possibleTypes.json"):
        shutil.copy(HERE.parents[1] / name, folder)
    installed = subprocess.run(
        [BIN / "npm", "ci", "--no-progress"],
        cwd=folder,
        env=npm_environment(),
        capture_output=True,
        text=True,
        timeout=INSTALL_PATIENCE,
        check=False,
    )
    return installed.stderr.strip()[-500:] if installed.returncode else ""


@pytest.fixture(scope="package")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("served")
    async with hosted(serving(folder, "--migrate", default_wall_time=30)) as (_, api):
        yield api


Told: TypeAlias = Callable[..., Awaitable[Json]]


@pytest.fixture
def told(clients: Path, api: Api) -> Told:
    """Give what runs a script against the server, and returns what it was told."""

    async def run(script: str, *arguments: str) -> Json:
        address = f"127.0.0.1:{api.http.base_url.port}"
        with anyio.fail_after(PATIENCE):
            done = await anyio.run_process(
                [str(BIN / "node"), script, address, *arguments], cwd=clients, check=False
            )
        assert done.returncode == 0, done.stderr.decode()
        result: Json = json.loads(done.stdout)
        return result

    return run
