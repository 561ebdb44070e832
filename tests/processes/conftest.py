"""A folder with a migrated database for each server."""

import shutil
from pathlib import Path

import pytest

from .server import greenroom


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("migrated")
    ended = greenroom("migrate", folder=folder)
    assert ended.returncode == 0, ended.stderr
    return folder / "greenroom.db"


@pytest.fixture
def folder(tmp_path: Path, migrated: Path) -> Path:
    """Return a folder to start a server in."""
    shutil.copy(migrated, tmp_path)
    return tmp_path
