"""Between the values of the domain and the columns of the tables."""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import Row

from app.domain.execution import (
    Compilation,
    Execution,
    File,
    Kind,
    LimitHit,
    Outcome,
    Output,
    Program,
    Status,
    Stream,
    TimeLimit,
    Transcript,
    Usage,
)
from app.domain.limits import DEFAULT_LIMITS, KIB, Limits
from app.domain.testing import Verdict

Values = dict[str, Any]
AnyRow: TypeAlias = Row[*tuple[Any, ...]]

# NaN is not JSON: PostgreSQL refuses it, and SQLite would give it back to a client.
to_json = partial(json.dumps, separators=(",", ":"), allow_nan=False)


_SMALL = 64 * KIB
_ROW = KIB  # to write a row takes about as long as to write so much in one


def is_small(*parts: Sized) -> bool:
    """Tell whether to write this takes but a moment: few parts, and little in them."""
    return sum(len(each) + _ROW for each in parts) <= _SMALL


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who works on executions, and whether it has not been heard of for too long."""

    holder: str
    is_expired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A right to write: to an execution, for one process, for one try.

    The try is a part of it because a process that was taken for dead may hold it once more.
    """

    id: UUID
    holder: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """A piece of output with its place in the log."""

    seq: int
    at: datetime
    output: Output


def execution_values(execution: Execution, program: Program) -> Values:
    """Return the columns of a new row."""
    return {
        "id": execution.id,
        "owner": execution.owner,
        "status": execution.status.value,
        "language": execution.language,
        "language_version": execution.language_version,
        "executor": execution.executor,
        "attempt": execution.attempt,
        "interactive": execution.interactive,
        "created_at": execution.created_at,
        "started_at": execution.started_at,
        "kind": execution.kind.value,
        "verdict": None,
        "tests": execution.tests,
        "hidden_tests": execution.hidden_tests,
        "stops_on_failure": bool(program.suite and program.suite.stops_on_failure),
        "subject": execution.subject,
        "session_id": execution.session_id,
        "label": execution.label,
        "origin_id": execution.origin_id,
        "limits": limits_values(execution.limits),
        "metadata": None if execution.metadata is None else dict(execution.metadata),
        "args": list(program.args),
        "stdin": program.stdin,
        "source": program.source.encode(),
        "entry_point": program.entry_point,
        "wanted_version": program.language_version,
        "environment": program.environment,
        "files": files_values(program.files),
        "cancel_requested": False,
    }


def outcome_values(outcome: Outcome, at: datetime) -> Values:
    """Return the columns that an end changes; the turn and the lease go with it."""
    return {
        "status": outcome.status.value,
        "outcome": outcome_details(outcome),
        "compilation": outcome.compilation and _compiled(outcome.compilation),
        "wall_time": outcome.usage and outcome.usage.wall_time,
        "finished_at": at,
        "turn_at": None,
        "lease_holder": None,
        "lease_expires_at": None,
    }


def log_values(id: UUID, entries: Iterable[LogEntry]) -> list[Values]:
    """Return the rows of pieces of output."""
    return [
        {
            "execution_id": id,
            "seq": entry.seq,
            "at": entry.at,
            "stream": entry.output.stream.value,
            "data": entry.output.data,
        }
        for entry in entries
    ]


def artifact_values(id: UUID, files: Iterable[File]) -> list[Values]:
    """Return the rows of files that a program has left."""
    return [{"execution_id": id, "path": each.path, "data": each.data} for each in files]


def execution_of(row: AnyRow) -> Execution:
    """Return the execution of a row."""
    status = Status(row.status)
    return Execution(
        id=plain(row.id),
        owner=row.owner,
        status=status,
        language=row.language,
        language_version=row.language_version,
        limits=limits_of(row.limits),
        executor=row.executor,
        attempt=row.attempt,
        interactive=row.interactive,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        kind=Kind(row.kind),
        verdict=None if row.verdict is None else Verdict(row.verdict),
        tests=row.tests,
        hidden_tests=row.hidden_tests,
        subject=row.subject,
        session_id=row.session_id,
        label=row.label,
        origin_id=None if row.origin_id is None else plain(row.origin_id),
        metadata=row.metadata,
        outcome=None if row.outcome is None else outcome_of(status, row.outcome),
    )


