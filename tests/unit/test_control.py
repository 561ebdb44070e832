"""The control socket: what an init says is read as if it were hostile, and jobs arrive whole."""

import array
import contextlib
import os
import socket
from collections.abc import Iterator

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import ExecutorError
from app.executors.local import init
from app.executors.local.control import _RECORD, Control, Job, Kind, Record, decode, describe

Pair = tuple[Control, socket.socket]

KINDS = st.sampled_from([kind.value for kind in Kind])
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Give a control and the other end, on which a test plays init."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Control(ours), theirs


def record(kind: bytes = b"X", number: int = 0, text: bytes = b"") -> bytes:
    return _RECORD.pack(kind, number, 1.5, 0.5, 4096, text)


def job(**changes: object) -> Job:
    fields: dict[str, object] = {
        "argv": ("/usr/bin/python3", "/box/main.py", "ü", ""),
        "environment": {"PATH": "/bin"},
        "files": {"main.py": b"\0\xff\n"},
        "disk": 1,
        "inodes": 2,
        "rlimits": ((1, 2), (3, 4)),
        "seccomp": b"\1\2\3",
    }
    return Job(**(fields | changes))  # type: ignore[arg-type]


# --- Records -------------------------------------------------------------------------------------


@given(st.binary(max_size=300))
def test_any_bytes_are_a_record_or_an_error_of_ours(data: bytes) -> None:
    try:
        assert isinstance(decode(data), Record)
    except ExecutorError:
        assert len(data) != _RECORD.size or data[:1] not in {kind.value for kind in Kind}


@given(st.binary(min_size=_RECORD.size, max_size=_RECORD.size), KINDS)
def test_whatever_follows_a_known_kind_is_readable(data: bytes, kind: bytes) -> None:
    found = decode(kind + data[1:])
    assert found.kind.value == kind
    found.text.encode()  # no lone surrogate: it may go into a log or an answer


@given(KINDS, INT32, st.floats(allow_nan=False), st.floats(allow_nan=False), INT64)
def test_numbers_arrive_as_they_were_sent(
    kind: bytes, number: int, wall: float, cpu: float, peak: int
) -> None:
    expected = Record(
        kind=Kind(kind), number=number, wall_time=wall, cpu_time=cpu, peak_memory=peak, text="step"
    )
    assert decode(_RECORD.pack(kind, number, wall, cpu, peak, b"step")) == expected


def test_both_ends_mean_the_same_record() -> None:
    assert init.RECORD.format == _RECORD.format


def test_a_failed_step_is_told_with_its_error() -> None:
    failed = decode(record(b"E", 28, b"mount /box"))
    assert describe(failed) == "the cell could not mount /box: No space left on device"


# --- The socket ----------------------------------------------------------------------------------


async def test_records_are_received_one_by_one(pair: Pair) -> None:
    control, theirs = pair
    theirs.sendall(record(b"S") + record(b"X", 139))
    assert (await control.receive()).kind is Kind.STARTED
    assert (await control.receive()).number == 139


@pytest.mark.parametrize(
    "said", [b"", b"X", record()[:-1], record(b"?"), b"\0" * _RECORD.size], ids=len
)
async def test_what_is_no_record_is_an_error(pair: Pair, said: bytes) -> None:
    control, theirs = pair
    theirs.sendall(said)
    theirs.close()
    with pytest.raises(ExecutorError, match="without a valid report"):
        await control.receive()


async def test_the_first_record_brings_process_1_and_nobody_inherits_it(pair: Pair) -> None:
    control, theirs = pair
    own = os.pidfd_open(os.getpid())
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [own]))]
    theirs.sendmsg([record(b"R")], rights)
    received = await control.receive_ready()
    assert received != own
    assert not os.get_inheritable(received)
    for descriptor in (own, received):
        os.close(descriptor)


async def test_an_init_that_fails_at_once_is_quoted(pair: Pair) -> None:
    control, theirs = pair
    theirs.sendall(record(b"E", 1, b"set not dumpable"))
    with pytest.raises(ExecutorError, match="could not set not dumpable: Operation not permitted"):
        await control.receive_ready()


@pytest.mark.parametrize("kind", [b"X", b"?"])
async def test_descriptors_that_nobody_asked_for_are_closed(pair: Pair, kind: bytes) -> None:
    control, theirs = pair
    reader, writer = os.pipe()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [writer] * 3))]
    theirs.sendmsg([record(kind)], rights)
    os.close(writer)
    with contextlib.suppress(ExecutorError):
        await control.receive()
    assert os.read(reader, 1) == b""  # nobody holds the other end
    os.close(reader)


async def test_a_job_arrives_whole_with_its_descriptors(pair: Pair) -> None:
    control, theirs = pair
    sent = job(files={"main.py": os.urandom(2 << 20)})  # more than a socket holds
    reader, writer = os.pipe()
    received: list[tuple[dict[str, object], list[int]]] = []

    async def play_init() -> None:
        received.append(await anyio.to_thread.run_sync(init.receive_job, theirs))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(play_init)
        await control.send(sent, [reader, writer])
    ((fields, descriptors),) = received
    assert fields == {name: getattr(sent, name) for name in Job.__slots__}
    os.write(descriptors[1], b"through")
    assert os.read(descriptors[0], 7) == b"through"
    for descriptor in (reader, writer, *descriptors):
        os.close(descriptor)


async def test_a_job_for_a_dead_cell_is_an_error_of_ours(pair: Pair) -> None:
    control, theirs = pair
    theirs.close()
    with pytest.raises(ExecutorError, match="the cell hung up"):
        await control.send(job(), [])


async def test_a_cell_that_dies_while_its_job_is_sent_is_an_error_of_ours(pair: Pair) -> None:
    control, theirs = pair

    async def send() -> None:
        with pytest.raises(ExecutorError, match="the cell hung up"):
            await control.send(job(files={"main.py": bytes(8 << 20)}), [])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        await anyio.wait_readable(theirs)  # the first of it is here, and it waits for room
        theirs.close()
