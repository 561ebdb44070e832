"""Brief transactions on SQLite run in the event loop, and there they wait for nobody."""

import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
from sqlalchemy import Connection, Engine

from app.domain.execution import Status
from app.storage.store import Arrival, Bounds, LastWords, Store

from .samples import (
    CLAIMER,
    NOW,
    OWNER,
    PROGRAM,
    SUCCESS,
    begun,
    entry,
    execution,
    hold,
    listening,
)

LARGE = b"x" * 100_000


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the disk: on a machine that is busy with other tests anything may take long."""
    monkeypatch.setattr("app.storage.sqlite._SLOW", 60.0)


@pytest.fixture
def file(tmp_path: Path, template_file: Path) -> Path:
    return Path(shutil.copy(template_file, tmp_path))


@pytest.fixture
async def store(file: Path) -> AsyncIterator[Store]:
    store = Store(f"sqlite:///{file}")
    yield store
    await store.close()


@contextmanager
def places() -> Iterator[set[bool]]:
    """Collect whether statements run in the event loop."""
    seen: set[bool] = set()

    def note(*_: Any) -> None:
        seen.add(threading.current_thread() is threading.main_thread())

    with listening(Engine, "after_cursor_execute", note):
        yield seen


async def end(store: Store, output: bytes = b"x") -> None:
    id = await begun(store)
    assert await store.finish(hold(id), SUCCESS, at=NOW, last=LastWords(entries=[entry(1, output)]))
    assert (await store.executions(OWNER, [id]))[id].outcome == SUCCESS


async def test_what_is_brief_runs_in_the_loop(store: Store) -> None:
    with places() as seen:
        await end(store)
    assert seen == {True}


async def test_what_is_large_does_not(store: Store) -> None:
    id = await begun(store)
    with places() as seen:
        assert await store.append(hold(id), [entry(1, LARGE)])
        assert await store.finish(
            hold(id), SUCCESS, at=NOW, last=LastWords(entries=[entry(2, LARGE)])
        )
    assert seen == {False}


async def test_what_is_in_many_pieces_does_not(store: Store) -> None:
    id = await begun(store)
    with places() as seen:
        assert await store.append(hold(id), [entry(number, b"x") for number in range(100)])
    assert seen == {False}


async def test_what_others_have_made_large_is_not_read_in_the_loop(store: Store) -> None:
    program = replace(PROGRAM, source="#" * len(LARGE))
    waiting = execution(status=Status.QUEUED, started_at=None)
    bounds = Bounds(owned=1, in_all=1)
    assert await store.enqueue(Arrival(execution=waiting, program=program), bounds) is True
    with places() as seen:
        (work,) = await store.claim(CLAIMER, 1)
    assert work.program == program
    assert seen == {False}


async def test_another_process_that_writes_holds_nobody_up(file: Path) -> None:
    store = Store(f"sqlite:///{file}?timeout=60")  # for those in threads
    id = await begun(store)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with anyio.fail_after(30), places() as seen:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.append, hold(id), [entry(1)])
                for _ in range(5):
                    await store.executions(OWNER, [id])
                assert seen == {True}  # the looks; what is to be written waits
                # Were the loop to wait for the lock, nobody would get here to let it go.
                other.execute("COMMIT")
    assert seen == {True, False}
    assert (await store.transcripts(OWNER, [id]))[id].stdout == b"42\n"
    await store.close()


async def test_who_comes_while_a_thread_writes_waits_for_his_turn(store: Store) -> None:
    id, begins, may_end = await begun(store), anyio.Event(), threading.Event()
    loop_token = anyio.lowlevel.current_token()

    def write(_connection: Connection) -> None:
        anyio.from_thread.run_sync(begins.set, token=loop_token)
        may_end.wait(30)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store._database.write, write)
        await begins.wait()
        with places() as seen:
            async with anyio.create_task_group() as beside:
                beside.start_soon(store.append, hold(id), [entry(1)])
                for _ in range(5):
                    await store.executions(OWNER, [id])
                assert seen == {True}
                may_end.set()
    assert seen == {True, False}


async def test_a_slow_disk_holds_the_loop_up_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await end(store)
    monkeypatch.setattr("app.storage.sqlite._SLOW", 0.0)
    with places() as first:
        await begun(store)
    with places() as later:
        await end(store)
    assert (first, later) == ({True}, {False})


async def test_the_log_is_brought_into_the_file(store: Store, file: Path) -> None:
    id = await begun(store)
    for number in range(400):  # 16 MB in all
        assert await store.append(hold(id), [entry(number, b"x" * 40_000)])
    log = await anyio.Path(f"{file}-wal").stat()
    assert log.st_size < 8_000_000
