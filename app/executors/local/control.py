"""The server's end of a cell's control socket: jobs out, records in.

A record has a fixed size and comes from our init, which the program cannot reach; it is read
as if it were hostile all the same. `init.py` is the other end.
"""

import array
import marshal
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import anyio

from app.domain.errors import ExecutorError
from app.domain.execution import File
from app.domain.ports import Collect
from app.executors.collecting import Collected

_RECORD = struct.Struct("<1siddq200s")
_DESCRIPTOR = struct.Struct("i")
_HUNG_UP = "the cell hung up"
_MARSHAL_VERSION = 2  # understood by every Python 3, whichever runs as init


class Kind(Enum):
    """What a record tells."""

    READY = b"R"
    STARTED = b"S"
    EXITED = b"X"
    FILE = b"F"
    NO_MORE = b"N"
    ERROR = b"E"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One message of an init. Times in seconds, memory in bytes."""

    kind: Kind
    number: int
    """EXITED: the raw wait status. ERROR: an errno. FILE: whether it is executable.
    NO_MORE: how many files are left out."""
    wall_time: float
    cpu_time: float
    peak_memory: int
    """FILE: its size, and as many bytes follow."""
    text: str
    """ERROR: the step that failed. FILE: its path. EXITED: not empty when files follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that an init needs to run one program."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    files: Mapping[str, bytes]
    disk: int
    inodes: int
    rlimits: tuple[tuple[int, int], ...]
    seccomp: bytes
    collect: Mapping[str, object] | None = None
    """The fields of a `Collect`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What the init of a warm cell gets before the job: all that does not depend on it."""

    kind: str
    argv: tuple[str, ...]
    """What is started ahead, if it is."""
    known: int
    """How many of the job's words are known by then: the others are the program's arguments."""
    environment: Mapping[str, str]
    covered: tuple[str, ...]
    disk: int
    inodes: int
    seccomp: bytes


class Control:
    """The socket that leads to one init."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)  # noqa: FBT003 - the standard library's own
        self._socket = connection

    async def send(self, job: Job | Part, descriptors: Sequence[int]) -> None:
        """Send the job and copies of the descriptors: stdin, stdout, stderr, then cgroups.

        In a warm cell the descriptors go with the first part, and none with the job.

        Raises:
            ExecutorError: the cell is gone.
        """
        fields = {name: getattr(job, name) for name in type(job).__slots__}
        fields |= {
            name: dict(value) for name, value in fields.items() if isinstance(value, Mapping)
        }
        payload = marshal.dumps(fields, _MARSHAL_VERSION)
        rights = array.array("i", descriptors)
        head = struct.pack("<I", len(payload))
        try:
            self._socket.sendmsg([head], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
            await self._send_all(memoryview(payload))
        except OSError as error:
            raise ExecutorError(_HUNG_UP) from error

    async def _send_all(self, payload: memoryview) -> None:
        while payload:
            try:
                payload = payload[self._socket.send(payload) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)

    async def receive(self) -> Record:
        """Wait for the next record.

        Raises:
            ExecutorError: the cell is gone, or said something that no init of ours says.
        """
        record, descriptor = await self.receive_with()
        if descriptor is not None:
            os.close(descriptor)
        return record

    async def receive_with(self) -> tuple[Record, int | None]:
        """Wait for the next record, and a descriptor that may come with it.

        Raises:
            ExecutorError: the cell is gone, or said something that no init of ours says.
        """
        await anyio.wait_readable(self._socket)
        data, descriptor = self._take()
        try:
            return decode(data), descriptor
        except ExecutorError:
            if descriptor is not None:
                os.close(descriptor)
            raise

    async def receive_files(self, collect: Collect) -> Collected:
        """Receive the files that an init sends after its program has ended.

        Raises:
            ExecutorError: they are more than was asked for, or cannot be read.
        """
        collected = Collected(collect)
        while (record := decode(await self._exactly(_RECORD.size))).kind is Kind.FILE:
            collected.expect(record.peak_memory)
            data = await self._exactly(record.peak_memory)
            collected.add(File(path=record.text, data=data, is_executable=bool(record.number)))
        if record.kind is not Kind.NO_MORE:
            raise ExecutorError("the cell sent no files")
        collected.leave_out(record.number)
        return collected

    async def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            await anyio.wait_readable(self._socket)
            try:
                piece = self._socket.recv(min(size - len(data), 1 << 20))
            except OSError as error:
                raise ExecutorError(_HUNG_UP) from error
            if not piece:
                raise ExecutorError(_HUNG_UP)
            data += piece
        return bytes(data)

    async def receive_ready(self) -> int:
        """Wait for the first record and return the pidfd of process 1 that comes with it."""
        record, descriptor = await self.receive_with()
        if descriptor is None:
            raise ExecutorError(describe(record))
        return descriptor

    def _take(self) -> tuple[bytes, int | None]:
        try:
            # `socket.recv_fds` drops its flags, and then every child inherits what comes.
            data, rights, _, _ = self._socket.recvmsg(
                _RECORD.size, socket.CMSG_LEN(_DESCRIPTOR.size), socket.MSG_CMSG_CLOEXEC
            )
        except OSError as error:
            raise ExecutorError(_HUNG_UP) from error
        # There is room for one: the kernel drops any other.
        return data, _DESCRIPTOR.unpack(rights[0][2])[0] if rights else None


def decode(data: bytes) -> Record:
    """Read one record.

    Raises:
        ExecutorError: it is not one.
    """
    try:
        kind, number, wall, cpu, peak, text = _RECORD.unpack(data)
        return Record(
            kind=Kind(kind),
            number=number,
            wall_time=wall,
            cpu_time=cpu,
            peak_memory=peak,
            text=text.rstrip(b"\0").decode(errors="replace"),
        )
    except (struct.error, ValueError) as error:
        message = "the cell ended without a valid report"
        raise ExecutorError(message) from error


def describe(record: Record) -> str:
    """Say what an init reported when it failed."""
    return f"the cell could not {record.text}: {os.strerror(record.number)}"
