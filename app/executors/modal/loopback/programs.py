"""Programs in a box, each with three pipes of its own, and how they ended."""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio
import anyio.abc

from app.domain.errors import ExecutorError
from app.executors.modal.loopback.bytelog import ByteLog
from app.executors.modal.loopback.cell import Cell, Kind, Record
from app.executors.modal.loopback.stdin import Stdin

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as a shell says it


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run in a box."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str
    timeout: float | None = None
    """Seconds after which it is killed."""
    stdout: bool = True
    stderr: bool = True
    """Whether the output is kept; what is not goes nowhere."""


@dataclass(slots=True)
class Program:
    """One program: what it wrote, what it is given, and its end."""

    number: int
    stdin: Stdin
    stdout: ByteLog = field(default_factory=ByteLog)
    stderr: ByteLog = field(default_factory=ByteLog)
    started: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)
    status: int | None = None
    """The raw wait status; none while it runs, and none when its box died first."""

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return not self.ended.is_set()

    def forget(self) -> None:
        """Let go of what it wrote: its worker is gone, and nobody can ask for it again."""
        self.stdout, self.stderr = ByteLog(), ByteLog()
        self.stdout.close()
        self.stderr.close()

    def end(self, status: int | None) -> None:
        """Write down how it ended."""
        self.status = status
        self.stdin.close()
        self.started.set()
        self.ended.set()


class Programs:
    """Starts programs through process 1 of a box, and hears from it how they end."""

    def __init__(self, cell: Cell, tasks: anyio.abc.TaskGroup) -> None:
        self._cell, self._tasks = cell, tasks
        self._programs: list[Program] = []

    @property
    def is_any_running(self) -> bool:
        """Whether one has not ended."""
        return any(program.is_running for program in self._programs)

    def start(self, command: Command) -> Program:
        """Start a program; wait for `started` to know that it is there.

        Raises:
            OSError: the box is gone, or the command is too long.
        """
        inside, stdin = os.pipe()
        program = Program(len(self._programs), Stdin(stdin))
        outputs = [
            self._output(program.stdout, kept=command.stdout),
            self._output(program.stderr, kept=command.stderr),
        ]
        self._programs.append(program)
        self._tasks.start_soon(program.stdin.feed)
        try:
            order = ("start", program.number, list(command.argv), dict(command.environment))
            self._cell.send((*order, command.folder), [inside, *outputs])
        except OSError:
            program.end(None)
            raise
        finally:
            for descriptor in (inside, *outputs):
                os.close(descriptor)
        if command.timeout:
            self._tasks.start_soon(self._kill_after, program, command.timeout)
        return program

    async def listen(self) -> None:
        """Take what process 1 says, until it hangs up; nonsense ends its box."""
        try:
            while True:
                self._take(await self._cell.receive())
        except ExecutorError:
            self._cell.kill()

    def end(self) -> None:
        """End those that the box took with it."""
        for program in self._programs:
            if program.is_running:
                program.end(None)

    def _output(self, log: ByteLog, *, kept: bool) -> int:
        """Return the descriptor that the program writes to."""
        if not kept:
            log.close()
            return os.open(os.devnull, os.O_WRONLY)
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self._tasks.start_soon(log.fill, reader)
        return writer

    def _take(self, record: Record) -> None:
        if not 0 <= record.number < len(self._programs):
            return
        program = self._programs[record.number]
        match record.kind:
            case Kind.STARTED:
                program.started.set()
            case Kind.FAILED:
                found = record.value != errno.ENOENT
                program.end((_NOT_EXECUTABLE if found else _NOT_FOUND) << 8)
            case Kind.ENDED:
                program.end(record.value)
            case Kind.READY:
                pass

    async def _kill_after(self, program: Program, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await program.ended.wait()
            return
        self._cell.send(("kill", program.number))
