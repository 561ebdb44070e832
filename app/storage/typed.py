"""Input that is sent to a program while it runs: kept in rows, so from whatever process.

A row stays until its execution goes: whoever has to run the program again gives it the same input.
"""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, bindparam, case, func, insert, select, update

from app.domain.errors import InputRefusal, NoSuchExecution
from app.domain.execution import Status
from app.domain.limits import MIB
from app.storage.feed import typing_for
from app.storage.rows import EXECUTIONS, INPUT
from app.storage.writes import Note

BUFFER_SIZE = 1 * MIB  # bytes that were sent and that the program has not taken yet
MOST_IN_ALL = 16 * MIB  # bytes for one execution; more than anybody types
PAGE = 64  # pieces that are read at once
PIECE_COST = 64  # bytes that a piece counts beside its own: many small ones are large as well

_ROWS = INPUT.c.execution_id == bindparam("this")
# Locked: pieces that come at once, from two processes, get one number each.
_EXECUTION = (
    select(EXECUTIONS.c.status, EXECUTIONS.c.interactive)
    .where(EXECUTIONS.c.id == bindparam("this"), EXECUTIONS.c.owner == bindparam("owner"))
    .with_for_update(key_share=True)
)
_SIZE = func.length(INPUT.c.data) + PIECE_COST
_STATE = select(
    func.coalesce(func.max(INPUT.c.seq), 0).label("seq"),
    func.coalesce(func.sum(_SIZE), 0).label("size"),
    func.coalesce(func.sum(case((INPUT.c.is_read, 0), else_=_SIZE)), 0).label("unread"),
    func.coalesce(func.max(case((INPUT.c.is_last, 1), else_=0)), 0).label("closed"),
).where(_ROWS)
_PIECES = (
    select(INPUT.c.seq, INPUT.c.data, INPUT.c.is_last)
    .where(_ROWS, INPUT.c.seq > bindparam("after"))
    .order_by(INPUT.c.seq)
    .limit(PAGE)
)
_HELD = (
    select(EXECUTIONS.c.id)
    .where(EXECUTIONS.c.id == bindparam("this"), EXECUTIONS.c.lease_holder == bindparam("holder"))
    .scalar_subquery()
)
_MARK_READ = (
    update(INPUT)
    .where(INPUT.c.execution_id == _HELD, INPUT.c.seq <= bindparam("until"))
    .values(is_read=True)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedInput:
    """A piece of input with its place."""

    seq: int
    data: bytes
    is_last: bool


def add(  # noqa: PLR0913 - what a piece is
    connection: Connection, note: Note, owner: str, id: UUID, data: bytes, *, is_last: bool
) -> InputRefusal | None:
    """Keep a piece, unless there is a reason not to."""
    execution = connection.execute(_EXECUTION, {"this": id, "owner": owner}).first()
    if execution is None:
        raise NoSuchExecution
    if Status(execution.status).is_final:
        return InputRefusal.ENDED
    if not execution.interactive:
        return InputRefusal.NOT_INTERACTIVE
    state = connection.execute(_STATE, {"this": id}).one()
    if state.closed:
        return InputRefusal.CLOSED
    size = len(data) + PIECE_COST
    if state.unread + size > BUFFER_SIZE or state.size + size > MOST_IN_ALL:
        return InputRefusal.FULL
    row = {"seq": state.seq + 1, "is_read": False, "is_last": is_last, "data": data}
    connection.execute(insert(INPUT), {"execution_id": id, **row})
    note(typing_for(id))
    return None


def pieces(connection: Connection, id: UUID, after: int) -> tuple[TypedInput, ...]:
    """Return what comes after a piece."""
    rows = connection.execute(_PIECES, {"this": id, "after": after})
    return tuple(TypedInput(seq=row.seq, data=row.data, is_last=row.is_last) for row in rows)


def mark_read(connection: Connection, id: UUID, seq: int, holder: str) -> bool:
    """Say that the program has taken all up to a piece."""
    values = {"this": id, "holder": holder, "until": seq}
    return connection.execute(_MARK_READ, values).rowcount > 0
