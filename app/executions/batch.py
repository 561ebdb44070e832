"""Joins small pieces of output into few writes, and numbers them."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import anyio

from app.domain.execution import Output
from app.storage.store import LogEntry

FLUSH_AFTER = 0.02  # s; below what an eye sees, above the cost of a commit
FLUSH_SIZE = 64 * 1024  # bytes; what a pipe holds


class Batch:
    """The output of one run that is not written yet.

    The one owner of the run's sequence numbers: entries are numbered from 1 without a gap, in
    the order in which they arrived.
    """

    def __init__(self, write: Callable[[Sequence[LogEntry]], Awaitable[None]]) -> None:
        self._write = write
        self._pending: list[tuple[datetime, Output]] = []
        self._size = 0
        self._next = 1
        self._arrived = anyio.Event()
        self._turn = anyio.Lock()

    async def emit(self, output: Output) -> None:
        """Take a piece; when much is pending, write first: that slows the program down."""
        self._add(output)
        self._arrived.set()
        if self._size >= FLUSH_SIZE:
            await self.flush()

    async def flush_regularly(self) -> None:
        """Write what is pending a moment after it arrived, until cancelled."""
        while True:
            await self._arrived.wait()
            await anyio.sleep(FLUSH_AFTER)
            self._arrived = anyio.Event()
            await self.flush()

    async def flush(self) -> None:
        """Write what is pending now."""
        async with self._turn:
            if entries := self.take():
                # Shielded: entries that were numbered must be written, or there is a gap.
                with anyio.CancelScope(shield=True):
                    await self._write_or_keep(entries)

    def take(self) -> tuple[LogEntry, ...]:
        """Number what is pending and hand it over, to be written with the outcome."""
        pending, self._pending, self._size = self._pending, [], 0
        first, self._next = self._next, self._next + len(pending)
        return tuple(
            LogEntry(seq=seq, at=at, output=output)
            for seq, (at, output) in enumerate(pending, start=first)
        )

    async def _write_or_keep(self, entries: Sequence[LogEntry]) -> None:
        try:
            await self._write(entries)
        except BaseException:
            # They are still to be had, when the outcome is written.
            self._next = entries[0].seq
            self._pending[:0] = [(entry.at, entry.output) for entry in entries]
            self._size += sum(len(entry.output.data) for entry in entries)
            raise

    def _add(self, output: Output) -> None:
        self._size += len(output.data)
        last = self._pending[-1] if self._pending else None
        if last and last[1].stream is output.stream and len(last[1].data) < FLUSH_SIZE:
            at, earlier = last
            joined = Output(stream=output.stream, data=earlier.data + output.data)
            self._pending[-1] = (at, joined)
        else:
            self._pending.append((datetime.now(UTC), output))
