"""The clients that the README shows do what it says, as they stand there."""

import re
import sys
from pathlib import Path

import anyio
import pytest

from tests.api.client import Api

from .conftest import BIN, HERE, PATIENCE

README = (HERE.parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```(js|python)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
NAMES = [re.findall(r"\w+", text)[0] for _, text in BLOCKS]


def test_four_clients_are_shown() -> None:
    assert NAMES == ["fetch", "Apollo", "urql", "Python"]


@pytest.mark.parametrize(("kind", "text"), BLOCKS, ids=NAMES)
async def test_a_client_of_the_readme_prints_42(
    clients: Path, api: Api, kind: str, text: str
) -> None:
    address = f"127.0.0.1:{api.http.base_url.port}"
    assert "127.0.0.1:8000" in text
    program = clients / f"readme.{'mjs' if kind == 'js' else 'py'}"
    program.write_text(text.replace("127.0.0.1:8000", address))
    command = str(BIN / "node") if kind == "js" else sys.executable
    with anyio.fail_after(PATIENCE):
        done = await anyio.run_process([command, str(program)], cwd=clients, check=False)
    assert (done.stdout.decode().strip(), done.returncode) == ("42", 0), done.stderr.decode()
