"""`greenroom purge` erases what is old, and a server erases it by itself when it is told to."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import pytest
from pydantic import SecretStr
from rich.console import Console

from app import purging
from app.domain.history import Filter
from app.settings import Settings
from app.storage.erasing import first_id
from app.storage.store import Store
from tests.database.samples import OWNER, ended

from .server import greenroom, serving, until


def accepted(*, days_ago: float) -> dict[str, Any]:
    moment = datetime.now(UTC) - timedelta(days=days_ago)
    return {"id": UUID(int=first_id(moment).int | 7 << 76 | 2 << 62), "created_at": moment}


@pytest.fixture
async def old(folder: Path) -> Path:
    """Return a folder whose history has two old executions and a young one."""
    store = Store(f"sqlite:///{folder}/greenroom.db")
    for days in (31, 400, 1):
        await ended(store, label="secret-label", **accepted(days_ago=days))
    await store.close()
    return folder


async def count(folder: Path) -> int:
    store = Store(f"sqlite:///{folder}/greenroom.db")
    try:
        return await store.count(OWNER, Filter())
    finally:
        await store.close()


async def purge(folder: Path, *arguments: str, **settings: Any) -> dict[str, Any]:
    ended = await anyio.to_thread.run_sync(
        lambda: greenroom("purge", "--json", *arguments, folder=folder, **settings)
    )
    assert ended.returncode == 0, ended.stderr
    facts: dict[str, Any] = json.loads(ended.stdout)
    return facts


async def test_a_dry_run_counts_and_erases_nothing(old: Path) -> None:
    facts = await purge(old, "--dry-run", "--days", "30")
    assert (facts["count"], facts["dry_run"]) == (2, True)
    assert await count(old) == 3


async def test_what_is_older_than_the_setting_is_erased(old: Path) -> None:
    facts = await purge(old, retention_days=30)
    assert (facts["count"], facts["dry_run"]) == (2, False)
    assert await count(old) == 1
    assert (await purge(old, retention_days=30))["count"] == 0


async def test_everything_that_has_ended_can_be_erased_and_is_in_no_file(old: Path) -> None:
    said = await anyio.to_thread.run_sync(
        lambda: greenroom("purge", "--days", "0", folder=old, is_measured=True)
    )
    assert said.stdout.startswith("3 executions from before ")
    assert said.stdout.endswith(" erased.\n")
    assert await anyio.to_thread.run_sync(secret_in, old) == []


def secret_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if b"secret-label" in path.read_bytes()]


def test_how_old_must_be_said(folder: Path) -> None:
    ended = greenroom("purge", folder=folder)
    assert ended.returncode == 1
    assert "GREENROOM_RETENTION_DAYS" in ended.stderr


async def test_it_may_go_on_beside_a_server_that_runs_programs(old: Path) -> None:
    async with serving(old) as (_, api), anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(api.run, "print(42)")
        assert (await purge(old, "--days", "30"))["count"] == 2
    assert await count(old) == 11


async def test_a_reader_that_stays_is_named_and_does_not_keep_the_command(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "_TIDY_PATIENCE", 0.1)
    settings = Settings(_env_file=None, database_url=SecretStr(f"sqlite:///{old}/greenroom.db"))
    said = StringIO()
    with closing(sqlite3.connect(old / "greenroom.db", check_same_thread=False)) as reader:
        await anyio.to_thread.run_sync(read_on, reader)
        now = datetime.now(UTC)
        assert await purging.purge_history(settings, now, False, Console(file=said)) == 3  # noqa: FBT003
    assert "A reader keeps the log" in said.getvalue()


def read_on(connection: sqlite3.Connection) -> None:
    """Begin to read, and do not end."""
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM executions").fetchall()


async def test_a_server_erases_what_is_too_old_by_itself(old: Path) -> None:
    async with serving(old, retention_days=30) as (server, _):
        assert "count=2" in await server.says("old executions erased")
        await until(lambda: (old / "greenroom.db-wal").stat().st_size == 0)
    assert await count(old) == 1
