"""A started cell: bubblewrap, process 1 of the box in it, and how both are ended."""

import contextlib
import json
import marshal
import os
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from app.domain.errors import ExecutorError
from app.executors.modal.loopback.box_init import MARSHAL_VERSION, RECORD
from app.executors.modal.loopback.host import Host
from app.executors.modal.loopback.view import Descriptors, command_line

_START_TIMEOUT = 15.0  # s; a cell is up in 30 ms, but a host in distress may need longer
_END_TIMEOUT = 5.0  # s; the kernel ends a killed pid namespace at once
_MAX_COMPLAINT = 2000  # bytes of what bubblewrap says when it fails


class Kind(Enum):
    """What a record of process 1 tells."""

    READY = b"R"
    STARTED = b"S"
    FAILED = b"F"
    ENDED = b"E"


@dataclass(frozen=True, slots=True)
class Record:
    """One message of process 1 about the program with a number."""

    kind: Kind
    number: int
    value: int
    """FAILED: an errno. ENDED: the raw wait status."""


@dataclass(slots=True)
class Cell:
    """Process 1 of a box and the socket that leads to it."""

    control: socket.socket
    pid: int
    """In the host's pid namespace."""
    init: int
    """A pidfd of the same."""

    def kill(self) -> None:
        """End process 1 and with it, by the kernel, every process of the box."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.init, signal.SIGKILL)

    async def wait(self) -> None:
        """Wait until no process of the box is left."""
        await anyio.wait_readable(self.init)

    def send(self, order: tuple[Any, ...], descriptors: Sequence[int] = ()) -> None:
        """Send one order; it is small and process 1 is quick, so it is sent at once.

        Raises:
            OSError: the box is gone, or the order is too long.
        """
        payload = marshal.dumps(order, MARSHAL_VERSION)
        socket.send_fds(self.control, [payload], list(descriptors))

    async def receive(self) -> Record:
        """Wait for the next record; what comes out of a box is hostile, so it is checked.

        Raises:
            ExecutorError: the box is gone, or said what no process 1 of ours says.
        """
        await anyio.wait_readable(self.control)
        try:
            kind, number, value = RECORD.unpack(self.control.recv(RECORD.size))
            return Record(Kind(kind), number, value)
        except (OSError, struct.error, ValueError) as error:
            message = "the box hung up"
            raise ExecutorError(message) from error


@contextlib.asynccontextmanager
async def start_cell(host: Host, *, disk: int) -> AsyncIterator[Cell]:
    """Start a cell and wait until its process 1 is ready; on leaving, nothing of it lives.

    Raises:
        ExecutorError: it did not come up; the message has bubblewrap's own words.
    """
    with ExitStack() as ours, ExitStack() as theirs:
        control, inherited, info, block = _descriptors(host, ours, theirs)
        errors = _closing(ours, os.memfd_create("greenroom-errors"))
        lay_out = partial(command_line, host, inherited, disk=disk)
        argv = await anyio.to_thread.run_sync(lay_out)
        # Shielded: a process that was started must not be forgotten.
        with anyio.CancelScope(shield=True):
            process = await host.stage.popen(argv, inherit=list(inherited), errors=errors)
        try:
            theirs.close()
            async with _ending(Cell(control, *await _process_1(host, info, block, errors))) as cell:
                await _ready(cell, errors)
                yield cell
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)


def _descriptors(
    host: Host, ours: ExitStack, theirs: ExitStack
) -> tuple[socket.socket, Descriptors, int, int]:
    control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.setblocking(False)  # noqa: FBT003 - as the library has it
    ours.enter_context(control)
    theirs.enter_context(other)
    info, info_writer = os.pipe()
    block_reader, block = os.pipe()
    for descriptor in (info, block):
        os.set_blocking(descriptor, False)
        _closing(ours, descriptor)
    inherited = Descriptors(
        control=other.fileno(),
        info=_closing(theirs, info_writer),
        block=_closing(theirs, block_reader),
        seccomp=_closing(theirs, os.open(host.folder / "filter", os.O_RDONLY)),
    )
    return control, inherited, info, block


async def _process_1(host: Host, info: int, block: int, errors: int) -> tuple[int, int]:
    """Learn which process it will be, and map its ids; it waits for them."""
    with _explained(errors), anyio.fail_after(_START_TIMEOUT):
        pid = await _child(info)
        if host.has_two_uids:
            await anyio.to_thread.run_sync(_map_ids, pid, host.id_map)
            os.write(block, b"1")
        return pid, os.pidfd_open(pid)


async def _ready(cell: Cell, errors: int) -> None:
    with _explained(errors), anyio.fail_after(_START_TIMEOUT):
        await cell.receive()


@contextlib.contextmanager
def _explained(errors: int) -> Iterator[None]:
    """Turn any failure to come up into one with bubblewrap's own words."""
    try:
        yield
    except (TimeoutError, OSError, ValueError, KeyError, ExecutorError) as error:
        complaint = os.pread(errors, _MAX_COMPLAINT, 0).decode(errors="replace").strip()
        message = f"no box was ready: {complaint or error}"
        raise ExecutorError(message) from error


async def _child(info: int) -> int:
    """Read from bubblewrap which process will be process 1."""
    said = b""
    while b"}" not in said:
        await anyio.wait_readable(info)
        if not (more := os.read(info, 4096)):
            break
        said += more
    return int(json.loads(said)["child-pid"])


def _map_ids(pid: int, lines: str) -> None:
    for name in ("uid_map", "gid_map"):
        Path("/proc", str(pid), name).write_text(lines)


@contextlib.asynccontextmanager
async def _ending(cell: Cell) -> AsyncIterator[Cell]:
    try:
        yield cell
    finally:
        cell.kill()
        with anyio.move_on_after(_END_TIMEOUT, shield=True):
            await cell.wait()
        os.close(cell.init)


async def _end(process: "subprocess.Popen[bytes]") -> None:
    """End and reap bubblewrap; process 1 is gone, or was never there."""
    with ExitStack() as stack:
        pidfd = _closing(stack, os.pidfd_open(process.pid))  # before `kill`, which may reap
        process.kill()
        await anyio.wait_readable(pidfd)
    process.wait()


def _closing(stack: ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor
