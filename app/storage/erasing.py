"""How executions are erased: each function is the inside of one short transaction.

What belongs to an execution goes with its row, by the foreign keys. Only what has ended is erased:
a program that runs would write on.
What is left of them in SQLite's files is the matter of `tidying`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate, takewhile
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Integer, Select, bindparam, delete, exists, func, select

from app.domain.execution import UNFINISHED
from app.domain.history import Filter
from app.domain.limits import KIB
from app.storage.feed import ERASED
from app.storage.mapping import plain
from app.storage.reads import match
from app.storage.rows import ARTIFACTS, EXECUTIONS, OUTPUT
from app.storage.writes import Note

MOST_EXECUTIONS = 100  # in one transaction; a few milliseconds
MOST_PIECES = 128  # in one transaction, but for a single execution that has more; 8 MiB of output
_PIECE = 64 * KIB  # of artifacts: as large as a piece of output can be

_HAS_ENDED = EXECUTIONS.c.status.not_in([status.value for status in UNFINISHED])
_OUTPUTS = (
    select(func.count())
    .where(OUTPUT.c.execution_id == EXECUTIONS.c.id)
    .correlate(EXECUTIONS)
    .scalar_subquery()
)
_ARTIFACTS = (
    select(func.coalesce(func.sum(1 + func.length(ARTIFACTS.c.data, type_=Integer) // _PIECE), 0))
    .where(ARTIFACTS.c.execution_id == EXECUTIONS.c.id)
    .correlate(EXECUTIONS)
    .scalar_subquery()
)
_PIECES = _OUTPUTS + EXECUTIONS.c.tests + _ARTIFACTS
_ERASE = delete(EXECUTIONS).where(EXECUTIONS.c.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What one transaction has erased."""

    count: int
    has_more: bool
    """Whether something is left that matches and has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Executions of one owner: named, or those that match."""

    owner: str
    filter: Filter = Filter()  # noqa: RUF009 - frozen
    ids: tuple[UUID, ...] | None = None

    def select(self, *columns: Any) -> Select[*tuple[Any, ...]]:
        """Select columns of the executions that are meant."""
        statement = select(*columns).where(*match(self.owner, self.filter))
        return statement if self.ids is None else statement.where(EXECUTIONS.c.id.in_(self.ids))


def erase_chosen(connection: Connection, note: Note, chosen: Chosen) -> Erased:
    """Erase some of an owner's executions that have ended."""
    return _erase(connection, note, chosen.select(EXECUTIONS.c.id, _PIECES).where(_HAS_ENDED))


def erase_before(connection: Connection, note: Note, moment: datetime) -> Erased:
    """Erase some of anybody's executions that were accepted before a moment and have ended."""
    return _erase(connection, note, select(EXECUTIONS.c.id, _PIECES).where(*_older(moment)))


def count_before(connection: Connection, moment: datetime) -> int:
    """Return how many `erase_before` would erase in all."""
    return connection.execute(select(func.count()).where(*_older(moment))).scalar_one()


def unfinished(connection: Connection, chosen: Chosen, most: int) -> tuple[UUID, ...]:
    """Name those of an owner's executions that have not ended, up to so many."""
    rows = connection.execute(chosen.select(EXECUTIONS.c.id).where(~_HAS_ENDED).limit(most))
    return tuple(plain(id) for (id,) in rows)


def _erase(connection: Connection, note: Note, candidates: Select[*tuple[Any, ...]]) -> Erased:
    statement = (
        candidates.order_by(EXECUTIONS.c.id)
        .limit(MOST_EXECUTIONS)
        # Two that erase at once take different ones. SQLite has one writer.
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(statement).all()
    ids = _first_of(rows)
    if ids:
        connection.execute(_ERASE, {"ids": ids})
        note(ERASED)
    has_more = len(ids) < len(rows) or len(rows) == MOST_EXECUTIONS
    return Erased(count=len(ids), has_more=has_more and _any(connection, candidates))


def _first_of(rows: Sequence[Any]) -> list[UUID]:
    """Take as many as keep the transaction short, but at least one."""
    sizes = accumulate(pieces for _, pieces in rows)
    fitting = sum(1 for _ in takewhile(lambda size: size <= MOST_PIECES, sizes))
    return [id for id, _ in rows[: max(fitting, 1)]]


def _any(connection: Connection, candidates: Select[*tuple[Any, ...]]) -> bool:
    return bool(connection.execute(select(exists(candidates))).scalar_one())


def _older(moment: datetime) -> tuple[Any, ...]:
    """Match what has ended and was accepted before a moment.

    An id says when it was made, so the primary key finds them, and leaves the young ones alone.
    """
    return EXECUTIONS.c.id < first_id(moment), _HAS_ENDED


def first_id(moment: datetime) -> UUID:
    """Return the lowest id that can be made at a moment."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=max(milliseconds, 0) << 80)
