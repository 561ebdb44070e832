"""How rows change: each function is the inside of one transaction, and notes what it changes.

An execution is changed by the holder of its lease alone, and a final one has no lease: so one
condition keeps away both the late word of a process that counts as dead and a second end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import Connection, Float, Row, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.domain.execution import Execution, File, Outcome, Program
from app.domain.ports import Placement
from app.domain.results import CaseResult
from app.domain.testing import Verdict
from app.storage import testing
from app.storage.clock import from_now
from app.storage.feed import changes_of, events_of
from app.storage.mapping import (
    Hold,
    LogEntry,
    artifact_values,
    execution_values,
    is_small,
    log_values,
    outcome_values,
)
from app.storage.rows import ARTIFACTS, EXECUTIONS, OUTPUT
from app.storage.usage import SPENT_BY, spend


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWords:
    """What is stored with an end."""

    entries: Sequence[LogEntry] = ()
    artifacts: Sequence[File] = ()
    verdict: Verdict | None = None
    """What its tests say together, if they were carried out."""

    @property
    def is_brief(self) -> bool:
        """Whether it takes but a moment to write it."""
        pieces = (each.output.data for each in self.entries)
        return not (self.artifacts or self.verdict) and is_small(*pieces)


Note: TypeAlias = Callable[[str], None]
"""Takes the topic of a change, for who waits for it."""

# What a change of status is announced with.
CHANGED = (EXECUTIONS.c.id, EXECUTIONS.c.owner, EXECUTIONS.c.session_id)
ENDED = tuple(dict.fromkeys((*CHANGED, EXECUTIONS.c.tests, *SPENT_BY)))

# Made once, and of tables: to build them anew for every program, or through the ORM, costs more
# than to run them.
_HELD = (
    EXECUTIONS.c.id == bindparam("this"),
    EXECUTIONS.c.lease_holder == bindparam("holder"),
    EXECUTIONS.c.attempt == bindparam("try"),
)
_UPDATE = update(EXECUTIONS).where(*_HELD)
_END = _UPDATE.returning(*ENDED)
# Nobody may end it while we write. On SQLite there is no other writer.
_LOCK = select(EXECUTIONS.c.id).where(*_HELD).with_for_update(key_share=True)
_WISH = select(EXECUTIONS.c.cancel_requested).where(*_HELD)
_INSERT = insert(EXECUTIONS).values(lease_expires_at=from_now(bindparam("lease_time", type_=Float)))
_INSERT_ARTIFACTS = insert(ARTIFACTS)
# What is there has been sent before, and the answer was lost: the holder numbers each piece once.
_INSERT_OUTPUT = {
    "postgresql": postgresql.insert(OUTPUT).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(OUTPUT).on_conflict_do_nothing(),
}


def create(  # noqa: PLR0913 - what a row is
    connection: Connection,
    note: Note,
    execution: Execution,
    program: Program,
    holder: str,
    lease_time: float,
) -> None:
    """Add an execution that runs, held by a lease."""
    lease = {"lease_holder": holder, "lease_time": lease_time}
    connection.execute(_INSERT, execution_values(execution, program) | lease)
    if program.suite:
        testing.add(connection, execution.id, program.suite)
    if execution.session_id is not None:  # nobody can follow it yet by its id
        note(f"{changes_of(execution.owner, execution.session_id)} {execution.id.hex}")


def place(connection: Connection, hold: Hold, placement: Placement) -> bool:
    """Remember where an execution is about to run."""
    values = {**_this(hold), "placement": dict(placement)}
    return connection.execute(_UPDATE, values).rowcount == 1


def append(connection: Connection, note: Note, hold: Hold, entries: Sequence[LogEntry]) -> bool:
    """Add to the log of an execution."""
    if connection.execute(_LOCK, _this(hold)).first() is None:
        return False
    _log(connection, hold.id, entries)
    note(events_of(hold.id))
    return True


def record(connection: Connection, note: Note, hold: Hold, results: Sequence[CaseResult]) -> bool:
    """Write down what came of tests of an execution."""
    if connection.execute(_LOCK, _this(hold)).first() is None:
        return False
    testing.record(connection, hold.id, results)
    note(events_of(hold.id))
    return True


def finish(  # noqa: PLR0913 - what an end is
    connection: Connection,
    note: Note,
    hold: Hold,
    outcome: Outcome,
    at: datetime,
    last: LastWords,
    *,
    counts: bool,
) -> bool:
    """End an execution; where its owner's share counts, add what it has used."""
    values = {**_this(hold), **outcome_values(outcome, at)}
    if last.verdict:
        values["wall_time"] = None  # many programs ran, and how long is not for everybody
    ended = connection.execute(_END, values).all()
    if not changed(ended, note):
        return False
    _log(connection, hold.id, last.entries)
    testing.settle(connection, ended, last.verdict, at)
    if last.artifacts:
        connection.execute(_INSERT_ARTIFACTS, artifact_values(hold.id, last.artifacts))
    if counts:
        spend(connection, ended, outcome, at)
    return True


def is_unwanted(connection: Connection, hold: Hold) -> bool:
    """Whether somebody wants the end of an execution, or it is no longer held."""
    return connection.execute(_WISH, _this(hold)).scalar() is not False


def announce(execution: Execution, note: Note) -> None:
    """Note that the status of an execution has changed."""
    note(events_of(execution.id))
    if execution.session_id is not None:
        note(f"{changes_of(execution.owner, execution.session_id)} {execution.id.hex}")


def changed(rows: Sequence[Row[Any]], note: Note) -> int:
    """Note that the status of these has changed, and count them."""
    for row in rows:
        note(events_of(row.id))
        if row.session_id is not None:
            note(f"{changes_of(row.owner, row.session_id)} {row.id.hex}")
    return len(rows)


def _this(hold: Hold) -> dict[str, Any]:
    return {"this": hold.id, "holder": hold.holder, "try": hold.attempt}


def _log(connection: Connection, id: UUID, entries: Sequence[LogEntry]) -> None:
    if entries:
        statement = _INSERT_OUTPUT[connection.dialect.name]
        connection.execute(statement, log_values(id, entries))
