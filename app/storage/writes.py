"""How rows change: each function is the inside of one transaction.

An execution is changed by the holder of its lease alone, and a final one has no lease: so one
condition keeps away both the late word of a process that counts as dead and a second end.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, bindparam, insert, select, update

from app.domain.execution import Execution, Outcome, Program, Status
from app.domain.ports import Placement
from app.storage.mapping import (
    Lease,
    LogEntry,
    execution_values,
    lease_values,
    log_values,
    outcome_values,
)
from app.storage.rows import EXECUTIONS, OUTPUT

# Made once, and of tables: to build them anew for every program, or through the ORM, costs more
# than to run them.
_THIS = EXECUTIONS.c.id == bindparam("this")
_HELD = EXECUTIONS.c.lease_holder == bindparam("holder")
_UPDATE_THIS = update(EXECUTIONS).where(_THIS, _HELD)
_UPDATE_QUEUED = _UPDATE_THIS.where(EXECUTIONS.c.status == Status.QUEUED.value)
_UPDATE_HELD = update(EXECUTIONS).where(_HELD)
_UPDATE_EXPIRED = _UPDATE_HELD.where(EXECUTIONS.c.lease_expires_at < bindparam("moment"))
# Nobody may end it while we write. On SQLite there is no other writer.
_LOCK_THIS = select(EXECUTIONS.c.id).where(_THIS, _HELD).with_for_update(key_share=True)
_INSERT = insert(EXECUTIONS)
_INSERT_OUTPUT = insert(OUTPUT)


def create(connection: Connection, execution: Execution, program: Program, lease: Lease) -> None:
    """Add an execution, held by its lease."""
    connection.execute(_INSERT, execution_values(execution, program, lease))


def mark_running(connection: Connection, id: UUID, at: datetime, lease: Lease) -> bool:
    """Say that a queued execution has begun."""
    values = {"status": Status.RUNNING.value, "started_at": at, **lease_values(lease)}
    this = {"this": id, "holder": lease.holder}
    return connection.execute(_UPDATE_QUEUED, this | values).rowcount == 1


def place(connection: Connection, id: UUID, placement: Placement, holder: str) -> bool:
    """Remember where an execution that `holder` works on is about to run."""
    values = {"this": id, "holder": holder, "placement": dict(placement)}
    return connection.execute(_UPDATE_THIS, values).rowcount == 1


def append(connection: Connection, id: UUID, entries: Sequence[LogEntry], holder: str) -> bool:
    """Add to the log of an execution that `holder` works on."""
    if connection.execute(_LOCK_THIS, {"this": id, "holder": holder}).first() is None:
        return False
    _log(connection, id, entries)
    return True


def finish(  # noqa: PLR0913 - what an end is
    connection: Connection,
    id: UUID,
    outcome: Outcome,
    at: datetime,
    entries: Sequence[LogEntry],
    holder: str,
) -> bool:
    """End an execution that `holder` works on."""
    this = {"this": id, "holder": holder}
    if connection.execute(_UPDATE_THIS, this | outcome_values(outcome, at)).rowcount != 1:
        return False
    _log(connection, id, entries)
    return True


def renew(connection: Connection, lease: Lease) -> int:
    """Put off the expiry of all that a holder works on."""
    values = {"holder": lease.holder, "lease_expires_at": lease.expires_at}
    return connection.execute(_UPDATE_HELD, values).rowcount


def abandon(
    connection: Connection,
    holder: str,
    outcome: Outcome,
    at: datetime,
    expired_before: datetime | None,
) -> int:
    """End all that a holder has left behind."""
    values = {"holder": holder, **outcome_values(outcome, at)}
    if expired_before is None:
        return connection.execute(_UPDATE_HELD, values).rowcount
    return connection.execute(_UPDATE_EXPIRED, values | {"moment": expired_before}).rowcount


def _log(connection: Connection, id: UUID, entries: Sequence[LogEntry]) -> None:
    if entries:
        connection.execute(_INSERT_OUTPUT, log_values(id, entries))
