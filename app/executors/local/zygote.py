"""The server's end of a fork server: a process up and ready, from which warm cells are forked."""

import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from enum import Enum

import anyio

from app.domain.language import Runtime, Toolchain
from app.domain.limits import Limits
from app.executors.local.bubblewrap import isolated, warm_command_line
from app.executors.local.cell import end, executor_error
from app.executors.local.control import Control
from app.executors.local.stage import FORK_SERVER, PRELOAD, Stage

# Gives a process exactly this environment, where bubblewrap would add PWD, and plain signals. It
# stays until we close the pipe: with bubblewrap's first child all runs that have begun would end.
_KEEPER = """
import _signal, posix, sys
if posix.fork():
    posix.closerange(1, 1 << 20)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
    while posix.read(0, 1):
        pass
    posix._exit(0)
for number in _signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP}:
    _signal.signal(number, _signal.SIG_DFL)
_signal.pthread_sigmask(_signal.SIG_SETMASK, ())
at = sys.argv.index("--")
argv = sys.argv[at + 1 :]
posix.execve(argv[0], argv, dict(each.split("=", 1) for each in sys.argv[1:at]))
"""
_MOST_FORKS = 2000
_LONGEST_LIFE = 1800.0  # s


class Kind(Enum):
    """What a process of a warm cell does to become the program."""

    RETURN = "return"
    """It is the interpreter already, forked, and goes on with its own start."""
    PRELOAD = "preload"
    """It has started the interpreter, which waits."""
    EXEC = "exec"
    """It starts the executable only then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How warm cells of one language are made."""

    kind: Kind
    line: tuple[str, ...]
    """What starts the fork server."""
    covered: tuple[str, ...]
    """Folders of the fork server's own cell that its children cover."""
    argv: tuple[str, ...]
    """What the program will have been started with, before its own arguments."""
    started: tuple[str, ...]
    """What is really started ahead, for PRELOAD."""
    environment: Mapping[str, str]
    limits: Limits
    """What it is made ready for; a slot takes others when it is taken, but not at no cost."""

    def fits(self, argv: Sequence[str], environment: Mapping[str, str]) -> bool:
        """Tell whether what waits can become what is asked for."""
        begins = tuple(argv[: len(self.argv)]) == self.argv
        return self.kind is Kind.EXEC or (begins and environment == self.environment)


def recipe_for(
    stage: Stage,
    toolchains: tuple[Toolchain, Toolchain],
    start: tuple[Sequence[str], Mapping[str, str]],
    limits: Limits,
    runtime: Runtime | None,
) -> Recipe:
    """Say how to keep cells warm for what is started in this way.

    Args:
        stage: what cells are made from.
        toolchains: that of our own files, and that of the programs.
        start: what the programs are started with, before their own arguments; their environment.
        limits: what they have by default.
        runtime: what runs them.
    """
    interpreter, toolchain = toolchains
    argv, environment = start
    line, covered = warm_command_line(
        stage, interpreter, toolchain, is_within=runtime is Runtime.CPYTHON
    )
    kind = Kind.EXEC
    command = [*isolated(interpreter), f"/greenroom/{FORK_SERVER}"]
    started = tuple(argv)
    if runtime is Runtime.CPYTHON and covered:
        kind, command = Kind.RETURN, list(argv)
    if runtime is Runtime.NODE:
        kind, started = Kind.PRELOAD, (argv[0], "--require", f"/greenroom/{PRELOAD}", *argv[1:])
    pairs = [f"{name}={value}" for name, value in environment.items()]
    return Recipe(
        kind=kind,
        line=(*line, *isolated(interpreter), "-c", _KEEPER, *pairs, "--", *command),
        covered=tuple(covered),
        argv=tuple(argv),
        started=started,
        environment=environment,
        limits=limits,
    )


class Zygote:
    """A running fork server."""

    def __init__(
        self, control: socket.socket, owner: int | None, errors: int, process: int
    ) -> None:
        self._control, self._errors = control, errors
        self.process = process
        """The pid of the bubblewrap outside; everything that comes out of it descends from that."""
        self.owner = owner
        """The host's user id of all that lives in its cells, if it is not the server's own."""
        self._forks, self._held = 0, 0
        self._old_at = anyio.current_time() + _LONGEST_LIFE
        self._is_retired = False
        self.ended = anyio.Event()
        """Set when it is retired and nobody holds anything of it."""

    @property
    def is_old(self) -> bool:
        """Whether it is time for another: all that comes out of it shares a hash seed."""
        return self._forks >= _MOST_FORKS or anyio.current_time() > self._old_at

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep it alive, even when it is retired."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self._end_if_unused()

    def retire(self) -> None:
        """Let it end with the last that came out of it."""
        self._is_retired = True
        self._end_if_unused()

    def _end_if_unused(self) -> None:
        if self._is_retired and not self._held:
            self.ended.set()

    def fork(self, ends: ExitStack) -> Control:
        """Ask for an init, and return the way to it; it says READY when it has its first part.

        Raises:
            ExecutorError: the fork server is gone.
        """
        self._forks += 1
        with executor_error("the fork server hung up"):
            ours, theirs = socket.socketpair()
            ends.callback(ours.close)
            with theirs:
                rights = struct.pack("i", theirs.fileno())
                self._control.sendmsg([b"f"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        return Control(ours)

    def complaint(self) -> str:
        """Return what it wrote to its standard error, which is nothing as long as it is well."""
        try:
            return os.read(self._errors, 2000).decode(errors="replace").strip()
        except BlockingIOError:
            return ""


@asynccontextmanager
async def start_zygote(stage: Stage, recipe: Recipe) -> AsyncIterator[Zygote]:
    """Start a fork server; on leaving, it and all that came out of it have ended.

    Its standard streams are pipes like a program's: by them an interpreter decides how it buffers.

    Raises:
        ExecutorError: it could not be started.
    """
    with ExitStack() as resources:
        with executor_error("no fork server could be started"):
            ours, theirs = map(resources.enter_context, socket.socketpair())
            ours.setblocking(False)  # noqa: FBT003 - the standard library's own
            stdin = os.pipe()
            resources.callback(os.close, stdin[0])
            stdout, stderr = (_pipe(resources) for _ in range(2))
            os.set_blocking(stderr[0], False)
            # Shielded: a process that was started must not be forgotten.
            with anyio.CancelScope(shield=True):
                process = await stage.popen(
                    [*recipe.line],
                    inherit=[theirs.fileno()],
                    stdio=(stdin[0], stdout[1]),
                    errors=stderr[1],
                )
        try:
            theirs.close()
            yield Zygote(ours, stage.uid, stderr[0], process.pid)
        finally:
            ours.close()
            os.close(stdin[1])
            with anyio.CancelScope(shield=True):
                await end(process)


def _pipe(resources: ExitStack) -> tuple[int, int]:
    reader, writer = os.pipe()
    for descriptor in (reader, writer):
        resources.callback(os.close, descriptor)
    return reader, writer
