"""What owners have had run, and how often somebody asks: the inside of a transaction each.

Theory of operation. Whoever has something run adds one to the row of the owner's day, in the
transaction that accepts the execution. On PostgreSQL that row is locked until the transaction
ends, so whoever comes from another process at the same time counts after us, and no two see the
same last place. SQLite has one writer anyway. What is refused is rolled back, and not counted.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as insert_in_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_in_sqlite

from app.domain.access import Shares, Spent
from app.domain.execution import Execution, Kind, Outcome, Status
from app.storage.access_rows import RATES, USAGE
from app.storage.clock import from_now
from app.storage.mapping import AnyRow, limits_of
from app.storage.rows import EXECUTIONS

_C = EXECUTIONS.c
SPENT_BY = (_C.owner, _C.created_at, _C.started_at, _C.limits, _C.tests)
# These may end before anybody has measured, and whoever could have a program killed to have it free
# would. It counts by the clock then, as one processor, up to what it might have used. What we have
# lost ourselves (`INFRASTRUCTURE_ERROR`) is free.
_KILLED = frozenset({Status.CANCELLED, Status.TIME_LIMIT_EXCEEDED})
_OF_DAY = (USAGE.c.owner == bindparam("of"), USAGE.c.day == bindparam("on"))
_SPENT = select(USAGE.c.executions, USAGE.c.submissions, USAGE.c.cpu_seconds).where(*_OF_DAY)
_LOCK_DAY = select(USAGE.c.owner).where(*_OF_DAY).with_for_update()
_AROUND_MIDNIGHT = timedelta(minutes=10)  # clocks of hosts differ by less
_SPEND = (
    update(USAGE).where(*_OF_DAY).values(cpu_seconds=USAGE.c.cpu_seconds + bindparam("seconds"))
)
_IS_SUBJECTS = _C.subject == bindparam("subject")
_UNFINISHED = select(
    func.count().label("owner"),
    func.coalesce(func.sum(case((_IS_SUBJECTS, 1), else_=0)), 0).label("subject"),
).where(
    _C.owner == bindparam("of"),
    # The two partial indexes of what is unfinished.
    or_(_C.turn_at.is_not(None), _C.lease_holder.is_not(None)),
)
_SUBMISSIONS = select(func.count()).where(
    _C.owner == bindparam("of"),
    _C.session_id == bindparam("session"),
    _C.kind == Kind.SUBMIT.value,
    _C.created_at >= bindparam("since", type_=_C.created_at.type),
)
_STALE = delete(RATES).where(RATES.c.ends_at < from_now(bindparam("ago")))


class Bound(StrEnum):
    """What there is no more of."""

    EXECUTIONS_A_DAY = "executions a day"
    CPU_SECONDS_A_DAY = "CPU seconds a day"
    SUBMISSIONS_A_DAY = "submissions a day"
    SUBMISSIONS_OF_SESSION = "submissions in one session a day"
    AT_ONCE_OF_OWNER = "executions of one owner at one time"
    AT_ONCE_OF_SUBJECT = "executions of one person at one time"


class NoShareError(Exception):
    """The owner, or one of its people, has had its share; nothing was changed."""

    def __init__(self, bound: Bound, most: float) -> None:
        super().__init__(f"{bound} may be at most {most:g}")
        self.bound, self.most = bound, most


def day_of(moment: datetime) -> date:
    """Return the day on which a moment counts."""
    return moment.astimezone(UTC).date()


def admit(connection: Connection, shares: Shares, execution: Execution) -> None:
    """Count an execution that was just added.

    Raises:
        NoShareError: there is no room for it; roll back.
    """
    spent = _count(connection, execution)
    _require(spent.executions, Bound.EXECUTIONS_A_DAY, shares.executions_a_day)
    if execution.kind is Kind.SUBMIT:
        _require(spent.submissions, Bound.SUBMISSIONS_A_DAY, shares.submissions_a_day)
        _require_in_session(connection, execution, shares.submissions_of_session)
    # What is running is not known yet, so the one that passes the bound is let through.
    if shares.cpu_seconds_a_day is not None and spent.cpu_seconds >= shares.cpu_seconds_a_day:
        raise NoShareError(Bound.CPU_SECONDS_A_DAY, shares.cpu_seconds_a_day)
    if shares.at_once_of_owner is None and shares.at_once_of_subject is None:
        return
    _wait_for_yesterday(connection, execution)
    subject = execution.subject
    values = {"of": execution.owner, "subject": subject or ""}
    unfinished = connection.execute(_UNFINISHED, values).one()
    _require(unfinished.owner, Bound.AT_ONCE_OF_OWNER, shares.at_once_of_owner)
    if subject is not None:
        _require(unfinished.subject, Bound.AT_ONCE_OF_SUBJECT, shares.at_once_of_subject)


def _wait_for_yesterday(connection: Connection, execution: Execution) -> None:
    """Let whoever counts on the day before, because midnight has just been, count before us.

    What runs at one time has no day; two days are two rows to lock. The later one is locked first,
    by everybody.
    """
    before = day_of(execution.created_at - _AROUND_MIDNIGHT)
    if before != day_of(execution.created_at):
        connection.execute(_LOCK_DAY, {"of": execution.owner, "on": before})


def spend(
    connection: Connection, rows: Sequence[Row[Any]], outcome: Outcome, finished_at: datetime
) -> None:
    """Add what executions have used to the days on which they were accepted.

    Args:
        connection: to the database.
        rows: with the columns `SPENT_BY`, of executions that end in the same way.
        outcome: how.
        finished_at: when.
    """
    seconds: defaultdict[tuple[str, date], float] = defaultdict(float)
    for row in rows:
        seconds[row.owner, day_of(row.created_at)] += _cpu_seconds(row, outcome, finished_at)
    # The later day first, as in `_wait_for_yesterday`: who wants the same two waits for the other.
    for (owner, on), used in sorted(seconds.items(), reverse=True):
        if used:
            connection.execute(_SPEND, {"of": owner, "on": on, "seconds": used})


def spent(connection: Connection, owner: str, on: date) -> Spent:
    """Return what an owner has had of a day."""
    row = connection.execute(_SPENT, {"of": owner, "on": on}).first()
    return Spent() if row is None else _spent(row)


def hit(connection: Connection, key: str, seconds: float, amount: int) -> tuple[int, datetime]:
    """Count in a window that is that long; return how many there were, and when it ends."""
    new = insert_in_postgresql(RATES).values(
        key=key, count=amount, ends_at=from_now(bindparam("seconds", seconds))
    )
    is_over = RATES.c.ends_at <= from_now(bindparam("none", 0.0))
    statement = new.on_conflict_do_update(
        index_elements=[RATES.c.key],
        set_={
            "count": case((is_over, amount), else_=RATES.c.count + amount),
            "ends_at": case((is_over, new.excluded.ends_at), else_=RATES.c.ends_at),
        },
    ).returning(RATES.c.count, RATES.c.ends_at)
    row = connection.execute(statement).one()
    return row.count, row.ends_at  # type: ignore[return-value] # `count` is also a method


def window(connection: Connection, key: str) -> tuple[int, datetime] | None:
    """Return how many there were in a window, and when it ends, unless that is over."""
    statement = select(RATES.c.count.label("number"), RATES.c.ends_at).where(
        RATES.c.key == key, RATES.c.ends_at > from_now(bindparam("none", 0.0))
    )
    row = connection.execute(statement).first()
    return None if row is None else (row.number, row.ends_at)


def forget_windows(connection: Connection, ago: float) -> None:
    """Forget the windows that were over so many seconds ago."""
    connection.execute(_STALE, {"ago": -ago})


def _count(connection: Connection, execution: Execution) -> Spent:
    """Add an execution to its day, and return what was had with it."""
    is_postgres = connection.dialect.name == "postgresql"
    new = (insert_in_postgresql if is_postgres else insert_in_sqlite)(USAGE)
    submissions = int(execution.kind is Kind.SUBMIT)
    statement = (
        new.values(
            owner=execution.owner,
            day=day_of(execution.created_at),
            executions=1,
            submissions=submissions,
            cpu_seconds=0.0,
        )
        .on_conflict_do_update(
            index_elements=[USAGE.c.owner, USAGE.c.day],
            set_={
                "executions": USAGE.c.executions + 1,
                "submissions": USAGE.c.submissions + submissions,
            },
        )
        .returning(USAGE.c.executions, USAGE.c.submissions, USAGE.c.cpu_seconds)
    )
    return _spent(connection.execute(statement).one())


def _spent(row: AnyRow) -> Spent:
    return Spent(
        executions=row.executions, submissions=row.submissions, cpu_seconds=row.cpu_seconds
    )


def _require_in_session(connection: Connection, execution: Execution, most: int | None) -> None:
    if most is not None and execution.session_id is not None:
        midnight = datetime.combine(day_of(execution.created_at), time(), UTC)
        values = {"of": execution.owner, "session": execution.session_id, "since": midnight}
        number = connection.execute(_SUBMISSIONS, values).scalar_one()
        _require(number, Bound.SUBMISSIONS_OF_SESSION, most)


def _require(number: int, bound: Bound, most: int | None) -> None:
    if most is not None and number > most:
        raise NoShareError(bound, most)


def _cpu_seconds(row: Row[Any], outcome: Outcome, finished_at: datetime) -> float:
    usages = [outcome.usage, outcome.compilation and outcome.compilation.outcome.usage]
    measured = sum(usage.cpu_time for usage in usages if usage)
    if outcome.usage or row.started_at is None or outcome.status not in _KILLED:
        return measured
    ran: float = (finished_at - row.started_at).total_seconds()
    might: float = limits_of(row.limits).cpu_time * max(row.tests, 1)
    return max(measured, min(ran, might))
