"""A started cell: bubblewrap, the init in it, and how both are ended."""

import contextlib
import os
import select
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial

import anyio

from app.domain.errors import ExecutorError
from app.executors.local.control import Control
from app.executors.local.pipes import End
from app.executors.local.stage import Stage

_START_TIMEOUT = 15.0  # s; a cell is up in 20 ms, but a host in distress may need longer
_END_TIMEOUT = 5.0  # s; the kernel ends a killed pid namespace at once
_MAX_COMPLAINT = 2000  # bytes of what bubblewrap says when it fails


class Cell:
    """Process 1 of a cell and the socket that leads to it."""

    def __init__(self, control: Control, init: int, owner: int | None) -> None:
        self.control = control
        self.init = init
        """A pidfd that came out of the cell: it cannot stand for anybody else."""
        self.owner = owner
        """The host's user id of all that lives in the cell, if it is not the server's own."""
        self.pipes: list[End] | None = None
        """Our ends of the program's stdin, stdout and stderr, where init has the others already."""

    def is_alive(self) -> bool:
        """Tell whether process 1 is there."""
        poll = select.poll()
        poll.register(self.init, select.POLLIN)
        return not poll.poll(0)

    def kill(self) -> None:
        """End process 1 and with it, by the kernel, every process of the cell."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.init, signal.SIGKILL)

    async def wait(self) -> None:
        """Wait until no process of the cell is left.

        Raises:
            ExecutorError: the kernel did not end them in time.
        """
        if not self.is_alive():
            return
        try:
            with anyio.fail_after(_END_TIMEOUT):
                await anyio.wait_readable(self.init)
        except TimeoutError as error:
            message = f"the cell did not end within {_END_TIMEOUT:g} s"
            raise ExecutorError(message) from error


class Start:
    """A cell that is on its way: its init starts while we do something else."""

    def __init__(self, control: Control, complaint: Callable[[], str], owner: int | None) -> None:
        self._control, self._complaint, self._owner = control, complaint, owner

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[Cell]:
        """Wait until its init is ready; on leaving, nothing lives in the cell.

        Raises:
            ExecutorError: it did not come up; the message has bubblewrap's own words.
        """
        cell = Cell(self._control, await self._receive_init(), self._owner)
        try:
            yield cell
        finally:
            cell.kill()
            with anyio.CancelScope(shield=True), contextlib.suppress(ExecutorError):
                await cell.wait()
            os.close(cell.init)

    async def _receive_init(self) -> int:
        try:
            with anyio.fail_after(_START_TIMEOUT):
                return await self._control.receive_ready()
        except TimeoutError as error:
            message = f"no cell was ready within {_START_TIMEOUT:g} s"
            raise ExecutorError(message) from error
        except ExecutorError as error:
            complaint = self._complaint()
            message = f"{error}: {complaint}" if complaint else str(error)
            raise ExecutorError(message) from error


@asynccontextmanager
async def start_cell(stage: Stage, command_line: Sequence[str]) -> AsyncIterator[Start]:
    """Start bubblewrap; on leaving, it has left.

    Raises:
        ExecutorError: it could not be started.
    """
    with ExitStack() as resources:
        with executor_error("no cell could be started"):
            ours, theirs = map(resources.enter_context, socket.socketpair())
            errors = resources.enter_context(_complaints())
            argv = [*command_line, str(theirs.fileno())]
            # Shielded: a process that was started must not be forgotten.
            with anyio.CancelScope(shield=True):
                process = await stage.popen(argv, inherit=[theirs.fileno()], errors=errors)
        try:
            theirs.close()
            yield Start(Control(ours), partial(_read, errors), stage.uid)
        finally:
            ours.close()  # an init that has no job yet leaves
            with anyio.CancelScope(shield=True):
                await end(process)


@contextmanager
def executor_error(what: str) -> Iterator[None]:
    """Translate what the operating system refuses us."""
    try:
        yield
    except OSError as error:
        message = f"{what}: {error}"
        raise ExecutorError(message) from error


async def end(process: "subprocess.Popen[bytes]") -> None:
    """Reap bubblewrap, which leaves when its cell does; kill it if it does not."""
    pidfd = os.pidfd_open(process.pid)
    try:
        with anyio.move_on_after(_END_TIMEOUT) as patience:
            await anyio.wait_readable(pidfd)
        if patience.cancelled_caught:
            process.kill()
            await anyio.wait_readable(pidfd)
    finally:
        os.close(pidfd)
    process.wait()


def _read(complaints: int) -> str:
    return os.pread(complaints, _MAX_COMPLAINT, 0).decode(errors="replace").strip()


@contextmanager
def _complaints() -> Iterator[int]:
    """Hold what bubblewrap and init write to their stderr; it needs no reader."""
    descriptor = os.memfd_create("greenroom-errors")
    try:
        yield descriptor
    finally:
        os.close(descriptor)