def program_of(row: AnyRow) -> Program:
    """Return the program of a row."""
    return Program(
        language=row.language,
        source=row.source.decode(),
        stdin=row.stdin,
        args=tuple(row.args),
        files=files_of(row.files),
        entry_point=row.entry_point,
        language_version=row.wanted_version,
        environment=row.environment,
    )


def compilation_of(row: AnyRow) -> Compilation | None:
    """Return how the program of a row was compiled."""
    if (stored := row.compilation) is None:
        return None
    return Compilation(
        outcome=outcome_of(Status(stored["status"]), stored["outcome"]),
        stdout=stored["stdout"].encode(),
        stderr=stored["stderr"].encode(),
        is_cached=stored["is_cached"],
    )


def transcript_of(pieces: Iterable[AnyRow]) -> Transcript:
    """Join pieces of output, which are in order, each to its stream."""
    streams: dict[str | None, list[bytes]] = {Stream.STDOUT: [], Stream.STDERR: [], None: []}
    for piece in pieces:
        streams[piece.stream].append(piece.data)
    return Transcript(
        stdout=b"".join(streams[Stream.STDOUT]), stderr=b"".join(streams[Stream.STDERR])
    )


def plain(id: UUID) -> UUID:
    """Return a UUID of the standard library: asyncpg's own is a subclass that encoders refuse."""
    return id if type(id) is UUID else UUID(int=id.int)


def limits_of(stored: Mapping[str, Any]) -> Limits:
    """Return the limits of a row."""
    # A limit that is younger than the row reads as its default: no migration.
    return Limits(**{**_DEFAULTS, **_known(_LIMITS, stored)})


def limits_values(limits: Limits) -> Values:
    """Return limits as they are stored."""
    return _stored(_LIMITS, limits)


def files_values(files: Iterable[File]) -> list[list[str]]:
    """Return files as they are stored."""
    return [[each.path, b64encode(each.data).decode()] for each in files]


def files_of(stored: Iterable[list[str]]) -> tuple[File, ...]:
    """Return files that were stored."""
    return tuple(File(path=path, data=b64decode(text)) for path, text in stored)


def outcome_details(outcome: Outcome) -> Values:
    """Return what an outcome says beyond its status; what is not there is left out."""
    details = {
        "exit_code": outcome.exit_code,
        "signal": outcome.signal,
        "time_limit": outcome.time_limit,
        "limits_hit": sorted(outcome.limits_hit) or None,
        "truncated": sorted(outcome.truncated) or None,
        "usage": outcome.usage and _stored(_USAGE, outcome.usage),
        "message": outcome.message,
        "left_out": outcome.left_out or None,
    }
    return {name: value for name, value in details.items() if value is not None}


def _compiled(compilation: Compilation) -> Values:
    # As text: nobody needs the bytes of a compiler's messages.
    return {
        "status": compilation.outcome.status.value,
        "outcome": outcome_details(compilation.outcome),
        "stdout": compilation.stdout.decode(errors="replace"),
        "stderr": compilation.stderr.decode(errors="replace"),
        "is_cached": compilation.is_cached,
    }


def outcome_of(status: Status, details: Mapping[str, Any]) -> Outcome:
    """Return the outcome of a status and what was stored beyond it."""
    time_limit, usage = details.get("time_limit"), details.get("usage")
    return Outcome(
        status=status,
        exit_code=details.get("exit_code"),
        signal=details.get("signal"),
        time_limit=time_limit and TimeLimit(time_limit),
        limits_hit=frozenset(map(LimitHit, details.get("limits_hit", ()))),
        truncated=frozenset(map(Stream, details.get("truncated", ()))),
        usage=usage and Usage(**_known(_USAGE, usage)),
        message=details.get("message"),
        left_out=details.get("left_out", 0),
    )


def _stored(names: Iterable[str], value: Limits | Usage) -> Values:
    return {name: getattr(value, name) for name in names}


def _known(names: Iterable[str], stored: Mapping[str, Any]) -> Values:
    """Drop what a newer version wrote: two versions share a database during an upgrade."""
    return {name: stored[name] for name in names if name in stored}


_LIMITS = tuple(field.name for field in fields(Limits))
_USAGE = tuple(field.name for field in fields(Usage))
_DEFAULTS = _stored(_LIMITS, DEFAULT_LIMITS)
