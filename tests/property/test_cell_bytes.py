"""Whatever comes out of a cell, in whatever pieces, is a value or an error of ours."""

import contextlib
import posixpath
import socket
from collections.abc import Sequence

import anyio
import anyio.lowlevel
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import ExecutorError
from app.domain.ports import Collect
from app.executors.collecting import Collected
from app.executors.local.control import _RECORD, Control, Kind, Record

# A record that could be one of ours, with numbers that nobody of ours would send.
RECORDS = st.builds(
    _RECORD.pack,
    st.sampled_from([each.value for each in Kind]),
    st.integers(-(2**31), 2**31 - 1),
    st.floats(allow_nan=True),
    st.floats(allow_nan=True),
    st.one_of(st.integers(0, 64), st.integers(-(2**63), 2**63 - 1)),
    st.binary(max_size=210),
)
# A file as ours would send it, but for its path and its count.
PATHS = st.sampled_from(
    [
        "bin/a",
        "bin/../a",
        "bin//a",
        "bin/",
        "bin",
        "/bin/a",
        "a",
        "bin/a\n",
        "bin/\u202ea",
        "bin/\xff",
    ]
)
FILES = st.builds(
    lambda path, data: _RECORD.pack(b"F", 1, 0, 0, len(data), path.encode()) + data,
    st.one_of(PATHS, st.text(max_size=20).map("bin/".__add__)),
    st.binary(max_size=400),
)
ENDS = st.builds(lambda count: _RECORD.pack(b"N", count, 0, 0, 0, b""), st.integers(-2, 2**31 - 1))
STREAMS = st.lists(st.one_of(FILES, ENDS, RECORDS, st.binary(max_size=300)), max_size=6).map(
    b"".join
)
PIECES = st.lists(st.integers(1, 300), max_size=20)
COLLECT = Collect(folder="bin", files=4, size=1000)
deep = settings(max_examples=300)


async def send(theirs: socket.socket, data: bytes, sizes: Sequence[int]) -> None:
    """Send it piece by piece, and hang up."""
    for size in sizes:
        with contextlib.suppress(BrokenPipeError):
            theirs.sendall(data[:size])
        data = data[size:]
        await anyio.lowlevel.checkpoint()
    with contextlib.suppress(BrokenPipeError):
        theirs.sendall(data)
    theirs.close()


@deep
@given(data=STREAMS, sizes=PIECES)
async def test_records(data: bytes, sizes: list[int]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        control = Control(ours)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, theirs, data, sizes)
            with contextlib.suppress(ExecutorError):
                while True:
                    assert isinstance(await control.receive(), Record)


@deep
@given(data=STREAMS, sizes=PIECES)
async def test_products(data: bytes, sizes: list[int]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        collected = Collected(COLLECT)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, theirs, data, sizes)
            with contextlib.suppress(ExecutorError):
                collected = await Control(ours).receive_files(COLLECT)
        check(collected)


def check(collected: Collected) -> None:
    """Nothing beyond what was asked for, and every path is one below the folder and shows it."""
    files = collected.files
    assert len({each.path for each in files}) == len(files) <= COLLECT.files
    assert sum(len(each.data) for each in files) <= COLLECT.size
    assert 0 <= collected.left_out <= 2_000_000
    for each in files:
        assert posixpath.normpath(each.path) == each.path
        assert each.path.startswith("bin/")
        assert each.path.isprintable()


@deep
@given(contents=st.lists(st.binary(max_size=200), max_size=4), sizes=PIECES)
async def test_a_product_arrives_whole_in_any_pieces(
    contents: list[bytes], sizes: list[int]
) -> None:
    said = b"".join(
        _RECORD.pack(b"F", 1, 0, 0, len(data), b"bin/%d" % at) + data
        for at, data in enumerate(contents)
    )
    said += _RECORD.pack(b"N", 0, 0, 0, 0, b"")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, theirs, said, sizes)
            collected = await Control(ours).receive_files(COLLECT)
    assert [each.data for each in collected.files] == contents
