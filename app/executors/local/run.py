"""One program in one cell: feed it, read it, watch its limits, collect the facts."""

import contextlib
import math
import os
import resource
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field

import anyio
import anyio.to_thread

from app.domain.errors import ExecutorError
from app.domain.execution import (
    Exit,
    KillReason,
    LimitHit,
    Output,
    Stream,
    Usage,
    signal_name,
)
from app.domain.limits import KIB, MIB, Limits
from app.domain.ports import Collect, Emit
from app.executors.collecting import Collected
from app.executors.local.cell import Cell, executor_error
from app.executors.local.control import Job, Kind, Record, describe
from app.executors.local.meter import Meter, Metered
from app.executors.local.pipes import End, make_pipes
from app.executors.local.seccomp import seccomp_filter

_PREPARE_TIMEOUT = 15.0  # s; from the job to the started program takes milliseconds
INODES = 4096
_COLLECT_TIMEOUT = 15.0  # s; a product of the largest size takes a tenth of one
_OPEN_FILES = 1024
_PENDING_SIGNALS = 1024  # and timers; a machine has 4 for each MiB
_MESSAGE_QUEUES = 96 * KIB  # one queue of the kernel's usual size; a user has 800 KiB
_CPU_BACKSTOP = 1  # s above the limit; the watcher is exact, the kernel is there if it cannot be


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a program is started inside its cell."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    files: Mapping[str, bytes] = field(default_factory=dict)
    stdin: bytes = b""
    typed: AsyncIterator[bytes] | None = None
    collect: Collect | None = None


class NotStarted(ExecutorError):
    """The cell failed, and the program has not begun: another cell may have it."""


