"""Apollo Client, urql, graphql-ws and graphql-sse, as npm has them, against the served API."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tests.api.client import Api, Json
from tests.processes.server import greenroom, serving

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PATIENCE = 60  # s
INSTALL_PATIENCE = 120  # s
EVENTS = {"sequences": [1, 2, 3, 4, 5, 6, 7, 8], "text": "0\n1\n2\n3\n4\n", "last": "SUCCEEDED"}
UNKNOWN = "Cannot query field 'nothing' on type 'Query'."


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install what is locked, in a folder of this run, beside the scripts."""
    folder = tmp_path_factory.mktemp("clients")
    for path in (*HERE.glob("*.js"), *HERE.glob("package*.json"), HERE / ".npmrc"):
        shutil.copy(path, folder)
    installed = subprocess.run(
        [BIN / "npm", "ci", "--no-progress"],
        cwd=folder,
        env=os.environ | {"PATH": f"{BIN}:{os.environ.get('PATH', '')}"},
        capture_output=True,
        text=True,
        timeout=INSTALL_PATIENCE,
        check=False,
    )
    if installed.returncode != 0:
        pytest.skip(f"npm cannot install the clients: {installed.stderr.strip()[-500:]}")
    return folder


@pytest.fixture(scope="module")
async def api(clients: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    folder = tmp_path_factory.mktemp("served")
    assert greenroom("migrate", folder=folder).returncode == 0
    async with serving(folder, default_wall_time=30) as (_, api):
        yield api


async def told(clients: Path, script: str, api: Api, *arguments: str) -> Json:
    """Run a script and return what it was told."""
    address = f"127.0.0.1:{api.http.base_url.port}"
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process(
            [str(BIN / "node"), script, address, *arguments], cwd=clients, check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    result: Json = json.loads(done.stdout)
    return result


async def test_graphql_ws(clients: Path, api: Api) -> None:
    result = await told(clients, "graphql-ws.js", api)
    assert result["mutation"]["data"]["executeCode"]["execution"]["stdout"] == "hello\n"
    assert result["events"] == EVENTS
    assert result["wrong"] == UNKNOWN
    assert result["early"] == [1, 2]
    assert result["afterwards"] == [{"data": {"__typename": "Query"}}]


async def test_graphql_sse(clients: Path, api: Api) -> None:
    result = await told(clients, "graphql-sse.js", api)
    assert result["mutation"]["data"]["executeCode"]["execution"]["stdout"] == "hello\n"
    assert result["events"] == EVENTS
    assert result["wrong"] == UNKNOWN


async def test_urql(clients: Path, api: Api) -> None:
    result = await told(clients, "urql.js", api)
    assert result["mutation"]["data"]["executeCode"]["execution"]["stdout"] == "hello\n"
    assert [edge["node"]["label"] for edge in result["page"]["executions"]["edges"]] == ["urql"]
    assert result["wrong"] == UNKNOWN
    assert result["events"] == result["socketEvents"] == EVENTS
    assert result["methods"] == ["POST", "GET", "GET", "POST", "POST"]


async def test_apollo(clients: Path, api: Api) -> None:
    result = await told(clients, "apollo.js", api)
    assert result["mutation"]["data"]["executeCode"]["execution"]["stdout"] == "hello\n"
    assert result["labels"] == ["apollo"] * 5
    assert result["unique"] == 5
    assert result["wrong"] == UNKNOWN
    assert result["events"] == result["multipartEvents"] == EVENTS


async def test_a_client_that_is_cut_off_a_hundred_times_misses_nothing(
    clients: Path, api: Api
) -> None:
    source = (
        "import time\nfor number in range(150):\n"
        "    print(number, flush=True)\n    time.sleep(0.04)"
    )
    started = await api.run(source, waitMs=0)
    result = await told(clients, "reconnect.js", api, started["id"])
    assert result["connections"] > 100
    assert result["sequences"] == [*range(1, len(result["sequences"]) + 1)]
    assert result["text"] == (await api.end_of(started["id"]))["stdout"]
    assert result["text"] == "".join(f"{number}\n" for number in range(150))
