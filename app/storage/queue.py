"""The row is the queue: a row that waits is taken by whoever has room, and held by a lease.

Theory of operation. A row is in one of three states, and each has a column that only it sets:

    QUEUED    `turn_at`: since when it counts as waiting; nobody holds it
    RUNNING   `lease_holder`, `lease_expires_at`: one process works on it
    final     neither; nothing can change it any more

Who claims takes the first rows by their turn and skips those that another one is just taking. Whose
turn it is: an owner's first row stands behind as many as the owner has running, the second one
further, so that nobody's queue delays another's; then who has waited longest. An interactive run
counts as waiting for longer than it does: somebody sits there.

A lease is renewed while its holder lives. When it has expired, or its holder is known to be dead,
somebody else decides what becomes of the row. Leases go by the clock of the database.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    Float,
    Row,
    bindparam,
    case,
    func,
    insert,
    null,
    select,
    true,
    update,
)

from app.domain.execution import Execution, Outcome, Program, Status
from app.domain.language import beginnings
from app.domain.ports import Support
from app.domain.testing import Suite
from app.storage import reads, testing
from app.storage.clock import from_now
from app.storage.feed import QUEUE, cancels_of
from app.storage.mapping import (
    AnyRow,
    execution_of,
    execution_values,
    outcome_values,
    plain,
    program_of,
)
from app.storage.rows import EXECUTIONS
from app.storage.writes import CHANGED, Note, announce

HEAD_START = timedelta(seconds=30)  # of an interactive run: it has waited for so much longer
_BETWEEN = " / "  # no version has it
SPARE = 16  # rows that are looked at besides those wanted: others may be taking the first ones

_C = EXECUTIONS.c
_WAITS = _C.turn_at.is_not(None)
_HELD = _C.lease_holder.is_not(None)

_IN_QUEUE = select(
    func.count().label("in_all"),
    func.coalesce(func.sum(case((_C.owner == bindparam("owner"), 1), else_=0)), 0).label("owned"),
).where(_WAITS)
_LENGTH = select(func.count().label("length"), func.min(_C.created_at).label("oldest")).where(
    _WAITS
)
_RUNNING = (
    select(_C.owner, func.count().label("running")).where(_HELD).group_by(_C.owner).subquery()
)
_ORDER_OF_OWNER = func.row_number().over(partition_by=_C.owner, order_by=(_C.turn_at, _C.id))
_RANKED = (
    select(
        _C.id,
        _C.owner,
        _C.turn_at,
        _C.language,
        _C.wanted_version,
        _C.environment,
        (_ORDER_OF_OWNER + func.coalesce(_RUNNING.c.running, 0)).label("score"),
    )
    .outerjoin_from(EXECUTIONS, _RUNNING, _C.owner == _RUNNING.c.owner)
    .where(_WAITS)
    .subquery()
)
_TURN = (_RANKED.c.score, _RANKED.c.turn_at, _RANKED.c.id)
_NEEDS = (
    _RANKED.c.language
    + _BETWEEN
    + func.coalesce(_RANKED.c.environment, "")
    + _BETWEEN
    + func.coalesce(_RANKED.c.wanted_version, "")
)
_FIRST = (
    select(*_TURN)
    .where(_NEEDS.in_(bindparam("needs", expanding=True)))
    .order_by(*_TURN)
    .limit(bindparam("looked_at"))
    .subquery()
)
_TAKE = (
    reads.EXECUTION.add_columns(*reads.PROGRAM)
    .join(_FIRST, _FIRST.c.id == _C.id)
    .where(_WAITS)
    .order_by(_FIRST.c.score, _FIRST.c.turn_at, _FIRST.c.id)
    .limit(bindparam("wanted"))
    .with_for_update(of=EXECUTIONS, skip_locked=True)
)
# Among the owner's own: how many of others wait is nobody's business.
_PLACES = select(
    _RANKED.c.id,
    func.row_number().over(partition_by=_RANKED.c.owner, order_by=_TURN).label("position"),
).subquery()
_NAMED_PLACES = (
    select(_C.id, _PLACES.c.position, _C.created_at)
    .join(EXECUTIONS, _PLACES.c.id == _C.id)
    .where(*reads.NAMED)
)
_INSERT = insert(EXECUTIONS)
_THIS = update(EXECUTIONS).where(_C.id == bindparam("this"))
_BEGIN = _THIS.values(
    status=Status.RUNNING.value,
    turn_at=null(),
    lease_expires_at=from_now(bindparam("lease_time", type_=Float)),
)
_LOCK = (
    select(_C.id)
    .where(_C.id == bindparam("this"), _C.owner == bindparam("of"))
    .with_for_update(key_share=True)
)
_OWNED = _THIS.where(_C.owner == bindparam("of"))
_CANCEL_QUEUED = _OWNED.where(_WAITS).returning(*CHANGED, _C.tests)
_ASK_TO_CANCEL = _OWNED.where(_HELD).values(cancel_requested=true()).returning(_C.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many may wait."""

    owned: int
    """Of one owner."""
    in_all: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimer:
    """Who takes work, and what it can run."""

    holder: str
    executor: str
    runs: Mapping[str, Support]
    """Each language that it can run."""

    @property
    def needs(self) -> list[str]:
        """All that a program can need and have here, as `_NEEDS` says it of a row."""
        found = [_BETWEEN.join((language, "", "")) for language in self.runs]
        for language, support in self.runs.items():
            for environment in (None, *support.environments):
                versions = support.versions_with(environment)
                wanted = {"" for _ in versions} | set(
                    chain.from_iterable(map(beginnings, versions))
                )
                found += [_BETWEEN.join((language, environment or "", each)) for each in wanted]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """An execution to be looked after, with its program."""

    execution: Execution
    program: Program


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLength:
    """How many wait, on all servers, and since when the oldest does."""

    length: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePlace:
    """Where an execution stands: the first is 1."""

    position: int
    since: datetime


