"""The walls stand without root and without cgroups too: what is essential, once more."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract import ordinary

REPOSITORY = Path(__file__).parents[2]
ESSENTIAL = (
    "tests/contract/test_limits.py",
    "tests/contract/test_ends.py",
    "tests/contract/test_isolation.py",
    "tests/hostile/test_attacks.py",
    "tests/wire/test_adapter.py::test_a_program_runs_and_its_bytes_are_exact",
)
# Of what lasts until a clock runs out only the memory bombs: who weighs them differs.
ESSENTIAL_NAMES = "not exhaustion or memory"
UID = 2_100_000_000  # nobody's
PATIENCE = 300  # s; it takes 50 on two idle cores


@pytest.fixture
def home() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="greenroom-home-")
    os.chown(folder, UID, UID)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.timeout(PATIENCE + 20)
@pytest.mark.skipif(os.geteuid() != 0, reason="these tests run as an ordinary user already")
def test_what_is_essential_holds_for_an_ordinary_user(home: str) -> None:
    shown = (sys.base_prefix, sys.prefix, str(REPOSITORY))
    as_somebody = (sys.executable, ordinary.__file__, str(UID), home, *shown, "--")
    again = (sys.executable, "-m", "pytest", "-q", "--tb=native", *ESSENTIAL, "-k", ESSENTIAL_NAMES)
    asked = subprocess.run(
        [*as_somebody, *again],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if asked.returncode == ordinary.CANNOT:
        pytest.skip(asked.stdout.strip())
    assert asked.returncode == 0, asked.stdout[-8000:] + asked.stderr[-2000:]
