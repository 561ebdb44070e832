"""What happened to an execution, as its rows tell it: replay and live are one and the same.

No number is stored. QUEUED is 1, at `created_at`; RUNNING is 2, at `started_at`; a row of the log
is its `seq` + 2, since there is output only after RUNNING; and the end is one more than the last.
An execution that was handed back keeps `started_at`, so a number once given stays what it is.
"""

from collections.abc import Iterator, Sequence
from uuid import UUID

from sqlalchemy import Connection, bindparam, func, select

from app.domain.events import CaseEnded, Event, EventPage, Finished, OutputWritten, StatusChanged
from app.domain.execution import Execution, Output, Status, Stream
from app.domain.limits import MIB
from app.storage import reads, testing
from app.storage.mapping import execution_of
from app.storage.rows import EXECUTIONS, OUTPUT

QUEUED, RUNNING = 1, 2  # the numbers of these events; the log begins after them
PAGE_SIZE = 1 * MIB  # bytes of output in a page, but for a last row that passes it

_THIS_LOG = OUTPUT.c.execution_id == bindparam("id")
# Sizes alone come first: to add them up, no database loads what it then leaves out.
_SIZES = (
    select(OUTPUT.c.seq, func.length(OUTPUT.c.data).label("size"))
    .where(_THIS_LOG, OUTPUT.c.seq > bindparam("after"))
    .order_by(OUTPUT.c.seq)
    .limit(bindparam("limit"))
    .subquery()
)
_SUMS = select(
    _SIZES.c.seq, (func.sum(_SIZES.c.size).over(order_by=_SIZES.c.seq) - _SIZES.c.size).label("sum")
).subquery()
_LOG = (
    select(OUTPUT.c.seq, OUTPUT.c.at, OUTPUT.c.stream, OUTPUT.c.data)
    .join(_SUMS, OUTPUT.c.seq == _SUMS.c.seq)
    .where(_THIS_LOG, _SUMS.c.sum < PAGE_SIZE)
    .order_by(OUTPUT.c.seq)
)
_LAST = select(func.coalesce(func.max(OUTPUT.c.seq), 0)).where(
    OUTPUT.c.execution_id == EXECUTIONS.c.id
)
_THIS = reads.EXECUTION.add_columns(_LAST.scalar_subquery().label("last")).where(
    EXECUTIONS.c.owner == bindparam("owner"), EXECUTIONS.c.id == bindparam("id")
)


def page(  # noqa: PLR0913 - whose, which, and what of it
    connection: Connection, owner: str, id: UUID, after: int, limit: int, *, sees_hidden: bool
) -> EventPage | None:
    """Return what follows an event, or None when there is no such execution."""
    row = connection.execute(_THIS, {"owner": owner, "id": id}).first()
    if row is None:
        return None
    execution = execution_of(row)
    tests = _tests(connection, execution, sees_hidden=sees_hidden) if execution.tests else []
    total = _total(execution, len(tests) or row.last)
    found = [event for event in (*_beginning(execution), *tests) if event.sequence > after]
    if not execution.tests and row.last + RUNNING > after:
        found += _log(connection, id, max(after - RUNNING, 0), limit)
    if (end := _end(execution, total)) and after < total == _number(found, after) + 1:
        found.append(end)
    events = tuple(found[:limit])
    reached = _number(events, after)
    return EventPage(
        events=events,
        has_more=reached < total,
        is_over=execution.status.is_final and reached >= total,
    )


def _total(execution: Execution, last: int) -> int:
    """Return the number of the latest event."""
    begun = QUEUED if execution.started_at is None else RUNNING + last
    return begun + execution.status.is_final


def _number(events: Sequence[Event], after: int) -> int:
    """Return the number that has been reached."""
    return events[-1].sequence if events else after


def _beginning(execution: Execution) -> Iterator[Event]:
    moments = ((Status.QUEUED, execution.created_at), (Status.RUNNING, execution.started_at))
    for number, (status, at) in enumerate(moments, start=QUEUED):
        if at is not None:
            yield StatusChanged(execution_id=execution.id, sequence=number, at=at, status=status)


def _tests(connection: Connection, execution: Execution, *, sees_hidden: bool) -> list[Event]:
    """Return the tests that have ended, as far as they are shown."""
    ended = testing.ended if sees_hidden else testing.shown
    # Where they were not carried out to the end, it is not told which hidden ones had ended.
    shows_all = sees_hidden or execution.status is Status.SUCCEEDED
    found = [each for each in ended(connection, execution.id) if shows_all or not each.is_hidden]
    # That one was judged is no secret in the end, but when it was remains one.
    hidden_at = None if sees_hidden else execution.finished_at
    return [
        CaseEnded(
            execution_id=execution.id,
            sequence=number,
            at=(each.is_hidden and hidden_at) or each.ended_at or execution.created_at,
            test=each,
        )
        for number, each in enumerate(found, start=RUNNING + 1)
    ]


def _log(connection: Connection, id: UUID, after: int, limit: int) -> Iterator[Event]:
    for row in connection.execute(_LOG, {"id": id, "after": after, "limit": limit}):
        output = Output(stream=Stream(row.stream), data=row.data)
        sequence = RUNNING + row.seq
        yield OutputWritten(execution_id=id, sequence=sequence, at=row.at, output=output)


def _end(execution: Execution, number: int) -> Finished | None:
    if not execution.status.is_final:
        return None
    at = execution.finished_at or execution.created_at
    return Finished(execution_id=execution.id, sequence=number, at=at, execution=execution)
