"""Connections to a database: one short transaction at a time.

Theory of operation. Work on the database is a plain function of a `Connection`, and each call of
`read` or `write` is one transaction around it. Where it runs is the database's matter:

    SQLite      whole in a worker thread, or in the event loop if it is brief (`sqlite.py`)
    PostgreSQL  in the event loop, over asyncpg, at most `CONNECTIONS` at a time

Who is cancelled while waiting for a turn has done nothing. Once begun, a transaction on SQLite
goes to its end and answers (after a bare `task.cancel()` nobody waits for that), and one on
PostgreSQL is rolled back: on both it is whole or it never was.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from anyio import CancelScope, CapacityLimiter
from sqlalchemy import URL, Connection, event
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from app.storage.errors import explained
from app.storage.mapping import to_json
from app.storage.sqlite import Done, SQLite
from app.storage.urls import is_sqlite, normal

T = TypeVar("T")

CONNECTIONS = 10  # to PostgreSQL per process; it allows 100 in all as it comes
CONNECT_TIMEOUT = 10  # s; a server that is there answers in milliseconds
COMMAND_TIMEOUT = 60  # s; statistics of a long history take seconds


class Database(Protocol):
    """A database that runs transactions."""

    is_shared: bool
    """Whether it is for several processes."""

    async def read(self, work: Callable[[Connection], T], *, is_brief: bool = False) -> T:
        """Run `work` in a transaction that changes nothing.

        Args:
            work: what to do; it is called again where another process was in its way.
            is_brief: whether it is about a few small rows, which are found by their keys.
        """

    async def write(
        self, work: Callable[[Connection], T], done: Done | None = None, *, is_brief: bool = False
    ) -> T:
        """Run `work` in a transaction, see `read`: all of it happens, or nothing.

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

    async def read(self, work: Callable[[Connection], T], *, is_brief: bool = False) -> T:
        """Run `work` on one of the connections; it sees one moment."""
        del is_brief  # nothing waits here
        return await self._run(self._snapshots, work)

    async def write(
        self, work: Callable[[Connection], T], done: Done | None = None, *, is_brief: bool = False
    ) -> T:
        """Run `work` on one of the connections; leaving it early rolls it back."""
        del is_brief
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


def postgres_engine(url: URL, **options: Any) -> AsyncEngine:
    """Make an engine on a server."""
    engine = create_async_engine(url, json_serializer=to_json, hide_parameters=True, **options)

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: AsyncAdapt_asyncpg_connection, _entry: ConnectionPoolEntry) -> None:
        # A plan made for no value in particular walks the whole table for a rare one: 100 ms
        # instead of 6 among 100,000. Said here, because poolers refuse it in the URL.
        connection.run_async(lambda driver: driver.execute(_PLAN_FOR_VALUES))

    return engine


_PLAN_FOR_VALUES = "SET plan_cache_mode = force_custom_plan"
