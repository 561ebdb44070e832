"""The application in this process: the real sandbox, a real SQLite file, HTTP without a network."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import Engine, event

from app.domain.ports import Executor
from app.executor_factory import local_executor
from app.executors.local.executor import LocalExecutor
from app.main import create_app, open_services
from app.settings import Settings
from app.storage.migrations import migrate
from tests.hosted import hosted

from .client import Api


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_developer() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in tuple(os.environ):
            if name.startswith("GREENROOM_"):
                patch.delenv(name)
        yield


def settings_of(**changes: Any) -> Settings:
    """Return settings that no `.env` has a part in."""
    return Settings(_env_file=None, **changes)


@pytest.fixture(scope="package")
async def executor(no_settings_of_the_developer: None) -> AsyncIterator[LocalExecutor]:
    async with hosted(local_executor(settings_of())) as executor:
        yield executor


@pytest.fixture(scope="session")
async def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database that is migrated and empty."""
    path = tmp_path_factory.mktemp("template") / "greenroom.db"
    await migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def database(template: Path, tmp_path: Path) -> Path:
    """Return a database of this test's own."""
    return Path(shutil.copy(template, tmp_path / "greenroom.db"))


class Open(Protocol):
    """Opens an application around the test's database; anything about it can be changed."""

    def __call__(
        self, executor: Executor | None = None, **changes: Any
    ) -> AbstractAsyncContextManager[Api]: ...


@pytest.fixture
def open_api(database: Path, executor: LocalExecutor) -> Open:
    real: Executor = executor

    @asynccontextmanager
    async def open_one(executor: Executor | None = None, **changes: Any) -> AsyncIterator[Api]:
        settings = settings_of(**{"database_url": f"sqlite:///{database}"} | changes)
        opened = open_services(settings, lambda *_: nullcontext(executor or real))
        async with (
            hosted(opened) as services,
            client_of(create_app(settings, services)) as api,
        ):
            yield api

    return open_one


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[Api]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost:8000", timeout=60
    ) as http:
        yield Api(http)


@pytest.fixture
async def api(open_api: Open) -> AsyncIterator[Api]:
    async with open_api() as api:
        yield api


Statements: TypeAlias = list[str]


@pytest.fixture
def statements() -> Iterator[Statements]:
    """Collect what is sent to the database."""
    sent = Statements()

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield sent
    event.remove(Engine, "before_cursor_execute", note)
