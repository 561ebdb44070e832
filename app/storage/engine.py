"""Connections to a database: one short transaction at a time.

Theory of operation. Work on the database is a plain function of a `Connection`, and each call of
`read` or `write` is one transaction around it. Where it runs is the database's matter:

    SQLite      whole in a worker thread, so a transaction costs one change of thread. (aiosqlite
                changes it three or four times for each statement, which made the store three
                times as expensive.) Writers take turns, readers go on beside them: WAL.
    PostgreSQL  in the event loop, over asyncpg, at most `CONNECTIONS` at a time.

Who is cancelled while waiting for a turn has done nothing. Once begun, a transaction on SQLite
goes to its end and answers (after a bare `task.cancel()` nobody waits for that), and one on
PostgreSQL is rolled back: on both it is whole or it never was.
"""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

from anyio import CancelScope, CapacityLimiter, to_thread
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from app.storage.errors import explained
from app.storage.tidying import tidy
from app.storage.urls import is_sqlite, normal

T = TypeVar("T")
Done: TypeAlias = Callable[[], None]

READERS = 4  # connections to SQLite; more would only share the same disk
CONNECTIONS = 10  # to PostgreSQL per process; it allows 100 in all as it comes
BUSY_TIMEOUT = 5  # s; how long another process may keep the SQLite file to itself
CONNECT_TIMEOUT = 10  # s; a server that is there answers in milliseconds
COMMAND_TIMEOUT = 60  # s; statistics of a long history take seconds


class Database(Protocol):
    """A database that runs transactions."""

    is_shared: bool
    """Whether it is for several processes."""

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction that changes nothing."""

    async def write(self, work: Callable[[Connection], T], done: Done | None = None) -> T:
        """Run `work` in a transaction: all of it happens, or nothing.

        `done` is called in the event loop when it has happened, whoever was cancelled meanwhile.
        """

    async def tidy(self) -> bool:
        """Make what was deleted unreadable on the disk; False when that must be tried again."""

    async def close(self) -> None:
        """Close every connection."""


def open_database(url: str | URL) -> Database:
    """Return the database at `url`, without connecting yet.

    Raises:
        StorageError: it is no URL of a database that we know.
    """
    url = normal(url)
    return SQLite(url) if is_sqlite(url) else Postgres(url)


class SQLite:
    """A file: one writer, some readers."""

    is_shared = False

    def __init__(self, url: URL) -> None:
        self._url = url
        self._writer = sqlite_engine(url, begin="BEGIN IMMEDIATE", pool_size=1)
        self._reader = sqlite_engine(url, begin="BEGIN", pool_size=READERS)
        self._writing = CapacityLimiter(1)
        self._reading = CapacityLimiter(READERS)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` beside other readers and the writer; it sees one moment."""
        return await to_thread.run_sync(self._run, self._reader, work, limiter=self._reading)

    async def write(self, work: Callable[[Connection], T], done: Done | None = None) -> T:
        """Run `work` when its turn has come."""
        loop = asyncio.get_running_loop()

        def run() -> T:
            result = self._run(self._writer, work)
            if done is not None:
                # From here: after a bare `task.cancel()` nobody waits for this thread.
                loop.call_soon_threadsafe(done)
            return result

        return await to_thread.run_sync(run, limiter=self._writing)

    async def tidy(self) -> bool:
        """Overwrite and give back what was deleted, when its turn has come."""
        return await to_thread.run_sync(self._tidy, limiter=self._writing)

    async def close(self) -> None:
        """Close every connection; the last one tidies the log into the file."""
        await to_thread.run_sync(self._reader.dispose)
        await to_thread.run_sync(self._writer.dispose)

    def _tidy(self) -> bool:
        with explained(self._url):
            return tidy(self._writer)

    def _run(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        with explained(self._url), engine.begin() as connection:
            return work(connection)


class Postgres:
    """A server."""

    is_shared = True

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine = postgres_engine(
            url,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_pre_ping=True,
            connect_args={"timeout": CONNECT_TIMEOUT, "command_timeout": COMMAND_TIMEOUT},
        )
        self._snapshots = self._engine.execution_options(isolation_level="REPEATABLE READ")
        # In front of the pool, whose own queue has no order and may lose a cancelled waiter.
        self._turns = CapacityLimiter(CONNECTIONS)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one of the connections; it sees one moment."""
        return await self._run(self._snapshots, work)

    async def write(self, work: Callable[[Connection], T], done: Done | None = None) -> T:
        """Run `work` on one of the connections; leaving it early rolls it back."""
        result = await self._run(self._engine, work)
        if done is not None:
            done()
        return result

    async def tidy(self) -> bool:
        """Leave it to autovacuum."""
        return True

    async def close(self) -> None:
        """Close every connection."""
        with CancelScope(shield=True):
            await self._engine.dispose()

    async def _run(self, engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
        async with self._turns:
            with explained(self._url):
                return await in_transaction(engine, work)


async def in_transaction(engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
    """Run `work` in a transaction of its own."""
    # Shielded at both ends: a connection half opened or half returned is lost to the pool.
    with CancelScope(shield=True):
        connection = await engine.connect()
    try:
        result = await connection.run_sync(work)
        await connection.commit()
    finally:
        with CancelScope(shield=True):
            await connection.close()
    return result


def sqlite_engine(
    url: URL,
    *,
    begin: str,
    pool_size: int = 1,
    timeout: float = BUSY_TIMEOUT,
    foreign_keys: bool = True,
) -> Engine:
    """Make an engine on an existing file whose transactions start with `begin`."""
    engine = create_engine(
        _as_uri(url, timeout),
        pool_size=pool_size,
        max_overflow=0,
        json_serializer=_json,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # The module's own way of beginning comes late and breaks savepoints: we say BEGIN.
        connection.isolation_level = None
        cursor = connection.cursor()
        # Safe with WAL, and a commit need not wait for the disk.
        cursor.execute("PRAGMA synchronous = NORMAL")
        # What is deleted is overwritten, also where a row only grew and moved.
        cursor.execute("PRAGMA secure_delete = ON")
        cursor.execute(f"PRAGMA foreign_keys = {foreign_keys:d}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        # Past SQLAlchemy, for which it would be a statement of its own: a sixth of a transaction.
        connection.connection.cursor().execute(begin)

    return engine


def _as_uri(url: URL, timeout: float) -> URL:
    """Name the file so that it is opened, and not made where it is missing."""
    path = Path(url.database or "").as_uri()
    query = {"mode": "rw", "timeout": str(timeout)} | dict(url.query) | {"uri": "true"}
    return url.set(database=path, query=query)


def postgres_engine(url: URL, **options: Any) -> AsyncEngine:
    """Make an engine on a server."""
    engine = create_async_engine(url, json_serializer=_json, hide_parameters=True, **options)

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: AsyncAdapt_asyncpg_connection, _entry: ConnectionPoolEntry) -> None:
        # A plan made for no value in particular walks the whole table for a rare one: 100 ms
        # instead of 6 among 100,000. Said here, because poolers refuse it in the URL.
        connection.run_async(lambda driver: driver.execute(_PLAN_FOR_VALUES))

    return engine


_PLAN_FOR_VALUES = "SET plan_cache_mode = force_custom_plan"

# NaN is not JSON: PostgreSQL refuses it, and SQLite would give it back to a client.
_json = partial(json.dumps, separators=(",", ":"), allow_nan=False)
