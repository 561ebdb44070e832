"""A database that cannot be used says what to do; a bug stays a bug."""

import sqlite3
import traceback
from contextlib import closing
from pathlib import Path

import pytest
from anyio import to_thread
from sqlalchemy import text

from app.domain.execution import Program
from app.storage.engine import Database
from app.storage.errors import StorageError
from app.storage.migrations import migrate, pending
from app.storage.store import Arrival, Store
from tests.servers.postgres import DURABLE, PostgresServer

from .samples import HOLDER, begun, execution, files


@pytest.fixture
async def sqlite(tmp_path: Path) -> Path:
    path = tmp_path / "greenroom.db"
    await migrate(f"sqlite:///{path}")
    return path


async def test_a_database_without_tables_asks_for_migration(url: str) -> None:
    store = Store(url)
    with pytest.raises(StorageError, match="run `greenroom migrate`"):
        await store.ping()
    with pytest.raises(StorageError, match="run `greenroom migrate`"):
        await begun(store)
    await store.close()


async def test_a_database_with_older_tables_asks_for_migration(
    store: Store, database: Database
) -> None:
    drop = text("ALTER TABLE executions DROP COLUMN executor")
    await database.write(lambda connection: connection.execute(drop))
    with pytest.raises(StorageError, match="run `greenroom migrate`"):
        await begun(store)


async def test_a_bug_is_no_storage_error(store: Store, database: Database) -> None:
    with pytest.raises(Exception, match=r"(?i)syntax") as caught:
        await database.read(lambda connection: connection.execute(text("SELEKT 1")))
    assert not isinstance(caught.value, StorageError)


async def test_no_error_tells_a_candidates_code(store: Store) -> None:
    one = execution()
    program = Program(language="PYTHON", source="their solution")
    await store.insert(Arrival(execution=one, program=program), HOLDER)
    with pytest.raises(Exception, match=r"(?i)unique") as caught:
        await store.insert(Arrival(execution=one, program=program), HOLDER)
    assert "their solution" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", ["sqlite://", "sqlite+aiosqlite:///:memory:", "mysql://h/d", "?"])
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(StorageError, match="GREENROOM_DATABASE_URL"):
        Store(url)


def test_a_refused_url_is_not_repeated() -> None:
    with pytest.raises(StorageError) as caught:
        Store("secret:password@host")
    assert "password" not in str(caught.value)
    assert caught.value.__suppress_context__


# --- SQLite ----------------------------------------------------------------------------------


async def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/greenroom.db")
    with pytest.raises(StorageError, match=r"greenroom\.db` cannot be opened: .*migrate"):
        await store.ping()
    assert files(tmp_path) == []
    await store.close()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"missing/greenroom\.db` cannot be made: make its"):
        await migrate(f"sqlite:///{tmp_path}/missing/greenroom.db")


async def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_text("Dear friend, " * 100)
    with pytest.raises(StorageError, match="is no SQLite database"):
        await migrate(f"sqlite:///{path}")
    assert path.read_text().startswith("Dear friend")


async def test_a_read_only_file_is_explained(sqlite: Path) -> None:
    store = Store(f"sqlite:///{sqlite}?mode=ro")
    await store.ping()
    with pytest.raises(StorageError, match="is read-only: let this user write"):
        await begun(store)
    await store.close()


async def test_a_full_disk_is_explained_and_leaves_no_half(sqlite: Path) -> None:
    store = Store(f"sqlite:///{sqlite}")
    # SQLite says the same of a file that may not grow as of a disk that cannot hold it.
    limit = text("PRAGMA max_page_count = 20")
    await store._database.write(lambda connection: connection.execute(limit).all())
    big = execution()
    with pytest.raises(StorageError, match="no room left"):
        await store.insert(
            Arrival(execution=big, program=Program(language="PYTHON", source="#" * 1_000_000)),
            HOLDER,
        )
    assert await store.executions(big.owner, [big.id]) == {}
    await begun(store)
    await store.close()


async def test_a_file_that_another_process_keeps_is_explained(sqlite: Path) -> None:
    store = Store(f"sqlite:///{sqlite}?timeout=0.1")
    with closing(sqlite3.connect(sqlite)) as other:
        other.execute("BEGIN IMMEDIATE")
        await store.ping()  # reading goes on
        with pytest.raises(StorageError, match="is locked by another process"):
            await begun(store)
    await begun(store)
    await store.close()


# --- PostgreSQL ------------------------------------------------------------------------------


async def test_a_server_that_is_not_there_is_explained() -> None:
    url = "postgresql://me:secret@127.0.0.1:1/greenroom"
    store = Store(url)
    for ask in (store.ping(), migrate(url), pending(url)):
        with pytest.raises(
            StorageError, match=r"`greenroom` at 127\.0\.0\.1 cannot be reached"
        ) as it:
            await ask
        assert "secret" not in str(it.value)
    await store.close()


async def test_a_database_that_is_not_there_is_explained(postgres: PostgresServer) -> None:
    store = Store(postgres.url("nothing"))
    with pytest.raises(StorageError, match=r"`nothing` at .* does not exist: create it"):
        await store.ping()
    await store.close()


async def test_a_read_only_server_is_explained(postgres: PostgresServer) -> None:
    await to_thread.run_sync(postgres.create_database, "standby")
    url = postgres.url("standby")
    await migrate(url)
    store = Store(url)
    standby = text("ALTER DATABASE standby SET default_transaction_read_only = on")
    await store._database.write(lambda connection: connection.execute(standby))
    await store.close()
    store = Store(url)
    await store.ping()
    with pytest.raises(StorageError, match="is read-only"):
        await begun(store)
    await store.close()


async def test_a_server_that_was_killed_is_explained_and_found_again() -> None:
    with PostgresServer.start(DURABLE) as server:
        server.create_database("greenroom")
        await migrate(server.url("greenroom"))
        store = Store(server.url("greenroom"))
        await store.ping()
        await to_thread.run_sync(server.kill)
        with pytest.raises(StorageError, match="check that the server is up"):
            await store.ping()
        await to_thread.run_sync(server.restart)
        await store.ping()
        await store.close()
