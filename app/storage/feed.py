"""Wakes who waits for a change, in this process and in others.

Theory of operation. A change names its topics inside its own transaction, and whoever took a bell
for one of them is rung when it is committed:

    SQLite      in this process, by the writer; another process on the same file hears nothing.
    PostgreSQL  by NOTIFY in the transaction of the change and LISTEN on a connection of its own,
                which is opened again when it breaks. Our own changes come back the same way, so
                there is one path. A pooler between us must pool sessions, not transactions.

A bell says that something may have changed, never what it is now: take the bell, then read. So a
ring too many costs a look, and after a time without a connection every bell is rung. A topic may
carry a detail (`topic detail`), which is the id of the execution that has changed.
"""

import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from hashlib import blake2b
from typing import Any
from uuid import UUID

import anyio
from anyio import CancelScope
from sqlalchemy import URL, Connection, NullPool, text

from app.storage.engine import CONNECT_TIMEOUT, postgres_engine
from app.storage.errors import explained
from app.storage.urls import is_sqlite, normal

log = logging.getLogger(__name__)

CHANNEL = "greenroom"
KEEP_ALIVE = 15.0  # s; how long a connection may be dead before we notice that it is
RECONNECT = 0.25  # s between tries; nothing that others do is seen for so long
MOST_DETAILS = 1000  # for each bell; more than that, and its owner looks at everything

QUEUE = "q"
"""Something was added to the queue."""

ERASED = "x"
"""Something was erased for good: whoever has kept a part of it lets it go."""


def events_of(id: UUID) -> str:
    """Name the topic of what happens to an execution, for its followers."""
    return f"e{id.hex}"


def typing_for(id: UUID) -> str:
    """Name the topic of input for an execution, for its holder."""
    return f"t{id.hex}"


def cancels_of(id: UUID) -> str:
    """Name the topic of the wish that an execution ends, for its holder."""
    return f"c{id.hex}"


def changes_of(owner: str, session_id: str) -> str:
    """Name the topic of the executions of a session; a name of any length becomes a short one."""
    digest = blake2b(f"{owner}\0{session_id}".encode(), digest_size=16)
    return f"s{digest.hexdigest()}"


class Bell:
    """Rings when something may have changed since the last wait; many rings are one."""

    def __init__(self) -> None:
        self._rung = anyio.Event()
        self._details: set[str] | None = set()

    @property
    def is_rung(self) -> bool:
        """Whether it has rung since the last wait."""
        return self._rung.is_set()

    def ring(self, detail: str | None) -> None:
        """Wake the owner; without a detail it should look at everything."""
        if detail is None or (self._details and len(self._details) >= MOST_DETAILS):
            self._details = None
        elif self._details is not None:
            self._details.add(detail)
        self._rung.set()

    async def wait(self) -> frozenset[str] | None:
        """Wait for a ring, and return its details, or None where anything may have changed."""
        await self._rung.wait()
        details, self._details = self._details, set()
        self._rung = anyio.Event()
        return None if details is None else frozenset(details)


class Feed:
    """The bells of this process; on SQLite that is all there is."""

    def __init__(self) -> None:
        self._bells: defaultdict[str, set[Bell]] = defaultdict(set)

    @contextmanager
    def bell(self, topic: str) -> Iterator[Bell]:
        """Take a bell for the time of the block."""
        bell = Bell()
        self._bells[topic].add(bell)
        try:
            yield bell
        finally:
            self._bells[topic].discard(bell)
            if not self._bells[topic]:
                del self._bells[topic]

    def may_be_heard(self, topic: str) -> bool:
        """Whether somebody may have a bell for a topic."""
        return topic in self._bells

    def ring(self, notes: Iterable[str]) -> None:
        """Ring the bells of each topic that is noted."""
        for note in notes:
            topic, _, detail = note.partition(" ")
            for bell in self._bells.get(topic, ()):
                bell.ring(detail)

    def ring_all(self) -> None:
        """Ring every bell: we do not know what was missed."""
        for bells in self._bells.values():
            for bell in bells:
                bell.ring(None)

    def announce(self, connection: Connection, notes: Iterable[str]) -> None:
        """Do nothing yet: what is not committed is no news."""

    def committed(self, notes: Iterable[str]) -> None:
        """Tell this process of a change."""
        self.ring(notes)

    async def listen(self) -> None:
        """Hear of the changes of other processes: there are none."""

    @property
    def is_connected(self) -> bool:
        """Whether changes are heard of at once."""
        return True


class PostgresFeed(Feed):
    """Bells that every process on the same database can ring."""

    def __init__(self, url: URL) -> None:
        super().__init__()
        self._url = url
        self._is_connected = False

    @property
    def is_connected(self) -> bool:
        """Whether changes are heard of at once."""
        return self._is_connected

    def may_be_heard(self, topic: str) -> bool:
        """Whether somebody may have a bell for a topic: of other processes nobody knows."""
        del topic
        return True

    def announce(self, connection: Connection, notes: Iterable[str]) -> None:
        """Tell every process, when the transaction is committed."""
        if unique := list(dict.fromkeys(notes)):
            connection.execute(_NOTIFY, {"channel": CHANNEL, "notes": unique})

    def committed(self, notes: Iterable[str]) -> None:
        """Do nothing: it comes back to us as it goes to the others."""

    async def listen(self) -> None:
        """Listen until cancelled, on a new connection whenever one breaks."""
        while True:
            try:
                await self._listen_once()
            except Exception as error:  # noqa: BLE001 - whatever it was, we must listen again
                log.warning("not listening to the database", extra={"reason": str(error)})
            await anyio.sleep(RECONNECT)

    async def _listen_once(self) -> None:
        lost = anyio.Event()
        async with _connection(self._url) as driver:
            driver.add_termination_listener(lambda _: lost.set())
            await driver.add_listener(CHANNEL, self._heard)
            try:
                self._is_connected = True
                self.ring_all()
                await _until_lost(driver, lost)
            finally:
                self._is_connected = False

    def _heard(self, _driver: Any, _process: int, _channel: str, note: str) -> None:
        self.ring([note])


@asynccontextmanager
async def _connection(url: URL) -> AsyncIterator[Any]:
    """Give asyncpg's own connection, on which nothing else happens."""
    options = {"timeout": CONNECT_TIMEOUT, "command_timeout": CONNECT_TIMEOUT}
    engine = postgres_engine(url, poolclass=NullPool, connect_args=options)
    with explained(url):
        # Shielded at both ends: a connection half opened would be nobody's.
        with CancelScope(shield=True):
            connection = await engine.connect()
        try:
            yield (await connection.get_raw_connection()).driver_connection
        finally:
            with CancelScope(shield=True):
                await connection.close()


async def _until_lost(driver: Any, lost: anyio.Event) -> None:
    while not lost.is_set():
        with anyio.move_on_after(KEEP_ALIVE):
            await lost.wait()
            return
        # A host that has gone away closes no connection: it must be asked.
        await driver.execute("SELECT 1")


_NOTIFY = text("SELECT pg_notify(:channel, note) FROM unnest(CAST(:notes AS text[])) AS note")


def open_feed(url: str | URL) -> Feed:
    """Return the feed that belongs to the database at `url`, without connecting yet."""
    url = normal(url)
    return Feed() if is_sqlite(url) else PostgresFeed(url)
