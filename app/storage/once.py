"""A wish that is sent again is the same wish: the database decides which came first.

A unique index over owner and key does it, so it holds between processes as well. Each function is
the inside of one transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, bindparam, update
from sqlalchemy.exc import IntegrityError

from app.domain.access import AuditEntry
from app.domain.execution import Execution, Program
from app.storage.mapping import execution_of, is_small
from app.storage.reads import EXECUTION
from app.storage.rows import EXECUTIONS
from app.storage.writes import Note

T = TypeVar("T")

_THIS = (
    EXECUTIONS.c.owner == bindparam("of"),
    EXECUTIONS.c.idempotency_key == bindparam("key"),
)
_FIND = EXECUTION.add_columns(EXECUTIONS.c.fingerprint).where(
    *_THIS, EXECUTIONS.c.created_at >= bindparam("since")
)
_NAME = update(EXECUTIONS).where(EXECUTIONS.c.id == bindparam("this"))
_FREE = (
    update(EXECUTIONS)
    .where(*_THIS, EXECUTIONS.c.created_at < bindparam("since"))
    .values(idempotency_key=None, fingerprint=None)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What makes two submissions of one owner the same."""

    key: str
    fingerprint: bytes
    """Of all that determines the run."""
    since: datetime
    """Who used the key before this moment has it no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An execution that is about to be added, with what is written at the same time."""

    execution: Execution
    program: Program
    wish: Wish | None = None
    entry: AuditEntry | None = None
    """Of the audit log."""

    @property
    def is_brief(self) -> bool:
        """Whether it takes but a moment to write it."""
        program = self.program
        data = (each.data for each in program.files)
        return program.suite is None and is_small(
            program.source, program.stdin, *program.args, *data
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """Who has the key already."""

    execution: Execution
    fingerprint: bytes


def find(connection: Connection, owner: str, wish: Wish) -> Earlier | None:
    """Return who has the key."""
    row = connection.execute(_FIND, _named(owner, wish)).first()
    if row is None:
        return None
    return Earlier(execution=execution_of(row), fingerprint=row.fingerprint)


def once(
    connection: Connection,
    note: Note,
    execution: Execution,
    wish: Wish | None,
    add: Callable[[Connection, Note], T],
) -> T | Earlier:
    """Add an execution, unless somebody has its key: then return who."""
    if wish is None:
        return add(connection, note)
    connection.execute(_FREE, _named(execution.owner, wish))
    try:
        with connection.begin_nested():
            added = add(connection, note)
            connection.execute(_NAME, {"this": execution.id, **_values(wish)})
            return added
    except IntegrityError:
        # Who came first has committed by now: until then, we were kept waiting.
        earlier = find(connection, execution.owner, wish)
        if earlier is None:
            raise
        return earlier


def _named(owner: str, wish: Wish) -> dict[str, object]:
    return {"of": owner, "key": wish.key, "since": wish.since}


def _values(wish: Wish) -> dict[str, object]:
    return {"idempotency_key": wish.key, "fingerprint": wish.fingerprint}
