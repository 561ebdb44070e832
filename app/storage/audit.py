"""The audit log: each function is the inside of one transaction."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, insert, select

from app.domain.access import Action, AuditEntry, AuditFilter, Role
from app.storage.access_rows import AUDIT
from app.storage.mapping import AnyRow, plain

_INSERT = insert(AUDIT)


def add(connection: Connection, entries: Sequence[AuditEntry]) -> None:
    """Write entries."""
    rows = [
        {
            "id": entry.id,
            "at": entry.at,
            "owner": entry.owner,
            "action": entry.action.value,
            "target": entry.target,
            "role": entry.role.value,
            "key_id": entry.key_id,
            "subject": entry.subject,
            "session_id": entry.session_id,
        }
        for entry in entries
    ]
    connection.execute(_INSERT, rows)


def page(
    connection: Connection, wanted: AuditFilter, before: UUID | None, limit: int
) -> tuple[AuditEntry, ...]:
    """Return entries, the newest first, that are older than one."""
    statement = select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit)
    for name in ("owner", "action", "subject", "session_id"):
        if (value := getattr(wanted, name)) is not None:
            statement = statement.where(AUDIT.c[name] == value)
    if before is not None:
        statement = statement.where(AUDIT.c.id < before)
    return tuple(map(_entry_of, connection.execute(statement)))


def _entry_of(row: AnyRow) -> AuditEntry:
    return AuditEntry(
        id=plain(row.id),
        at=row.at,
        owner=row.owner,
        action=Action(row.action),
        target=row.target,
        role=Role(row.role),
        key_id=None if row.key_id is None else plain(row.key_id),
        subject=row.subject,
        session_id=row.session_id,
    )
