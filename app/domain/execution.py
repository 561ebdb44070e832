"""An execution: what was asked, what was observed, and what we call it."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from app.domain.limits import GIB, Limits
from app.domain.testing import Suite, Verdict


class Status(StrEnum):
    """Where an execution stands; everything but QUEUED and RUNNING is final."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    COMPILE_ERROR = "COMPILE_ERROR"
    TIME_LIMIT_EXCEEDED = "TIME_LIMIT_EXCEEDED"
    MEMORY_LIMIT_EXCEEDED = "MEMORY_LIMIT_EXCEEDED"
    OUTPUT_LIMIT_EXCEEDED = "OUTPUT_LIMIT_EXCEEDED"
    CANCELLED = "CANCELLED"
    INFRASTRUCTURE_ERROR = "INFRASTRUCTURE_ERROR"

    @property
    def is_final(self) -> bool:
        """Whether nothing can change any more."""
        return self not in UNFINISHED


UNFINISHED = (Status.QUEUED, Status.RUNNING)


class Kind(StrEnum):
    """What an execution is for, in the eyes of who asked for it."""

    RUN = "RUN"
    SUBMIT = "SUBMIT"


class TimeLimit(StrEnum):
    """Which clock ran out."""

    CPU = "CPU"
    WALL = "WALL"


class KillReason(StrEnum):
    """Why we ended a program, written down before the signal was sent."""

    CANCELLED = "CANCELLED"
    MEMORY = "MEMORY"
    OUTPUT = "OUTPUT"
    DISK = "DISK"
    CPU_TIME = "CPU_TIME"
    WALL_TIME = "WALL_TIME"


class LimitHit(StrEnum):
    """A limit that a program can reach and go on."""

    PROCESSES = "PROCESSES"
    DISK = "DISK"


def signal_name(number: int) -> str:
    """Name a signal; also one that this Python has no name for."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


class Stream(StrEnum):
    """Where a program's output went."""

    STDOUT = "STDOUT"
    STDERR = "STDERR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A piece of output, bytes exactly as the program wrote them."""

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a program used. Times in seconds, memory in bytes."""

    wall_time: float
    cpu_time: float
    peak_memory: int
    reserved_cores: float = 0.0
    """Processors that were kept for it alone, used or not."""
    reserved_memory: int = 0

    @property
    def core_seconds(self) -> float:
        """What it cost: what was kept for it, or what it used if that is more."""
        return max(self.cpu_time, self.reserved_cores * self.wall_time)

    @property
    def gib_seconds(self) -> float:
        """Likewise of memory."""
        return max(self.peak_memory, self.reserved_memory) / GIB * self.wall_time


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file in a program's working directory."""

    path: str
    """Relative to it."""
    data: bytes
    is_executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """What became of a program's compilation."""

    outcome: "Outcome"
    stdout: bytes = b""
    stderr: bytes = b""
    is_cached: bool = False
    """Whether the product of an equal program was taken, with what its compiler had said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """Facts about how a program ended, as the executor observed them; no verdict.

    Neither `code` nor `signal` is set when no valid report came out of the sandbox.
    """

    code: int | None = None
    signal: str | None = None
    kill_reason: KillReason | None = None
    oom_killed: bool = False
    limits_hit: frozenset[LimitHit] = frozenset()
    truncated: frozenset[Stream] = frozenset()
    usage: Usage | None = None
    product: tuple[File, ...] | None = None
    """The files that were to be brought back. None when none were, or when nobody was left to
    read them: where a limit ends the sandbox with the program, and not the program alone."""
    left_out: int = 0
    """How many more it has left in that folder."""
    compilation: Compilation | None = None
    """How it was compiled; when that failed, there is nothing else to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The verdict on an execution."""

    status: Status
    exit_code: int | None = None
    signal: str | None = None
    time_limit: TimeLimit | None = None
    limits_hit: frozenset[LimitHit] = frozenset()
    truncated: frozenset[Stream] = frozenset()
    usage: Usage | None = None
    message: str | None = None
    left_out: int = 0
    """Files that it left for us and that were not taken."""
    compilation: Compilation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run."""

    language: str
    source: str
    stdin: bytes = b""
    args: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    """Beside the source, with normalised paths."""
    entry_point: str | None = None
    """The path of the file that is started: one of `files`, or else where the source lies."""
    language_version: str | None = None
    """The version that is asked for: exactly, or by its beginning."""
    environment: str | None = None
    """The id of the packages that it has beside its language."""
    suite: Suite | None = None
    """The tests that it is run against, instead of once with its own input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A program that somebody wants to have run, and what to remember with it."""

    owner: str
    program: Program
    limits: Limits
    kind: Kind = Kind.RUN
    subject: str | None = None
    """Who wants it, among the owner's people."""
    session_id: str | None = None
    label: str | None = None
    metadata: Mapping[str, Any] | None = None
    interactive: bool = False
    """Whether input may be sent while it runs."""
    origin_id: UUID | None = None
    """The execution that it repeats."""
    idempotency_key: str | None = None
    """A name of the owner's for this wish: sent again, it is the same wish."""
    key_scope: str | None = None
    """The session within which that name counts; None: among all that the owner sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One run in the history, without its source and output, which are loaded when asked for."""

    id: UUID
    owner: str
    status: Status
    language: str
    language_version: str | None
    limits: Limits
    executor: str
    attempt: int
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    subject: str | None = None
    session_id: str | None = None
    label: str | None = None
    metadata: Mapping[str, Any] | None = None
    interactive: bool = False
    origin_id: UUID | None = None
    kind: Kind = Kind.RUN
    tests: int = 0
    """How many tests it has."""
    hidden_tests: int = 0
    """How many of these are hidden."""
    verdict: Verdict | None = None
    """What its tests say together, when it has ended."""
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """All that a program has written so far."""

    stdout: bytes = b""
    stderr: bytes = b""

    def of(self, stream: Stream) -> bytes:
        """Return what went to one of the two."""
        return self.stdout if stream is Stream.STDOUT else self.stderr
