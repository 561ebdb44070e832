"""A fresh store for each test, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster
from sqlalchemy import Engine

from app.storage.engine import Database
from app.storage.migrations import migrate
from app.storage.store import Store
from tests.servers.postgres import PostgresError, PostgresServer

from .samples import Statements, listening

_numbers = count(1)


@pytest.fixture(autouse=True)
def may_block(blockbuster: BlockBuster) -> None:
    """Allow what blocks no one."""
    for function in blockbuster.functions.values():
        # asyncpg looks for ~/.pgpass and certificates once for each connection.
        function.can_block_in("asyncpg/connect_utils.py", "_parse_connect_dsn_and_args")
        # Alembic reads its files in a loop of its own, in a thread of its own.
        function.can_block_in("app/storage/migrations.py", "checked")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with ExitStack() as stack:
        try:
            server = stack.enter_context(PostgresServer.start())
        except PostgresError as error:
            pytest.skip(f"PostgreSQL does not run here: {error}")
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Name a database that is empty: on SQLite there is not even a file."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path}/greenroom.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"test_{next(_numbers)}"
    server.create_database(name)
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    await migrate(url)
    store = Store(url)
    yield store
    await store.close()


@pytest.fixture
def database(store: Store) -> Database:
    """Reach the store's own connections, for what the store does not tell."""
    return store._database


@pytest.fixture
async def statements(store: Store) -> Statements:
    """Return a block that collects what is sent to the database within it."""
    await store.ping()  # so that connecting is behind us

    @contextmanager
    def collect() -> Iterator[list[str]]:
        sent: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            sent.append(statement)

        with listening(Engine, "before_cursor_execute", note):
            yield sent

    return collect