@dataclass(slots=True)
class Run:
    """A program on its way through a cell; to be called once."""

    cell: Cell
    limits: Limits
    meter: Meter
    begun: Callable[[], None] = lambda: None
    """Called when the program has started."""
    _kill_reason: KillReason | None = None
    _truncated: set[Stream] = field(default_factory=set)
    _began: float = 0.0
    _collected: Collected | None = None
    _scratch: int | None = None
    """Its scratch space: what has ended cannot be asked, but this still tells how full it is."""

    async def __call__(self, start: Start, emit: Emit) -> Exit:
        """Run the program to its end.

        Raises:
            NotStarted: the cell failed before the program had started.
        """
        with ExitStack() as ends:
            # Before the cgroup is removed: what it holds is charged there.
            ends.callback(self._let_go_of_scratch)
            ours, theirs = self._pipes(ends)
            try:
                await self._start(start, theirs)
            except ExecutorError as error:
                end = self._facts(None, 0.0)
                if end.oom_killed:
                    return end  # the limit is too low even for a start
                raise NotStarted(*error.args) from error
            async with anyio.create_task_group() as tasks:
                # Readers end by themselves: when no process of the cell is left, the kernel
                # closes the other ends of the pipes. Whoever waits for typing would not notice.
                feeding = anyio.CancelScope()
                tasks.start_soon(self._feed, feeding, ours[0], start)
                tasks.start_soon(self._read, Stream.STDOUT, ours[1], emit)
                tasks.start_soon(self._read, Stream.STDERR, ours[2], emit)
                record, wall_time = await self._until_the_end(start.collect)
                feeding.cancel()
            return self._facts(record, wall_time)

    def _pipes(self, ends: ExitStack) -> tuple[list[End], list[End]]:
        if self.cell.pipes is not None:
            return self.cell.pipes, []
        with executor_error("no pipes could be made"):
            return make_pipes(ends, self.cell.owner)

    async def _start(self, start: Start, stdio: list[End]) -> None:
        try:
            with anyio.fail_after(_PREPARE_TIMEOUT):
                descriptors = [*(end.fd for end in stdio), *self.meter.joins]
                await self.cell.control.send(self._job(start), descriptors)
                for end in stdio:
                    end.close()
                record, self._scratch = await self.cell.control.receive_with()
        except TimeoutError as error:
            message = f"the program was not started within {_PREPARE_TIMEOUT:g} s"
            raise ExecutorError(message) from error
        if record.kind is not Kind.STARTED:
            raise ExecutorError(describe(record))
        self._began = anyio.current_time()
        self.begun()

    def _job(self, start: Start) -> Job:
        return Job(
            argv=start.argv,
            environment=start.environment,
            files=start.files,
            disk=self.limits.disk,
            inodes=INODES,
            rlimits=tuple(self._rlimits()),
            seccomp=seccomp_filter(),
            collect=asdict(start.collect) if start.collect else None,
        )

    def _rlimits(self) -> Iterator[tuple[int, int]]:
        # Not 0: for a piped core_pattern that means "no limit", and 1 means "no core".
        yield resource.RLIMIT_CORE, 1
        yield resource.RLIMIT_NOFILE, _OPEN_FILES
        yield resource.RLIMIT_FSIZE, self.limits.disk
        yield resource.RLIMIT_CPU, math.ceil(self.limits.cpu_time) + _CPU_BACKSTOP
        yield resource.RLIMIT_MEMLOCK, MIB
        # These are counted for the user as well, so one run must not take them from another.
        yield resource.RLIMIT_SIGPENDING, _PENDING_SIGNALS
        yield resource.RLIMIT_MSGQUEUE, _MESSAGE_QUEUES
        # Whatever the server may do: no program goes before others.
        yield resource.RLIMIT_NICE, 0
        yield resource.RLIMIT_RTPRIO, 0
        if not self.meter.bounds_processes:
            # Counted in each user namespace, so in each cell, since Linux 5.14; before that for
            # all cells together. Process 1 counts as well.
            yield resource.RLIMIT_NPROC, self.limits.processes + 1

    async def _until_the_end(self, collect: Collect | None) -> tuple[Record | None, float]:
        """Wait for the report and for the death of the whole cell."""
        record: Record | None = None
        async with anyio.create_task_group() as watching:
            watching.start_soon(self._watch)
            try:
                record = await self.cell.control.receive()
            except ExecutorError:
                record = None  # process 1 was killed: by us, or for want of memory
            wall_time = anyio.current_time() - self._began
            watching.cancel_scope.cancel()
        if collect and record is not None and record.kind is Kind.EXITED:
            await self._collect(collect, record)
        await self.cell.wait()
        return record, wall_time

    async def _collect(self, collect: Collect, record: Record) -> None:
        """Take what the program has left; only its init lives now, and it reads for us."""
        if not record.text:
            self._collected = Collected(collect)
            return
        with anyio.move_on_after(_COLLECT_TIMEOUT), contextlib.suppress(ExecutorError):
            self._collected = await self.cell.control.receive_files(collect)
        self.cell.kill()

    async def _watch(self) -> None:
        deadline = self._began + self.limits.wall_time
        while True:
            left = deadline - anyio.current_time()
            if left <= 0:
                self._kill(KillReason.WALL_TIME)
                return
            await anyio.sleep(min(left, self.meter.pause(self.limits)))
            if reason := await anyio.to_thread.run_sync(self.meter.exceeded, self.limits):
                self._kill(reason)
                return

    def _kill(self, reason: KillReason) -> None:
        """Write the reason down, then kill; the first reason stands."""
        if self._kill_reason is None:
            self._kill_reason = reason
        self.cell.kill()

    async def _feed(self, feeding: anyio.CancelScope, end: End, start: Start) -> None:
        with feeding:
            await end.feed(start.stdin, start.typed)

    async def _read(self, stream: Stream, end: End, emit: Emit) -> None:
        left = self.limits.output
        while data := await end.read():
            kept, left = data[:left], left - len(data)
            if left < 0:
                # Kill before anything else: a flood must not fill our memory.
                self._truncated.add(stream)
                self._kill(KillReason.OUTPUT)
            if kept:
                await emit(Output(stream=stream, data=kept))
            if left < 0:
                return

    def _measure(self) -> tuple[Metered, frozenset[LimitHit]]:
        metered, hit = self.meter.close(), set()
        if metered.lacked_processes:
            hit.add(LimitHit.PROCESSES)
        if self._scratch is not None and _is_full(self._scratch):
            hit.add(LimitHit.DISK)
        return metered, frozenset(hit)

    def _let_go_of_scratch(self) -> None:
        if self._scratch is not None:
            os.close(self._scratch)

    def _facts(self, record: Record | None, wall_time: float) -> Exit:
        code, signal_name = _ending(record)
        metered, hit = self._measure()
        reported = record or _NOTHING
        return Exit(
            code=code,
            signal=signal_name,
            kill_reason=self._kill_reason,
            oom_killed=metered.oom_killed,
            limits_hit=hit,
            truncated=frozenset(self._truncated),
            product=self._collected.files if self._collected else None,
            left_out=self._collected.left_out if self._collected else 0,
            usage=Usage(
                wall_time=reported.wall_time or wall_time,
                cpu_time=max(metered.cpu_time, reported.cpu_time),
                peak_memory=metered.peak_memory or reported.peak_memory,
            ),
        )


_NOTHING = Record(kind=Kind.ERROR, number=0, wall_time=0, cpu_time=0, peak_memory=0, text="")


def _is_full(scratch: int) -> bool:
    left = os.statvfs(scratch)
    return left.f_bfree == 0 or left.f_ffree == 0


def _ending(record: Record | None) -> tuple[int | None, str | None]:
    """Return the exit code or the signal's name, or neither without a valid report."""
    if record is None or record.kind is not Kind.EXITED:
        return None, None
    if os.WIFSIGNALED(record.number):
        return None, signal_name(os.WTERMSIG(record.number))
    return os.waitstatus_to_exitcode(record.number), None
