"""What a run costs without its sandbox: in Greenroom, and with nothing but the libraries.

    python -m benchmarks.least

`least` is the smallest server of FastAPI, Strawberry and SQLAlchemy that answers the same mutation
with a history: one transaction writes a row before, a second one writes the output and the end. It
runs nothing, knows nobody, limits nothing and logs nothing, and SQLite works in the event loop, so
that no thread is changed. `whole` is all of Greenroom but the sandbox. Both are compared with bare
starts of Python, in turns: what is left of an aim after `least` is what a sandbox may take.
"""

import socket
import sqlite3
import statistics
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from enum import Enum
from uuid import UUID, uuid4

import anyio
import strawberry
import uvicorn
from fastapi import FastAPI
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, ForeignKey, create_engine, event, insert, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.fastapi import GraphQLRouter

from app.languages import all_languages
from benchmarks.overhead import cpu_time, started
from benchmarks.subjects import EXPECTED, PAUSE, Service, Subject, bare

AT_ONCE = 8
ROUNDS = 5


class Base(DeclarativeBase):
    """What rows have in common."""


class ExecutionRow(Base):
    """A run."""

    __tablename__ = "executions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    language: Mapped[str]
    source: Mapped[str]
    status: Mapped[str]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    exit_code: Mapped[int | None]
    wall_time: Mapped[float | None]


class OutputRow(Base):
    """What it wrote."""

    __tablename__ = "execution_output"

    execution: Mapped[UUID] = mapped_column(ForeignKey("executions.id"), primary_key=True)
    data: Mapped[str]


@strawberry.enum
class LanguageId(Enum):
    """What can be asked for."""

    PYTHON = "PYTHON"


@strawberry.input
class ExecuteCodeInput:
    """A program."""

    language: LanguageId
    source: str


@strawberry.type
class Usage:
    """What it took."""

    wall_time_ms: float


@strawberry.type
class Execution:
    """A run."""

    status: str
    stdout: str
    exit_code: int
    usage: Usage


@strawberry.type
class UserError:
    """What was wrong."""

    message: str


@strawberry.type
class ExecuteCodePayload:
    """An answer."""

    execution: Execution | None
    errors: list[UserError]


@strawberry.type
class Query:
    """There must be one."""

    ok: bool = True


def schema_on(engine: Engine) -> strawberry.Schema:
    """Make a schema whose runs are rows, and say hello without a run."""

    @strawberry.type
    class Mutation:
        @strawberry.mutation
        async def execute_code(self, input: ExecuteCodeInput) -> ExecuteCodePayload:
            id, now = uuid4(), datetime.now(UTC)
            values = {"language": input.language.value, "source": input.source, "created_at": now}
            with engine.begin() as connection:
                connection.execute(insert(ExecutionRow).values(id=id, status="RUNNING", **values))
            ended = {"status": "SUCCEEDED", "exit_code": 0, "wall_time": 0.25}
            with engine.begin() as connection:
                connection.execute(insert(OutputRow).values(execution=id, data=EXPECTED))
                connection.execute(
                    update(ExecutionRow)
                    .where(ExecutionRow.id == id)
                    .values(finished_at=datetime.now(UTC), **ended)
                )
            execution = Execution(
                status="SUCCEEDED", stdout=EXPECTED, exit_code=0, usage=Usage(wall_time_ms=250)
            )
            return ExecuteCodePayload(execution=execution, errors=[])

    # Greenroom keeps what it has parsed and validated as well.
    parsed, validated = ParserCache(), ValidationCache()
    return strawberry.Schema(Query, Mutation, extensions=[lambda: parsed, lambda: validated])


def database(folder: str) -> Engine:
    """Make a database that keeps as much of what is written as Greenroom's."""
    engine = create_engine(f"sqlite:///{folder}/least.db")

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    Base.metadata.create_all(engine)
    return engine


async def serve() -> None:
    """Serve until the process is ended; prints the port."""
    app = FastAPI(openapi_url=None)
    with tempfile.TemporaryDirectory() as folder:
        app.include_router(GraphQLRouter(schema_on(database(folder))), prefix="/graphql")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            print(listener.getsockname()[1], flush=True)
            config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False)
            await uvicorn.Server(config).serve(sockets=[listener])


def measured(subject: Subject, pid: int, runs: int) -> list[float]:
    """Return the p50 of runs that come now and then, and the CPU time of one: alone, and of 8."""
    figures = [statistics.median(subject.measure(runs=runs, at_once=1, pause=PAUSE).each)]
    for at_once in (1, AT_ONCE):
        before = cpu_time(pid)
        subject.measure(runs=4 * runs, at_once=at_once)
        figures.append((cpu_time(pid) - before) / (4 * runs))
    return figures


def main(runs: int) -> None:
    """Measure and print."""
    language = all_languages()["PYTHON"]
    with ExitStack() as stack:
        baseline = stack.enter_context(bare(language))
        subjects: dict[str, tuple[Subject, int]] = {"a bare start": (baseline, baseline.pid)}
        for name, *command in (
            ("the libraries and nothing else", "benchmarks.least", "serve"),
            ("all but the sandbox", "benchmarks.stub", "whole"),
        ):
            pid, port = stack.enter_context(started(*command))
            subjects[name] = Service(port, language), pid
        for subject, pid in subjects.values():
            measured(subject, pid, 10)
        turns = [[measured(*each, runs) for each in subjects.values()] for _ in range(ROUNDS)]
    names = ("p50", "CPU", f"CPU, {AT_ONCE} at once")
    table = Table("", *(column for name in names for column in (f"{name}, ms", "/ bare")))
    for name, figures in zip(subjects, zip(*turns, strict=True), strict=True):
        cells = []
        for part in range(len(names)):
            ratios = [each[part] / turn[0][part] for each, turn in zip(figures, turns, strict=True)]
            cells += [
                f"{statistics.median(each[part] for each in figures) * 1e3:.2f}",
                f"{statistics.median(ratios):.2f}",
            ]
        table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    if "serve" in sys.argv:
        anyio.run(serve, backend_options={"use_uvloop": True})
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
