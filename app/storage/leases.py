"""Leases prove that a process still looks after its executions; the others are given away here.

They go by the clock of the database, which all processes share, and a row is written only by the
process that holds it, for the try that it holds: see `Hold`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import (
    Boolean,
    Connection,
    Float,
    Row,
    bindparam,
    case,
    exists,
    false,
    func,
    null,
    or_,
    select,
    update,
)

from app.domain.execution import Execution, Outcome, Program, Status, Stream
from app.domain.ports import Placement
from app.storage import reads, testing
from app.storage.clock import from_now
from app.storage.feed import QUEUE
from app.storage.mapping import Hold, Lease, execution_of, outcome_values, plain, program_of
from app.storage.rows import EXECUTIONS, INPUT, OUTPUT
from app.storage.usage import spend
from app.storage.writes import CHANGED, ENDED, Note, changed

FOREIGN_GRACE = 60.0  # s in which a program that outlives its process is left to its own kind

_C = EXECUTIONS.c
_HOLDER = _C.lease_holder == bindparam("holder")
_LEASE_END = from_now(bindparam("lease_time", type_=Float))
_IS_EXPIRED = _C.lease_expires_at < from_now(0.0)
_IDS = _C.id.in_(bindparam("ids", expanding=True))
_HAS_OUTPUT = exists().where(OUTPUT.c.execution_id == _C.id)
_RENEW = (
    update(EXECUTIONS)
    .where(_HOLDER, _IDS)
    .values(lease_expires_at=_LEASE_END)
    .returning(_C.id, _C.attempt, _C.cancel_requested)
)
_AGAIN = (
    update(EXECUTIONS)
    .where(_IDS)
    .values(
        status=Status.QUEUED.value,
        attempt=_C.attempt + 1,
        turn_at=_C.created_at,
        lease_holder=null(),
        lease_expires_at=null(),
        placement=null(),
    )
    .returning(*CHANGED)
)
_MAY_RUN_AGAIN = (
    select(_C.id)
    .where(
        _HOLDER,
        _C.id == bindparam("this"),
        _C.attempt == bindparam("try"),
        _C.attempt == 1,
        _C.cancel_requested == false(),
        ~_HAS_OUTPUT,
    )
    .with_for_update()
)
_UNREAD = (
    update(INPUT)
    .where(INPUT.c.execution_id.in_(bindparam("ids", expanding=True)))
    .values(is_read=false())
)
_LEASES = (
    select(
        _C.lease_holder.label("holder"),
        func.max(case((_IS_EXPIRED, 1), else_=0)).label("is_expired"),
    )
    .where(_C.lease_holder.is_not(None))
    .group_by(_C.lease_holder)
    .order_by(_C.lease_holder)
)
_LEFT = (
    reads.EXECUTION.add_columns(
        *reads.PROGRAM,
        _C.placement,
        _C.cancel_requested,
        _HAS_OUTPUT.label("has_output"),
        (_C.lease_expires_at < from_now(-FOREIGN_GRACE)).label("is_overdue"),
    )
    .where(_HOLDER, or_(bindparam("is_dead", type_=Boolean), _IS_EXPIRED))
    .with_for_update(of=EXECUTIONS, skip_locked=True)
)
_END = update(EXECUTIONS).where(_IDS).returning(*ENDED)
_ADOPT = update(EXECUTIONS).where(_IDS).values(lease_expires_at=_LEASE_END)
_STORED = (
    select(OUTPUT.c.stream, func.sum(func.length(OUTPUT.c.data)), func.max(OUTPUT.c.seq))
    .where(OUTPUT.c.execution_id == bindparam("id"))
    .group_by(OUTPUT.c.stream)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """What a holder still holds."""

    attempts: Mapping[UUID, int]
    cancelled: frozenset[UUID]
    """Those whose end somebody wants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A program that goes on without the process that started it."""

    execution: Execution
    program: Program
    placement: Placement
    stored: Mapping[Stream, int]
    """Bytes of its output that we have."""
    next_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What became of what a dead process has left."""

    adopted: tuple[Adopted, ...]
    queued: int
    ended: tuple[Execution, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heir:
    """Who decides what becomes of it; `executor` is None where no program can be adopted."""

    holder: str
    executor: str | None
    at: datetime
    lost: Outcome
    cancelled: Outcome


class _Fate(Enum):
    ADOPTED = auto()
    LEFT = auto()
    CANCELLED = auto()
    AGAIN = auto()
    LOST = auto()


AnyRow: TypeAlias = Row[*tuple[Any, ...]]


def renew(connection: Connection, holder: str, ids: Collection[UUID], lease_time: float) -> Renewed:
    """Put off the expiry of these, and return which of them are still held."""
    values = {"holder": holder, "ids": list(ids), "lease_time": lease_time}
    rows = connection.execute(_RENEW, values).all()
    return Renewed(
        attempts={plain(row.id): row.attempt for row in rows},
        cancelled=frozenset(plain(row.id) for row in rows if row.cancel_requested),
    )


def hand_back(connection: Connection, note: Note, hold: Hold) -> bool:
    """Let another process run it from its beginning; False when it must not run again."""
    this = {"this": hold.id, "holder": hold.holder, "try": hold.attempt}
    if connection.execute(_MAY_RUN_AGAIN, this).first() is None:
        return False
    _again(connection, note, [hold.id])
    return True


def leases(connection: Connection) -> tuple[Lease, ...]:
    """Return who works on something, and whether any of its leases has expired."""
    rows = connection.execute(_LEASES)
    return tuple(Lease(holder=row.holder, is_expired=bool(row.is_expired)) for row in rows)


def recover(  # noqa: PLR0913 - whose, who inherits, and what is known
    connection: Connection,
    note: Note,
    holder: str,
    heir: Heir,
    lease_time: float,
    *,
    is_dead: bool,
    counts: bool,
) -> Recovered:
    """Decide about all that a dead holder has left, or about what has expired."""
    rows = connection.execute(_LEFT, {"holder": holder, "is_dead": is_dead}).all()
    fates: dict[_Fate, list[AnyRow]] = {fate: [] for fate in _Fate}
    for row in rows:
        fates[_fate(row, heir)].append(row)
    ids = {fate: [row.id for row in found] for fate, found in fates.items()}
    _again(connection, note, ids[_Fate.AGAIN])
    ends = {_Fate.CANCELLED: heir.cancelled, _Fate.LOST: heir.lost}
    for fate, outcome in ends.items():
        if ids[fate]:
            values = {"ids": ids[fate], **outcome_values(outcome, heir.at)}
            ended = connection.execute(_END, values).all()
            changed(ended, note)
            testing.settle(connection, ended, None, heir.at)
            if counts:
                spend(connection, ended, outcome, heir.at)
    if ids[_Fate.ADOPTED]:
        values = {"ids": ids[_Fate.ADOPTED], "lease_holder": heir.holder, "lease_time": lease_time}
        connection.execute(_ADOPT, values)
    return Recovered(
        adopted=tuple(_adopted(connection, row) for row in fates[_Fate.ADOPTED]),
        queued=len(ids[_Fate.AGAIN]),
        ended=tuple(
            replace(execution_of(row), status=outcome.status, outcome=outcome, finished_at=heir.at)
            for fate, outcome in ends.items()
            for row in fates[fate]
        ),
    )


def _fate(row: AnyRow, heir: Heir) -> _Fate:
    if row.placement is not None and row.executor == heir.executor:
        return _Fate.ADOPTED
    if row.placement is not None and not row.is_overdue:
        return _Fate.LEFT
    if row.cancel_requested:
        return _Fate.CANCELLED
    return _Fate.AGAIN if row.attempt == 1 and not row.has_output else _Fate.LOST


def _again(connection: Connection, note: Note, ids: Sequence[UUID]) -> None:
    if ids:
        changed(connection.execute(_AGAIN, {"ids": ids}).all(), note)
        connection.execute(_UNREAD, {"ids": ids})
        note(QUEUE)


def _adopted(connection: Connection, row: AnyRow) -> Adopted:
    stored, last = dict.fromkeys(Stream, 0), 0
    for stream, size, seq in connection.execute(_STORED, {"id": row.id}):
        stored[Stream(stream)], last = int(size), max(last, seq)
    return Adopted(
        execution=execution_of(row),
        program=program_of(row),
        placement=row.placement,
        stored=stored,
        next_seq=last + 1,
    )
