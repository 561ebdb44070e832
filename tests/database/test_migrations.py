"""The schema goes up and down, is what the code says, and is made once however many want it."""

import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen

import anyio
import pytest
from alembic import command
from alembic.config import Config
from anyio import to_thread
from sqlalchemy import Connection, insert, inspect, text
from uuid6 import uuid7

from app.domain.execution import Kind
from app.storage import migrations
from app.storage.engine import open_database
from app.storage.errors import StorageError
from app.storage.mapping import execution_values, log_values
from app.storage.migrations import configuration, exclusively, migrate, pending
from app.storage.rows import EXECUTIONS, OUTPUT
from app.storage.store import Store
from app.storage.urls import normal

from .samples import OWNER, PROGRAM, begun, entry, execution, files, hold

TABLES = {
    "alembic_version",
    "executions",
    "execution_input",
    "execution_output",
    "execution_artifacts",
    "execution_tests",
    "replicas",
    "api_keys",
    "owner_usage",
    "rate_windows",
    "audit_log",
}


async def tables(url: str) -> set[str]:
    database = open_database(url)
    try:
        return await database.read(lambda connection: set(inspect(connection).get_table_names()))
    finally:
        await database.close()


async def alembic(what: str, url: str, *arguments: str) -> None:
    def run() -> None:
        getattr(command, what)(configuration(url), *arguments)

    await to_thread.run_sync(run)


async def test_the_schema_goes_up_is_what_the_code_says_goes_down_and_up_again(url: str) -> None:
    await migrate(url)
    await alembic("check", url)
    assert await tables(url) == TABLES
    await alembic("downgrade", url, "base")
    assert await tables(url) == {"alembic_version"}
    await migrate(url)
    await alembic("check", url)
    assert await tables(url) == TABLES


async def test_a_fresh_database_has_migrations_pending_until_they_are_made(url: str) -> None:
    assert await pending(url)
    await migrate(url)
    assert not await pending(url)
    await migrate(url)  # nothing to do
    assert not await pending(url)


async def test_asking_what_is_pending_makes_no_file(tmp_path: Path) -> None:
    assert await pending(f"sqlite:///{tmp_path}/greenroom.db")
    assert files(tmp_path) == []


async def test_migrating_keeps_what_is_there(store: Store, url: str) -> None:
    id = await begun(store)
    await store.append(hold(id), [entry(1, b"kept")])
    await migrate(url)
    assert (await store.transcripts(OWNER, [id]))[id].stdout == b"kept"


async def test_executions_of_an_older_version_are_kept_with_their_output(url: str) -> None:
    await alembic("upgrade", url, "0002")
    id = uuid7()

    def fill(connection: Connection) -> None:
        columns = {column["name"] for column in inspect(connection).get_columns("executions")}
        values = execution_values(execution(id=id), PROGRAM)
        known = {name: value for name, value in values.items() if name in columns}
        assert len(known) < len(values)
        connection.execute(insert(EXECUTIONS), known)
        connection.execute(insert(OUTPUT), log_values(id, [entry(1, b"kept")]))

    database = open_database(url)
    await database.write(fill)
    await database.close()
    await migrate(url)
    store = Store(url)
    kept = (await store.executions(OWNER, [id]))[id]
    assert (kept.kind, kept.verdict, kept.tests) == (Kind.RUN, None, 0)
    assert (await store.programs(OWNER, [id]))[id] == PROGRAM
    assert (await store.transcripts(OWNER, [id]))[id].stdout == b"kept"
    await store.close()


async def test_tables_can_be_rebuilt_without_losing_what_refers_to_them(
    store: Store, url: str
) -> None:
    """SQLite changes a table by dropping it, and foreign keys would cascade."""
    id = await begun(store)
    await store.append(hold(id), [entry(1, b"kept")])

    def rebuild(connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            connection.execute(text("CREATE TABLE copy AS SELECT * FROM executions"))
            connection.execute(text("DROP TABLE executions"))
            connection.execute(text("ALTER TABLE copy RENAME TO executions"))

    await to_thread.run_sync(exclusively, normal(url), rebuild)
    assert (await store.transcripts(OWNER, [id]))[id].stdout == b"kept"


async def test_many_in_one_process_may_migrate_at_once(url: str) -> None:
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(migrate, url)
    assert not await pending(url)


async def test_many_processes_may_migrate_at_once(url: str) -> None:
    assert await to_thread.run_sync(migrate_in_processes, url, 4) == [(0, b"")] * 4
    assert not await pending(url)


def migrate_in_processes(url: str, number: int) -> list[tuple[int, bytes]]:
    """Let them start, then go; return how each one ended and what it said."""
    code = (
        "import asyncio, sys; from app.storage.migrations import migrate; "
        "sys.stdin.readline(); asyncio.run(migrate(sys.argv[1]))"
    )
    arguments = [sys.executable, "-c", code, url]
    running = [Popen(arguments, stdin=PIPE, stdout=PIPE, stderr=STDOUT) for _ in range(number)]
    for one in running:
        assert one.stdin
        one.stdin.write(b"\n")
        one.stdin.flush()
    return [(one.wait(), one.communicate()[0]) for one in running]


async def test_migrating_waits_for_whoever_keeps_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "greenroom.db"
    with closing(sqlite3.connect(path, check_same_thread=False, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")

        def sleep(_: float) -> None:
            other.execute("ROLLBACK")

        monkeypatch.setattr("app.storage.migrations.time.sleep", sleep)
        await migrate(f"sqlite:///{path}")
    assert not await pending(f"sqlite:///{path}")


async def test_a_failed_migration_leaves_nothing_behind(url: str) -> None:
    def fail(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (id INTEGER)"))
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        await to_thread.run_sync(exclusively, normal(url), fail)
    assert await tables(url) == set()


async def test_a_database_of_a_newer_version_is_left_alone(store: Store, url: str) -> None:
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    await store._database.write(lambda connection: connection.execute(newer))
    for ask in (migrate, pending):
        with pytest.raises(StorageError, match=r"version `9999`, which this version .* not know"):
            await ask(url)


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


async def test_the_sqlite_file_and_those_beside_it_are_for_this_user_only(
    tmp_path: Path, open_umask: None
) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/greenroom.db"
    await migrate(url)
    store = Store(url)
    await begun(store)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path)}
    await store.close()
    names = ("greenroom.db", "greenroom.db-wal", "greenroom.db-shm")
    assert modes == dict.fromkeys(names, 0o600)
    assert [path.name for path in files(tmp_path)] == ["greenroom.db"]


def test_the_alembic_command_takes_the_database_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENROOM_DATABASE_URL", f"sqlite:///{tmp_path}/of our own.db")
    command.upgrade(checkout(), "head")
    assert (tmp_path / "of our own.db").exists()


def test_migrations_can_be_printed_instead(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GREENROOM_DATABASE_URL", "postgresql://nobody@nowhere/nothing")
    command.upgrade(checkout(), "head", sql=True)
    assert "CREATE TABLE executions" in capsys.readouterr().out


def checkout() -> Config:
    config = Config(migrations.folder().parent / "alembic.ini")
    config.config_file_name = None  # or it would set up logging for all tests
    config.set_main_option("script_location", str(migrations.folder()))
    return config


def test_the_migrations_are_found_inside_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "app" / "migrations"
    installed.mkdir(parents=True)
    (installed / "env.py").touch()
    monkeypatch.setattr(migrations, "__file__", str(tmp_path / "app" / "storage" / "here.py"))
    assert migrations.folder() == installed
