"""A box: one sandbox of the loopback server, from its creation to its result."""

import logging
import os
import time
from dataclasses import dataclass, field
from enum import IntEnum

import anyio
import anyio.abc
import anyio.to_thread
from modal_proto import api_pb2

from app.domain.limits import GIB, MIB
from app.executors.modal.loopback.cell import Cell, start_cell
from app.executors.modal.loopback.host import Host
from app.executors.modal.loopback.memory import Meter, metered
from app.executors.modal.loopback.programs import Command, Program, Programs
from app.executors.modal.loopback.view import PATH

log = logging.getLogger(__name__)

_MEMORY_WITHOUT_LIMIT = 2 * GIB  # Modal has no bound then; a developer's machine wants one
_DISK = 512 * MIB  # for each writable folder; what lies there counts as the box's memory too
_LOOK = 0.05  # s between two looks at the clock of idleness
_SIGNALLED = 128
ENTRYPOINT = ""
"""Stands where the id of an exec would."""
_KILLED = 137


class Status(IntEnum):
    """Why a box ended; the numbers are those of Modal's `GenericResult.GenericStatus`."""

    RUNNING = 0
    SUCCESS = 1
    FAILURE = 2
    TERMINATED = 3
    TIMEOUT = 4
    INIT_FAILURE = 5
    INTERNAL_FAILURE = 6
    IDLE_TIMEOUT = 7
    EVICTED = 8
    THRASHING = 9
    OUT_OF_MEMORY = 10


class BoxGone(Exception):
    """The box has ended, or was never there."""


