"""A client with types that are generated from the schema compiles, and runs."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from .conftest import HERE, PATH, Told

PATIENCE = 120  # s
OPTIONS = "--strict --target es2022 --module nodenext --skipLibCheck --outDir ."


@pytest.fixture(scope="module")
def compiled(clients: Path) -> Path:
    """Return the folder with the compiled client."""
    _do(clients, "graphql-codegen", "--config", "codegen.js")
    _do(clients, "tsc", *OPTIONS.split(), "--types", "node", "typed.ts")
    return clients


def _do(folder: Path, tool: str, *arguments: str) -> None:
    done = subprocess.run(
        [folder / "node_modules" / ".bin" / tool, *arguments],
        cwd=folder,
        env=os.environ | PATH,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


async def test_a_typed_client_compiles_and_runs(compiled: Path, told: Told) -> None:
    result = await told("typed.js")
    assert result["status"] == "SUCCEEDED"
    assert result["peak"] > 0
    assert result["text"] == "42\n"
    assert result["verdicts"] == ["PASSED", "FAILED"]
    assert sorted(result["told"]) == ["hidden", "same"]
    assert result["limit"] == ["wallTimeMs", 10**8]


async def test_the_committed_possible_types_are_the_generated_ones(
    compiled: Path, told: Told
) -> None:
    generated = (await told("typed.js"))["possible"]["possibleTypes"]
    committed = json.loads((HERE.parents[1] / "possibleTypes.json").read_text())
    assert {name: sorted(types) for name, types in generated.items()} == committed
