"""Serves the whole application on an executor that runs nothing, or a bare JSON answer beside it.

    python -m benchmarks.stub bare | whole | api

`whole` is all of Greenroom but the sandbox, with a database of its own; `api` answers from memory
in place of the executions and the history as well. Prints the port.
"""

import dataclasses
import json
import logging
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from typing import Any, cast
from uuid import UUID

import anyio
import uvicorn

from app.connections import Http
from app.domain.execution import (
    Execution,
    Exit,
    Output,
    Program,
    Stream,
    Submission,
    Transcript,
    Usage,
)
from app.domain.language import Language
from app.domain.limits import Limits
from app.domain.ports import Command, Emit, Executor, ExecutorState, Placed, Sandbox, Support
from app.executions.service import ExecutionService, Waited
from app.main import create_app, open_services
from app.settings import Settings
from app.storage.migrations import migrate
from benchmarks.subjects import EXPECTED

ROWS = 60  # in the history
ANSWER = b'{"data":{"executeCode":{"execution":{"id":"RXhlY3V0aW9uOjAxOT","status":"SUCCEEDED"}}}}'
_SAID = Transcript(stdout=EXPECTED.encode())
App = Callable[..., Awaitable[None]]


class StubSandbox:
    """Runs nothing, and says hello."""

    async def write(self, files: Mapping[str, bytes]) -> None:
        """Need no files."""

    async def run(self, command: Command, emit: Emit) -> Exit:
        """Answer at once."""
        del command
        await emit(Output(stream=Stream.STDOUT, data=EXPECTED.encode()))
        return Exit(code=0, usage=Usage(wall_time=0.25, cpu_time=0.125, peak_memory=1024))


class StubExecutor:
    """A place where nothing runs."""

    name = "stub"

    def state(self) -> ExecutorState:
        """Be well."""
        return ExecutorState(counts_exactly=False)

    async def check(self) -> None:
        """Work."""

    def supports(self, language: Language) -> Support:
        """Support everything."""
        del language
        return Support(versions=("1.2.3",))

    @asynccontextmanager
    async def sandbox(
        self,
        language: Language,
        limits: Limits,
        placed: Placed | None = None,
        *,
        version: str | None = None,
        environment: str | None = None,
    ) -> AsyncIterator[Sandbox]:
        """Give what runs nothing."""
        del language, limits, placed, version, environment
        yield StubSandbox()

    async def reattach(self, *_: Any, **__: Any) -> Exit | None:
        """Find nothing."""
        return None


class Remembered:
    """Stands for the executions and the history: one execution, that has ended."""

    registry = None  # of keys, of which nobody has one here

    def __init__(self, executions: Any, execution: Execution) -> None:
        self.rules, self.executor = executions.rules, executions.executor
        self._execution = execution

    async def submit(self, submission: Submission, noting: object) -> Execution:
        """Have run it before."""
        del submission, noting
        return self._execution

    async def wait(self, accepted: Execution, seconds: float) -> Waited:
        """Have the end, and all that it has written."""
        del seconds
        return Waited(execution=accepted, transcript=_SAID)

    def busy(self, execution: Execution) -> None:
        """Have had a sandbox."""

    async def transcripts(self, owner: str, ids: Sequence[UUID], **_: Any) -> Any:
        """Have written hello."""
        del owner
        return dict.fromkeys(ids, _SAID)


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """Read a request as JSON, and answer with JSON."""
    del scope
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    json.loads(body)
    answer = json.dumps(json.loads(ANSWER)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


@asynccontextmanager
async def application(kind: str) -> AsyncIterator[App]:
    """Open what is served."""
    if kind == "bare":
        yield bare
        return
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/stub.db"
        await migrate(url)
        settings = Settings(_env_file=None, database_url=url)
        stub = cast("Executor", StubExecutor())
        async with open_services(settings, lambda *_: nullcontext(stub)) as services:
            execution = await _fill(services.executions)
            remembered = cast("Any", Remembered(services.executions, execution))
            from_memory = dataclasses.replace(services, executions=remembered, history=remembered)
            yield create_app(settings, from_memory if kind == "api" else services)


async def _fill(executions: ExecutionService) -> Execution:
    """Run so many programs, and return the last execution."""
    submission = Submission(
        owner="local",
        program=Program(language="PYTHON", source="print(42)"),
        limits=executions.rules.defaults,
    )
    waited = [await executions.wait(await executions.submit(submission), 10) for _ in range(ROWS)]
    return waited[-1].execution


async def main(kind: str) -> None:
    """Serve until the process is ended."""
    logging.disable(logging.CRITICAL)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with application(kind) as app:
            config = uvicorn.Config(
                cast("Any", app),
                http=Http,
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_keep_alive=600,  # others are measured meanwhile
            )
            print(listener.getsockname()[1], flush=True)
            await uvicorn.Server(config).serve(sockets=[listener])


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], backend_options={"use_uvloop": True})
