"""A file as the database: one writer, some readers, and what is over in a moment done at once.

Theory of operation. A whole transaction runs in a worker thread, so it costs one change of thread.
(aiosqlite changes it three or four times for each statement, which made the store three times as
expensive.) Writers take turns, readers go on beside them: WAL.

A *brief* transaction, a few small rows by their keys, takes a third of a millisecond, and a way to
a thread and back costs as much again; with several of them, threads wait for one interpreter. So
it runs in the event loop, unless something there would hold up everybody:

    somebody writes     in a thread of ours or in another process: the loop's connections wait for
                        nobody, and what they are refused goes to a thread
    the disk            is waited for where the log is brought into the file: the loop's
                        connections never do that, so one write in so many goes to a thread
    a slow disk         is noticed: after one that took long, all goes to threads for a while
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias, TypeVar

from anyio import CapacityLimiter, lowlevel, to_thread
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from app.storage.errors import StorageError, explained, is_locked
from app.storage.mapping import to_json
from app.storage.tidying import tidy

T = TypeVar("T")
Done: TypeAlias = Callable[[], None]

READERS = 4  # connections; more would only share the same disk
BUSY_TIMEOUT = 5  # s; how long another process may keep the file to itself
_SLOW = 0.1  # s; a person notices it
_DISTRUST = 60.0  # s
_LOG_EVERY = 32  # writes; the log has some hundred pages by then, and takes a thousand


class SQLite:
    """A file."""

    is_shared = False

    def __init__(self, url: URL) -> None:
        self._url = url
        self._writer = sqlite_engine(url, begin="BEGIN IMMEDIATE")
        self._reader = sqlite_engine(url, begin="BEGIN", pool_size=READERS)
        self._writing = CapacityLimiter(1)
        self._reading = CapacityLimiter(READERS)
        self._brief = _Brief(url)

    async def read(self, work: Callable[[Connection], T], *, is_brief: bool = False) -> T:
        """Run `work` beside other readers and the writer; it sees one moment."""
        if is_brief:
            await lowlevel.checkpoint()
            with suppress(_NotHereError):
                return self._brief.read(work)
        return await to_thread.run_sync(self._run, self._reader, work, limiter=self._reading)

    async def write(
        self, work: Callable[[Connection], T], done: Done | None = None, *, is_brief: bool = False
    ) -> T:
        """Run `work` when its turn has come."""
        if is_brief:
            await lowlevel.checkpoint()
            with suppress(_NotHereError):
                result = self._brief.write(work)
                if done is not None:
                    done()
                return result
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
        for engine in (*self._brief.engines, self._reader, self._writer):
            await to_thread.run_sync(engine.dispose)

    def _tidy(self) -> bool:
        with explained(self._url):
            return tidy(self._writer)

    def _run(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        with explained(self._url), engine.begin() as connection:
            return work(connection)


class _NotHereError(Exception):
    """Not in the event loop, not now; nothing has been done."""


class _Brief:
    """Runs brief transactions in the event loop, or refuses."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._writer = sqlite_engine(url, begin="BEGIN IMMEDIATE", timeout=0)
        self._reader = sqlite_engine(url, begin="BEGIN", timeout=0)
        self._writes = 0
        self._slow_until = 0.0

    @property
    def engines(self) -> tuple[Engine, Engine]:
        """What has to be closed in the end."""
        return self._writer, self._reader

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work`.

        Raises:
            _NotHereError: a thread has to.
        """
        return self._at_once(self._reader, work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work`.

        Raises:
            _NotHereError: a thread has to.
        """
        self._writes += 1
        if self._writes % _LOG_EVERY == 0:
            raise _NotHereError
        return self._at_once(self._writer, work)

    def _at_once(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        began = time.monotonic()
        if began < self._slow_until:
            raise _NotHereError
        try:
            with explained(self._url), engine.begin() as connection:
                return work(connection)
        except StorageError as error:
            if is_locked(error):
                raise _NotHereError from error
            raise
        finally:
            if (now := time.monotonic()) - began > _SLOW:
                self._slow_until = now + _DISTRUST


def sqlite_engine(
    url: URL,
    *,
    begin: str,
    pool_size: int = 1,
    timeout: float = BUSY_TIMEOUT,
    foreign_keys: bool = True,
) -> Engine:
    """Make an engine on an existing file whose transactions start with `begin`.

    With a timeout of 0 it waits for nobody, nor for the disk: the log is left as it is. Else a
    commit brings it into the file when it has become long.
    """
    engine = create_engine(
        _as_uri(url, timeout),
        pool_size=pool_size,
        max_overflow=0,
        json_serializer=to_json,
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
        if not timeout:
            cursor.execute("PRAGMA wal_autocheckpoint = 0")
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
    if not timeout:  # whatever the URL says for those who wait
        query["timeout"] = "0"
    return url.set(database=path, query=query)
