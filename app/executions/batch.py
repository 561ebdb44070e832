"""Joins small pieces of output into few writes, cuts where a character ends, and numbers them."""

import codecs
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime

import anyio

from app.domain.execution import Output, Stream, Transcript
from app.storage.store import LogEntry

FLUSH_AFTER = 0.02  # s between writes; below what an eye sees, above the cost of a commit
FIRST_FLUSH_AFTER = 0.005  # s; what a program needs to end that writes once, at its end
MOST_KEPT = 64 * 1024  # bytes of all output, for whoever asks as soon as it has ended
FLUSH_SIZE = 64 * 1024  # bytes; what a pipe holds, and the most in an entry


class Batch:
    """The output of one run that is not written yet.

    The one owner of the run's sequence numbers: entries are numbered without a gap, in
    the order in which they arrived. Each ends where a character of its stream ends, so that it
    can be read by itself: the beginning of a character is kept until its rest comes.
    """

    def __init__(
        self,
        write: Callable[[Sequence[LogEntry]], Awaitable[None]],
        *,
        is_followed: Callable[[], bool] = lambda: True,
        first: int = 1,
    ) -> None:
        self._write, self._is_followed = write, is_followed
        self._pending: list[tuple[datetime, Output]] = []
        self._unsure: tuple[LogEntry, ...] = ()
        self._size = 0
        self._begun: dict[Stream, bytes] = dict.fromkeys(Stream, b"")
        self._next = first
        # Of what another process has begun, we do not know the beginning.
        self._all: dict[Stream, bytearray] | None = (
            {stream: bytearray() for stream in Stream} if first == 1 else None
        )
        self._arrived = anyio.Event()
        self._turn = anyio.Lock()

    async def emit(self, output: Output) -> None:
        """Take a piece; when much is pending, write first: that slows the program down."""
        self._add(output)
        self._remember(output)
        self._arrived.set()
        if self._size >= FLUSH_SIZE:
            await self.flush()

    async def flush_regularly(self) -> None:
        """Write what is pending a moment after it arrived, until cancelled.

        What comes after a silence is written almost at once, if somebody may be waiting for it.
        """
        last = -FLUSH_AFTER
        while True:
            await self._arrived.wait()
            least = FIRST_FLUSH_AFTER if self._is_followed() else FLUSH_AFTER
            await anyio.sleep_until(max(last + FLUSH_AFTER, anyio.current_time() + least))
            self._arrived = anyio.Event()
            await self.flush()
            last = anyio.current_time()

    async def flush(self) -> None:
        """Write what is pending now."""
        async with self._turn:
            if entries := self._take():
                # Shielded: entries that were numbered must be written, or there is a gap.
                with anyio.CancelScope(shield=True):
                    await self._write_or_keep(entries)

    def take(self) -> tuple[LogEntry, ...]:
        """Number what is left and hand it over, to be written with the outcome."""
        for stream, begun in self._begun.items():
            if begun:
                self._begun[stream] = b""
                self._append(Output(stream=stream, data=begun))
        return self._take()

    def transcript(self) -> Transcript | None:
        """Return everything that came, or None when that was too much to keep."""
        if self._all is None:
            return None
        return Transcript(
            stdout=bytes(self._all[Stream.STDOUT]), stderr=bytes(self._all[Stream.STDERR])
        )

    def _remember(self, output: Output) -> None:
        if self._all is not None:
            self._all[output.stream] += output.data
            if sum(map(len, self._all.values())) > MOST_KEPT:
                self._all = None

    def _take(self) -> tuple[LogEntry, ...]:
        pending, self._pending, self._size = self._pending, [], 0
        first, self._next = self._next, self._next + len(pending)
        unsure, self._unsure = self._unsure, ()
        numbered = (
            LogEntry(seq=seq, at=at, output=output)
            for seq, (at, output) in enumerate(pending, start=first)
        )
        return (*unsure, *numbered)

    async def _write_or_keep(self, entries: tuple[LogEntry, ...]) -> None:
        try:
            await self._write(entries)
        except BaseException:
            # They are still to be had, when the outcome is written. As they are: they may be
            # stored, and only the answer was lost.
            self._unsure = entries
            raise

    def _add(self, output: Output) -> None:
        data = self._begun[output.stream] + output.data
        end = _end_of_characters(data)
        self._begun[output.stream] = data[end:]
        for piece in _pieces(data[:end]):
            self._append(Output(stream=output.stream, data=piece))

    def _append(self, output: Output) -> None:
        self._size += len(output.data)
        if self._pending:
            at, last = self._pending[-1]
            fits = len(last.data) + len(output.data) <= FLUSH_SIZE
            if fits and last.stream is output.stream:
                joined = Output(stream=output.stream, data=last.data + output.data)
                self._pending[-1] = (at, joined)
                return
        self._pending.append((datetime.now(UTC), output))


def _pieces(data: bytes) -> Iterator[bytes]:
    while len(data) > FLUSH_SIZE:
        end = _end_of_characters(data[:FLUSH_SIZE])
        yield data[:end]
        data = data[end:]
    if data:
        yield data


def _end_of_characters(data: bytes) -> int:
    """Return where the last whole character ends; what can be none passes for one."""
    tail = data[-3:]  # a character has four bytes at most
    _, used = codecs.utf_8_decode(tail, "replace", False)  # noqa: FBT003 - not the end
    return len(data) - len(tail) + used
