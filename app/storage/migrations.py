"""The schema and its versions.

A migration is one transaction, and only one process migrates at a time: another one that starts
at the same moment waits, and then finds nothing left to do. `migrations/env.py` comes here for
its transaction, so this holds for the `alembic` command as well.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from anyio import to_thread
from sqlalchemy import URL, Connection, NullPool, inspect, text

from app.storage.engine import (
    CONNECT_TIMEOUT,
    in_transaction,
    open_database,
    postgres_engine,
)
from app.storage.errors import StorageError, explained, place
from app.storage.sqlite import sqlite_engine
from app.storage.urls import is_sqlite, normal

LOCK_TIMEOUT = 60  # s; for another process to migrate, or to end a long transaction
LOCK_KEY = 0x677265656E  # "green"; any number that others on the same server do not use
RETRY_EVERY = 0.05  # s

_ALEMBIC = Lock()  # it keeps what it is doing in a module
_VERSION = text("SELECT version_num FROM alembic_version")


async def migrate(url: str | URL) -> None:
    """Bring the schema to the version that this code needs; make an SQLite file if need be.

    Raises:
        StorageError: it cannot be done; the message says what to do.
    """
    await to_thread.run_sync(_upgrade, url)


async def pending(url: str | URL) -> bool:
    """Whether the schema is older than this code.

    Raises:
        StorageError: it is newer, or the database cannot be used.
    """
    url = normal(url)
    if is_sqlite(url) and not await to_thread.run_sync(Path(url.database or "").exists):
        return True
    await to_thread.run_sync(_revisions)  # reads files, once
    database = open_database(url)
    try:
        return await database.read(partial(_is_older, url=url))
    finally:
        await database.close()


def configuration(url: str | URL) -> Config:
    """Return what Alembic needs to know; `env.py` takes the URL from it."""
    config = Config(attributes={"url": normal(url)})
    config.set_main_option("script_location", str(folder()).replace("%", "%%"))
    return config


def folder() -> Path:
    """Find the migrations: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parents[1]
    places = (package / "migrations", package.parent / "migrations")
    return next(place for place in places if (place / "env.py").is_file())


def exclusively(url: URL, work: Callable[[Connection], None]) -> None:
    """Run `work` in one transaction while nobody else migrates; blocks.

    Raises:
        StorageError: it cannot be done; the message says what to do.
    """

    def checked(connection: Connection) -> None:
        _is_older(connection, url)
        work(connection)

    with explained(url):
        if is_sqlite(url):
            _in_sqlite(url, checked)
        else:
            asyncio.run(_in_postgres(url, checked))


def _upgrade(url: str | URL) -> None:
    with _ALEMBIC:
        command.upgrade(configuration(url), "head")


def _in_sqlite(url: URL, work: Callable[[Connection], None]) -> None:
    _make_file(Path(url.database or ""))
    # Without foreign keys: SQLite changes a table by copying it and dropping the old one, which
    # would cascade to every row that refers to it.
    engine = sqlite_engine(url, begin="BEGIN IMMEDIATE", timeout=LOCK_TIMEOUT, foreign_keys=False)
    try:
        with engine.begin() as connection:
            work(connection)
    finally:
        engine.dispose()


def _make_file(path: Path) -> None:
    """Make the file if it is missing, for this user only, and have it keep a write-ahead log.

    SQLite gives the files beside it the same mode.
    """
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=0)
    try:
        _keep_log(connection)
    finally:
        connection.close()


def _keep_log(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            # Before there is a table: pages that are no longer used can then be given back.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # SQLite does not wait here when two processes do this at once.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(RETRY_EVERY)
        else:
            return


async def _in_postgres(url: URL, work: Callable[[Connection], None]) -> None:
    def locked(connection: Connection) -> None:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_KEY})"))
        work(connection)

    options = {"timeout": CONNECT_TIMEOUT}
    engine = postgres_engine(url, poolclass=NullPool, connect_args=options)
    await in_transaction(engine, locked)


def _is_older(connection: Connection, url: URL) -> bool:
    head, known = _revisions()
    has_version = inspect(connection).has_table("alembic_version")
    current = connection.scalar(_VERSION) if has_version else None
    if current is not None and current not in known:
        message = (
            f"The database {place(url)} is at version `{current}`, which this version of "
            "Greenroom does not know: run the newer one that made it, or use another database."
        )
        raise StorageError(message)
    return current != head


@cache
def _revisions() -> tuple[str | None, frozenset[str]]:
    scripts = ScriptDirectory(folder())
    return scripts.get_current_head(), frozenset(
        script.revision for script in scripts.walk_revisions()
    )