def enqueue(
    connection: Connection, note: Note, execution: Execution, program: Program, bounds: Bounds
) -> bool:
    """Add an execution that waits; False and nothing added when there is no room."""
    queued = connection.execute(_IN_QUEUE, {"owner": execution.owner}).one()
    if queued.owned >= bounds.owned or queued.in_all >= bounds.in_all:
        return False
    head_start = HEAD_START if execution.interactive else timedelta()
    values = execution_values(execution, program)
    connection.execute(_INSERT, values | {"turn_at": execution.created_at - head_start})
    if program.suite:
        testing.add(connection, execution.id, program.suite)
    announce(execution, note)
    note(QUEUE)
    return True


def claim(  # noqa: PLR0913 - what is wanted, by whom, and how many
    connection: Connection,
    note: Note,
    by: Claimer,
    wanted: int,
    at: datetime,
    lease_time: float,
) -> tuple[Work, ...]:
    """Take the first that wait; they are running from now on."""
    rows = _take(connection, by, wanted, wanted + SPARE)
    if len(rows) < wanted and (waiting := length(connection).length) > wanted + SPARE:
        # Others are taking all that we have looked at; there is more behind.
        rows = _take(connection, by, wanted, waiting)
    suites = testing.suites(
        connection, {plain(row.id): row.stops_on_failure for row in rows if row.tests}
    )
    taken = tuple(_begun(row, suites.get(plain(row.id)), by, at) for row in rows)
    if taken:
        connection.execute(
            _BEGIN, [_begun_values(work.execution, by, lease_time) for work in taken]
        )
    for work in taken:
        announce(work.execution, note)
    return taken


def _take(connection: Connection, by: Claimer, wanted: int, looked_at: int) -> Sequence[Row[Any]]:
    values = {"needs": by.needs, "wanted": wanted, "looked_at": looked_at}
    return connection.execute(_TAKE, values).all()


def _begun(row: AnyRow, suite: Suite | None, by: Claimer, at: datetime) -> Work:
    execution, program = execution_of(row), replace(program_of(row), suite=suite)
    running = replace(
        execution,
        status=Status.RUNNING,
        executor=by.executor,
        language_version=by.runs[execution.language].choose(
            program.language_version, program.environment
        ),
        # It began once; and not before it was there, whatever another host's clock says.
        started_at=execution.started_at or max(at, execution.created_at),
    )
    return Work(execution=running, program=program)


def _begun_values(execution: Execution, by: Claimer, lease_time: float) -> dict[str, object]:
    return {
        "this": execution.id,
        "lease_holder": by.holder,
        "lease_time": lease_time,
        "executor": execution.executor,
        "language_version": execution.language_version,
        "started_at": execution.started_at,
    }


def cancel(  # noqa: PLR0913 - whose, which, and what is made of it
    connection: Connection, note: Note, owner: str, id: UUID, outcome: Outcome, at: datetime
) -> Execution | None:
    """End an execution that waits, or ask its holder to; return it as it is then."""
    this = {"this": id, "of": owner}
    # Locked, or it might go from waiting to running, or back, between two questions.
    connection.execute(_LOCK, this)
    ended = connection.execute(_CANCEL_QUEUED, this | outcome_values(outcome, at)).first()
    if ended is not None:
        testing.settle(connection, [ended], None, at)
    elif connection.execute(_ASK_TO_CANCEL, this).first():
        note(cancels_of(id))
    execution = reads.executions(connection, owner, [id]).get(id)
    if ended is not None and execution is not None:
        announce(execution, note)
    return execution


def length(connection: Connection) -> QueueLength:
    """Return how many wait."""
    row = connection.execute(_LENGTH).one()
    return QueueLength(length=row.length, oldest=row.oldest)


def places(connection: Connection, owner: str, ids: Sequence[UUID]) -> dict[UUID, QueuePlace]:
    """Return where executions stand in the queue, those of them that do."""
    rows = connection.execute(_NAMED_PLACES, {"owner": owner, "ids": ids})
    return {plain(row.id): QueuePlace(position=row.position, since=row.created_at) for row in rows}
