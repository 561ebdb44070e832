"""A fresh store for each test, on SQLite and on PostgreSQL."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import anyio
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


@pytest.fixture(scope="session")
def template_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an SQLite database that is migrated and empty, to be copied."""
    path = tmp_path_factory.mktemp("template") / "greenroom.db"
    anyio.run(migrate, f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def template_database(postgres: PostgresServer) -> str:
    """Name a database on PostgreSQL that is migrated and empty, to be copied."""
    postgres.create_database("template")
    anyio.run(migrate, postgres.url("template"))
    return "template"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Name a database: for a store a copy of one, else there is nothing, not even a file."""
    is_full, is_migrated = ("full" in request.fixturenames, "store" in request.fixturenames)
    kind = "full" if is_full else "template" if is_migrated else None
    if request.param == "sqlite":
        path = tmp_path / "greenroom.db"
        if kind:
            shutil.copy(request.getfixturevalue(f"{kind}_file"), path)
        yield f"sqlite+aiosqlite:///{path}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    name = f"test_{next(_numbers)}"
    like = request.getfixturevalue(f"{kind}_database") if kind else None
    server.create_database(name, like=like)
    yield server.url(name)
    server.drop_database(name)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
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
