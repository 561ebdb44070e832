"""The interview platform that the documentation shows works as it stands there."""

import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.abc
import pytest
from anyio.streams.text import TextReceiveStream

from tests.api.callers import SECRET
from tests.api.client import Api
from tests.processes.server import greenroom, serving

from .conftest import BIN, HERE, PATIENCE

PAGE = (HERE.parents[1] / "docs" / "access.md").read_text()
PROGRAMS = {
    re.findall(r"^(?:#|//) ([\w ]+)$", text, re.MULTILINE)[0]: text
    for text in re.findall(r"^```(?:js|python)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
}


@pytest.fixture
async def key(tmp_path: Path) -> str:
    assert greenroom("migrate", folder=tmp_path).returncode == 0
    made = greenroom("keys", "create", "--name", "back end", "--owner", "acme", folder=tmp_path)
    return made.stdout.strip()


@pytest.fixture
async def api(key: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serving(tmp_path, jwt_secret=SECRET) as (_, api):
        yield api


def written(clients: Path, api: Api, name: str) -> list[str]:
    """Write a program for this server, and return how to start it."""
    is_python = name == "back end"
    path = clients / f"{name.replace(' ', '-')}.{'py' if is_python else 'mjs'}"
    path.write_text(PROGRAMS[name].replace("127.0.0.1:8000", f"127.0.0.1:{api.http.base_url.port}"))
    return [sys.executable if is_python else str(BIN / "node"), str(path)]


async def run(clients: Path, api: Api, name: str, **variables: str) -> str:
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process(
            written(clients, api, name), cwd=clients, env=os.environ | variables, check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


async def until_says(lines: TextReceiveStream, word: str) -> str:
    heard = ""
    with anyio.fail_after(PATIENCE):
        while word not in heard:
            heard += await lines.receive()
    return heard


async def test_an_interview_from_the_invitation_to_the_answer(
    clients: Path, api: Api, key: str
) -> None:
    assert PROGRAMS.keys() == {"back end", "interviewer", "candidate"}
    tokens = json.loads(await run(clients, api, "back end", GREENROOM_KEY=key))
    async with await anyio.open_process(
        written(clients, api, "interviewer"),
        cwd=clients,
        env=os.environ | {"TOKEN": tokens["interviewer"]},
        stderr=None,
    ) as interviewer:
        assert interviewer.stdout is not None
        lines = TextReceiveStream(interviewer.stdout)
        await until_says(lines, "watching")
        ran = json.loads(await run(clients, api, "candidate", TOKEN=tokens["candidate"]))
        assert ran["execution"] == {
            "status": "SUCCEEDED",
            "stdout": "42\n",
            "sessionId": "interview-7",
        }
        seen = await until_says(lines, "42")
        assert "SUCCEEDED" in seen
        with anyio.fail_after(PATIENCE):
            assert await interviewer.wait() == 0
