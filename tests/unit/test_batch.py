"""Output is joined into few writes, and numbered without a gap whatever happens."""

from collections.abc import Sequence

import anyio
import pytest

from app.domain.execution import Output, Stream, Transcript
from app.executions.batch import FLUSH_SIZE, MOST_KEPT, Batch
from app.storage.store import LogEntry


def out(data: bytes) -> Output:
    return Output(stream=Stream.STDOUT, data=data)


def err(data: bytes) -> Output:
    return Output(stream=Stream.STDERR, data=data)


class Log:
    """Keeps what is written; can be made to wait or to fail."""

    def __init__(self) -> None:
        self.writes: list[tuple[LogEntry, ...]] = []
        self.failure: Exception | None = None
        self.may_write = anyio.Event()
        self.may_write.set()

    async def write(self, entries: Sequence[LogEntry]) -> None:
        await self.may_write.wait()
        if self.failure:
            raise self.failure
        self.writes.append(tuple(entries))

    @property
    def entries(self) -> list[tuple[int, Output]]:
        return [(entry.seq, entry.output) for entries in self.writes for entry in entries]


async def test_small_pieces_of_one_stream_are_one_entry() -> None:
    log = Log()
    batch = Batch(log.write)
    for piece in (b"a", b"b", b"c"):
        await batch.emit(out(piece))
    await batch.flush()
    assert log.entries == [(1, out(b"abc"))]


async def test_streams_keep_their_order() -> None:
    log = Log()
    batch = Batch(log.write)
    for piece in (out(b"a"), err(b"b"), err(b"c"), out(b"d")):
        await batch.emit(piece)
    await batch.flush()
    await batch.emit(out(b"e"))
    assert log.entries == [(1, out(b"a")), (2, err(b"bc")), (3, out(b"d"))]
    [last] = batch.take()
    assert (last.seq, last.output) == (4, out(b"e"))
    assert batch.take() == ()


async def test_nothing_is_not_written() -> None:
    log = Log()
    await Batch(log.write).flush()
    assert log.writes == []


async def test_much_output_waits_for_the_write() -> None:
    log = Log()
    batch = Batch(log.write)
    log.may_write = anyio.Event()
    emitted = anyio.Event()

    async def emit() -> None:
        await batch.emit(out(b"x" * FLUSH_SIZE))
        emitted.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(emit)
        await anyio.wait_all_tasks_blocked()
        assert not emitted.is_set()
        log.may_write.set()
    assert log.entries == [(1, out(b"x" * FLUSH_SIZE))]


async def test_output_is_written_a_moment_after_it_came() -> None:
    written = anyio.Event()

    async def write(entries: Sequence[LogEntry]) -> None:
        assert [entry.output for entry in entries] == [out(b"soon")]
        written.set()

    batch = Batch(write)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(batch.flush_regularly)
        await batch.emit(out(b"soon"))
        with anyio.fail_after(5):
            await written.wait()
        tasks.cancel_scope.cancel()


async def test_what_nobody_follows_may_wait_a_little_longer() -> None:
    order: list[str] = []
    both = anyio.Event()

    def batch(name: str, *, is_followed: bool) -> Batch:
        async def write(entries: Sequence[LogEntry]) -> None:
            order.append(name)
            if len(order) == 2:
                both.set()

        return Batch(write, is_followed=lambda: is_followed)

    batches = [batch("alone", is_followed=False), batch("followed", is_followed=True)]
    async with anyio.create_task_group() as tasks:
        for each in batches:
            tasks.start_soon(each.flush_regularly)
            await each.emit(out(b"a"))
        with anyio.fail_after(5):
            await both.wait()
        tasks.cancel_scope.cancel()
    assert order == ["followed", "alone"]


async def test_all_that_came_is_remembered_unless_it_is_much_or_began_elsewhere() -> None:
    batch = Batch(Log().write)
    assert batch.transcript() == Transcript()
    for piece in (out(b"a\xff"), err(b"b"), out("é".encode()[:1])):
        await batch.emit(piece)
    await batch.flush()
    await batch.emit(out(b"c"))
    said = Transcript(stdout=b"a\xff\xc3c", stderr=b"b")
    assert batch.transcript() == said
    batch.take()
    assert batch.transcript() == said
    await batch.emit(err(b"x" * (MOST_KEPT - 5)))
    assert batch.transcript() is not None
    await batch.emit(out(b"x"))
    assert batch.transcript() is None
    assert Batch(Log().write, first=2).transcript() is None


async def test_a_write_that_has_begun_ends_before_the_cancellation_is_seen() -> None:
    log = Log()
    batch = Batch(log.write)
    log.may_write = anyio.Event()
    await batch.emit(out(b"a"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(batch.flush)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        log.may_write.set()
    await batch.emit(out(b"b"))
    await batch.flush()
    assert log.entries == [(1, out(b"a")), (2, out(b"b"))]


async def test_what_could_not_be_written_is_kept_as_it_was_numbered() -> None:
    """It may be stored all the same, and only the answer was lost: so nothing is joined to it."""
    log = Log()
    batch = Batch(log.write)
    log.failure = OSError("the disk is full")
    await batch.emit(out(b"a"))
    await batch.emit(err(b"b"))
    with pytest.raises(OSError, match="full"):
        await batch.flush()
    await batch.emit(err(b"c"))
    log.failure = None
    await batch.flush()
    assert log.entries == [(1, out(b"a")), (2, err(b"b")), (3, err(b"c"))]


async def test_a_character_is_not_cut_in_two() -> None:
    log = Log()
    batch = Batch(log.write)
    euro = "€".encode()
    await batch.emit(out(b"a" + euro[:1]))
    await batch.flush()
    await batch.emit(err(b"!"))
    await batch.emit(out(euro[1:2]))
    await batch.flush()
    await batch.emit(out(euro[2:] + b"b"))
    await batch.flush()
    assert log.entries == [(1, out(b"a")), (2, err(b"!")), (3, out(euro + b"b"))]


async def test_what_is_no_character_passes_at_once() -> None:
    log = Log()
    batch = Batch(log.write)
    for piece in (b"\xff", b"\xe2\x28", b"\x80", b"\xed\xa0", b"\xc0"):
        await batch.emit(out(piece))
    await batch.flush()
    assert log.entries == [(1, out(b"\xff\xe2\x28\x80\xed\xa0\xc0"))]


async def test_the_beginning_of_a_character_is_not_lost_at_the_end() -> None:
    batch = Batch(Log().write)
    await batch.emit(out(b"a\xf0\x9f\x98"))
    await batch.flush()
    [last] = batch.take()
    assert (last.seq, last.output) == (2, out(b"\xf0\x9f\x98"))


async def test_a_large_piece_becomes_entries_of_whole_characters() -> None:
    log = Log()
    text = "€" * FLUSH_SIZE
    await Batch(log.write).emit(out(text.encode()))
    pieces = [output.data for _, output in log.entries]
    assert "".join(piece.decode() for piece in pieces) == text
    assert max(map(len, pieces)) <= FLUSH_SIZE
    assert len(pieces) == 4
