"""A sandbox to attack, and what is worth stealing."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.contract.subjects import Subject, local
from tests.hosted import hosted
from tests.hostile.attack import CANARY, SECRET


@pytest.fixture(scope="session")
def treasure() -> Iterator[None]:
    """Put the secret where a server has its own: in its environment and in a file."""
    os.environ["SECRET_TOKEN"] = SECRET
    canary = Path(CANARY)
    is_ours = not canary.exists()
    if is_ours:
        canary.write_text(f"{SECRET}\n")
        canary.chmod(0o644)
    yield
    del os.environ["SECRET_TOKEN"]
    if is_ours:
        canary.unlink(missing_ok=True)


@pytest.fixture(scope="package")
async def subject(treasure: None) -> AsyncIterator[Subject]:
    async with hosted(local()) as subject:
        yield subject