@dataclass(eq=False)
class Box:
    """One sandbox. Times in seconds."""

    id: str
    task_id: str
    app_id: str
    definition: api_pb2.Sandbox
    """As it came over the wire, for assertions."""
    secret_sources: tuple[api_pb2.SecretSource, ...]
    tags: dict[str, str]
    name: str
    created_at: float
    latency: float = 0.0
    """How long it takes to come up, beside what the cell really takes."""
    status: Status = Status.RUNNING
    exit_code: int = 0
    ended_at: float | None = None
    is_forgotten: bool = False
    ready: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)
    programs: dict[str, Program] = field(default_factory=dict)
    """By exec id."""
    cpu_time: float = 0.0
    _verdict: tuple[Status, int] | None = None
    _called_off: anyio.Event = field(default_factory=anyio.Event)
    _cell: Cell | None = None
    _runner: Programs | None = None
    _active_at: float = field(default_factory=time.monotonic)

    @property
    def is_running(self) -> bool:
        """Whether nothing has ended it yet."""
        return self.status is Status.RUNNING and self._verdict is None

    @property
    def result(self) -> api_pb2.GenericResult:
        """The result as the wire has it; its status is 0 while the box lives."""
        return api_pb2.GenericResult(status=int(self.status), exitcode=self.exit_code)  # type: ignore[arg-type]

    def end(self, status: Status, exit_code: int = _KILLED) -> None:
        """Write down why, then kill everything in it; the first reason stands."""
        self._verdict = self._verdict or (status, exit_code)
        self._called_off.set()
        if self._cell is not None:
            self._cell.kill()

    def touch(self) -> None:
        """Note that somebody uses it: idleness begins anew."""
        self._active_at = time.monotonic()

    async def execute(self, exec_id: str, command: Command) -> Program:
        """Start a program, or return the one that was started under this id.

        Raises:
            BoxGone: the box has ended.
        """
        await self.ready.wait()
        if exec_id not in self.programs:
            if not self.is_running or self._runner is None:
                raise BoxGone(self.id)
            try:
                self.programs[exec_id] = self._runner.start(command)
            except BrokenPipeError as error:
                raise BoxGone(self.id) from error
        program = self.programs[exec_id]
        await program.started.wait()
        return program

    def command(self, argv: tuple[str, ...], environment: dict[str, str], folder: str) -> Command:
        """Return a command in the environment that this box was created with."""
        return Command(
            argv=argv,
            environment=self._environment() | environment,
            folder=folder or self.definition.workdir or "/root",
        )

    async def live(self, host: Host) -> None:
        """Be a box until something ends it; everything of it is gone afterwards."""
        try:
            with anyio.move_on_after(self.latency):
                await self._called_off.wait()
            if self._verdict is None:
                await self._live(host)
        except* Exception:
            # Here a task ends: the other boxes, and the server, have to live on.
            log.exception("a box failed", extra={"box": self.id})
            self._verdict = self._verdict or (Status.INIT_FAILURE, 1)
        finally:
            self.status, self.exit_code = self._verdict or (Status.TERMINATED, _KILLED)
            self.ended_at = time.time()
            for exec_id, program in self.programs.items():
                if exec_id != ENTRYPOINT:
                    program.forget()
            self.ready.set()
            self.ended.set()

    async def _live(self, host: Host) -> None:
        limit = self.definition.resources.memory_mb_max * MIB or _MEMORY_WITHOUT_LIMIT
        async with (
            metered(host, limit) as start,
            anyio.create_task_group() as pipes,
            start_cell(host, disk=_DISK) as cell,
        ):
            meter = await start(cell)
            self._cell, self._runner = cell, Programs(cell, pipes)
            try:
                await self._until_the_end(cell, self._runner, meter)
            finally:
                self._cell = None
                self._runner.end()

    async def _until_the_end(self, cell: Cell, runner: Programs, meter: Meter) -> None:
        async with anyio.create_task_group() as watching:
            watching.start_soon(runner.listen)
            watching.start_soon(self._watch_memory, meter)
            watching.start_soon(self._watch_time)
            self.ready.set()
            if self.definition.entrypoint_args:
                watching.start_soon(self._run_entrypoint)
            if self._verdict is None:
                await cell.wait()
            watching.cancel_scope.cancel()
        self.cpu_time = await anyio.to_thread.run_sync(meter.cpu_time)
        if self._verdict is None:
            exceeded = await anyio.to_thread.run_sync(meter.was_exceeded)
            why = Status.OUT_OF_MEMORY if exceeded else Status.INTERNAL_FAILURE
            self._verdict = (why, _KILLED)

    async def _watch_memory(self, meter: Meter) -> None:
        await meter.until_exceeded()
        self.end(Status.OUT_OF_MEMORY)

    async def _watch_time(self) -> None:
        timeout, idle = self.definition.timeout_secs, self.definition.idle_timeout_secs
        began = time.monotonic()
        while True:
            now = time.monotonic()
            if timeout and now - began >= timeout:
                self.end(Status.TIMEOUT, 124)
            if self._runner is not None and self._runner.is_any_running:
                self.touch()
            elif idle and now - self._active_at >= idle:
                self.end(Status.IDLE_TIMEOUT)
            await anyio.sleep(_LOOK if idle else max(0.0, timeout - (now - began)) or 3600)

    async def _run_entrypoint(self) -> None:
        command = self.command(tuple(self.definition.entrypoint_args), {}, "")
        try:
            program = await self.execute(ENTRYPOINT, command)
        except BoxGone:
            return
        await program.ended.wait()
        if program.status is not None:
            code = exit_code(program.status)
            self.end(Status.FAILURE if code else Status.SUCCESS, code)

    def _environment(self) -> dict[str, str]:
        own = {
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PATH": PATH,
            "MODAL_SANDBOX_ID": self.id,
            "MODAL_TASK_ID": self.task_id,
        }
        return own | environment_of(self.secret_sources)


def environment_of(sources: "tuple[api_pb2.SecretSource, ...]") -> dict[str, str]:
    """Add up the variables that came along; secrets by id are none of ours to know."""
    return {name: value for each in sources for name, value in each.env.contents.items()}


def exit_code(status: int) -> int:
    """Return a wait status as a shell would say it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else _SIGNALLED - code
