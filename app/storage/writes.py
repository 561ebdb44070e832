"""How rows change: each function is the inside of one transaction, and notes what it changes.

An execution is changed by the holder of its lease alone, and a final one has no lease: so one
condition keeps away both the late word of a process that counts as dead and a second end.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from app.domain.execution import Execution, Outcome, Program, Status
from app.domain.ports import Placement
from app.storage.feed import changes_of, events_of
from app.storage.mapping import (
    Lease,
    LogEntry,
    execution_values,
    lease_values,
    log_values,
    outcome_values,
)
from app.storage.rows import EXECUTIONS, OUTPUT

Note: TypeAlias = Callable[[str], None]
"""Takes the topic of a change, for who waits for it."""

# Made once, and of tables: to build them anew for every program, or through the ORM, costs more
# than to run them.
_THIS = EXECUTIONS.c.id == bindparam("this")
_HELD = EXECUTIONS.c.lease_holder == bindparam("holder")
# What a change of status is announced with.
_WHOSE = (EXECUTIONS.c.id, EXECUTIONS.c.owner, EXECUTIONS.c.session_id)
_UPDATE_THIS = update(EXECUTIONS).where(_THIS, _HELD)
_BEGIN = _UPDATE_THIS.where(EXECUTIONS.c.status == Status.QUEUED.value).returning(*_WHOSE)
_END = _UPDATE_THIS.returning(*_WHOSE)
_UPDATE_HELD = update(EXECUTIONS).where(_HELD)
_ABANDON = _UPDATE_HELD.returning(*_WHOSE)
_ABANDON_EXPIRED = _ABANDON.where(EXECUTIONS.c.lease_expires_at < bindparam("moment"))
# Nobody may end it while we write. On SQLite there is no other writer.
_LOCK_THIS = select(EXECUTIONS.c.id).where(_THIS, _HELD).with_for_update(key_share=True)
_INSERT = insert(EXECUTIONS)
_INSERT_OUTPUT = insert(OUTPUT)


def create(
    connection: Connection, note: Note, execution: Execution, program: Program, lease: Lease
) -> None:
    """Add an execution, held by its lease."""
    connection.execute(_INSERT, execution_values(execution, program, lease))
    if execution.session_id is not None:
        note(f"{changes_of(execution.owner, execution.session_id)} {execution.id.hex}")


def mark_running(connection: Connection, note: Note, id: UUID, at: datetime, lease: Lease) -> bool:
    """Say that a queued execution has begun."""
    values = {"status": Status.RUNNING.value, "started_at": at, **lease_values(lease)}
    this = {"this": id, "holder": lease.holder}
    return _changed(connection.execute(_BEGIN, this | values).all(), note) == 1


def place(connection: Connection, id: UUID, placement: Placement, holder: str) -> bool:
    """Remember where an execution that `holder` works on is about to run."""
    values = {"this": id, "holder": holder, "placement": dict(placement)}
    return connection.execute(_UPDATE_THIS, values).rowcount == 1


def append(
    connection: Connection, note: Note, id: UUID, entries: Sequence[LogEntry], holder: str
) -> bool:
    """Add to the log of an execution that `holder` works on."""
    if connection.execute(_LOCK_THIS, {"this": id, "holder": holder}).first() is None:
        return False
    _log(connection, id, entries)
    note(events_of(id))
    return True


def finish(  # noqa: PLR0913 - what an end is
    connection: Connection,
    note: Note,
    id: UUID,
    outcome: Outcome,
    at: datetime,
    entries: Sequence[LogEntry],
    holder: str,
) -> bool:
    """End an execution that `holder` works on."""
    values = {"this": id, "holder": holder, **outcome_values(outcome, at)}
    if not _changed(connection.execute(_END, values).all(), note):
        return False
    _log(connection, id, entries)
    return True


def renew(connection: Connection, lease: Lease) -> int:
    """Put off the expiry of all that a holder works on."""
    values = {"holder": lease.holder, "lease_expires_at": lease.expires_at}
    return connection.execute(_UPDATE_HELD, values).rowcount


def abandon(  # noqa: PLR0913 - as above
    connection: Connection,
    note: Note,
    holder: str,
    outcome: Outcome,
    at: datetime,
    expired_before: datetime | None,
) -> int:
    """End all that a holder has left behind."""
    values = {"holder": holder, **outcome_values(outcome, at)}
    if expired_before is None:
        return _changed(connection.execute(_ABANDON, values).all(), note)
    expired = connection.execute(_ABANDON_EXPIRED, values | {"moment": expired_before})
    return _changed(expired.all(), note)


def _changed(rows: Sequence[Row[Any]], note: Note) -> int:
    """Note that the status of these has changed, and count them."""
    for row in rows:
        note(events_of(row.id))
        if row.session_id is not None:
            note(f"{changes_of(row.owner, row.session_id)} {row.id.hex}")
    return len(rows)


def _log(connection: Connection, id: UUID, entries: Sequence[LogEntry]) -> None:
    if entries:
        connection.execute(_INSERT_OUTPUT, log_values(id, entries))
