"""How rows are found: each function is the inside of one transaction.

Every question about executions begins with their owner, and a list never touches what is big:
source, input, arguments and output have questions of their own.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, bindparam, exists, false, func, select

from app.domain.execution import Compilation, Execution, File, Program, Status
from app.domain.history import Filter, Order, Page, Stats, Window
from app.domain.testing import Verdict
from app.storage.mapping import compilation_of, execution_of, plain, program_of
from app.storage.rows import ArtifactRow, ExecutionRow

Conditions = list[ColumnElement[bool]]


EXECUTION = select(
    ExecutionRow.id,
    ExecutionRow.owner,
    ExecutionRow.status,
    ExecutionRow.language,
    ExecutionRow.language_version,
    ExecutionRow.limits,
    ExecutionRow.executor,
    ExecutionRow.attempt,
    ExecutionRow.interactive,
    ExecutionRow.created_at,
    ExecutionRow.started_at,
    ExecutionRow.finished_at,
    ExecutionRow.kind,
    ExecutionRow.verdict,
    ExecutionRow.tests,
    ExecutionRow.hidden_tests,
    ExecutionRow.subject,
    ExecutionRow.session_id,
    ExecutionRow.label,
    ExecutionRow.origin_id,
    ExecutionRow.metadata_.label("metadata"),
    ExecutionRow.outcome,
)
NAMED = (
    ExecutionRow.owner == bindparam("owner"),
    ExecutionRow.id.in_(bindparam("ids", expanding=True)),
)
_NAMED_EXECUTIONS = EXECUTION.where(*NAMED)
PROGRAM = (
    ExecutionRow.source,
    ExecutionRow.stdin,
    ExecutionRow.args,
    ExecutionRow.entry_point,
    ExecutionRow.wanted_version,
    ExecutionRow.environment,
    ExecutionRow.stops_on_failure,
    ExecutionRow.files,
)
_NAMED_PROGRAMS = select(ExecutionRow.id, ExecutionRow.language, *PROGRAM).where(*NAMED)
_NAMED_ARTIFACTS = (
    select(ExecutionRow.id, ArtifactRow.path, ArtifactRow.data)
    .join_from(ExecutionRow, ArtifactRow)
    .where(*NAMED)
    .order_by(ExecutionRow.id, ArtifactRow.path)
)
_NAMED_COMPILATIONS = select(ExecutionRow.id, ExecutionRow.compilation).where(*NAMED)


def executions(connection: Connection, owner: str, ids: Sequence[UUID]) -> dict[UUID, Execution]:
    """Return those that there are."""
    rows = connection.execute(_NAMED_EXECUTIONS, {"owner": owner, "ids": ids})
    found = map(execution_of, rows)
    return {execution.id: execution for execution in found}


def programs(connection: Connection, owner: str, ids: Sequence[UUID]) -> dict[UUID, Program]:
    """Return what was run."""
    rows = connection.execute(_NAMED_PROGRAMS, {"owner": owner, "ids": ids})
    return {plain(row.id): program_of(row) for row in rows}


def compilations(
    connection: Connection, owner: str, ids: Sequence[UUID]
) -> dict[UUID, Compilation | None]:
    """Return how programs were compiled, as far as they were."""
    rows = connection.execute(_NAMED_COMPILATIONS, {"owner": owner, "ids": ids})
    return {plain(row.id): compilation_of(row) for row in rows}


def artifacts(
    connection: Connection, owner: str, ids: Sequence[UUID]
) -> dict[UUID, tuple[File, ...]]:
    """Return what programs have left, by name."""
    found: defaultdict[UUID, list[File]] = defaultdict(list)
    for row in connection.execute(_NAMED_ARTIFACTS, {"owner": owner, "ids": ids}):
        found[plain(row.id)].append(File(path=row.path, data=row.data))
    return {id: tuple(files) for id, files in found.items()}


def page(connection: Connection, owner: str, filter: Filter, window: Window) -> Page:
    """Return a slice of the history, and whether there is more on its sides.

    We walk from one cursor, the near one, towards the other, and one step further than asked:
    that step tells that there is more ahead. What lies behind the cursors takes a second
    statement, and only a window with a cursor pays for it.
    """
    walk = _Walk(owner, filter, window)
    rows = connection.execute(walk.slice()).all()
    behind, beyond = walk.sides(connection)
    ahead = len(rows) > window.size or beyond
    found = tuple(execution_of(row) for row in rows[: window.size])
    if window.backward:
        return Page(executions=found[::-1], has_next=behind, has_previous=ahead)
    return Page(executions=found, has_next=ahead, has_previous=behind)


def count(connection: Connection, owner: str, filter: Filter) -> int:
    """Return how many there are."""
    statement = select(func.count()).select_from(ExecutionRow).where(*match(owner, filter))
    return connection.execute(statement).scalar_one()


def stats(connection: Connection, owner: str, filter: Filter) -> Stats:
    """Return counts and durations in two statements."""
    conditions = match(owner, filter)
    statuses, languages, verdicts = _counts(connection, conditions)
    p50, p95, p99 = connection.execute(_percentiles(conditions, 50, 95, 99)).one()
    return Stats(
        total=statuses.total(),
        by_status=tuple((status, statuses[status]) for status in Status if status in statuses),
        by_language=tuple(sorted(languages.items())),
        by_verdict=tuple((each, verdicts[each]) for each in Verdict if each in verdicts),
        wall_time_p50=p50,
        wall_time_p95=p95,
        wall_time_p99=p99,
    )


def match(owner: str, filter: Filter) -> Conditions:
    """Return what the owner's executions fulfil that the filter lets through."""
    conditions = [ExecutionRow.owner == owner]
    if filter.statuses is not None:
        conditions.append(ExecutionRow.status.in_([status.value for status in filter.statuses]))
    if filter.languages is not None:
        conditions.append(ExecutionRow.language.in_(filter.languages))
    if filter.kinds is not None:
        conditions.append(ExecutionRow.kind.in_([kind.value for kind in filter.kinds]))
    if filter.verdicts is not None:
        verdicts = [verdict.value for verdict in filter.verdicts]
        conditions.append(ExecutionRow.verdict.in_(verdicts))
    if filter.session_id is not None:
        conditions.append(ExecutionRow.session_id == filter.session_id)
    if filter.label is not None:
        conditions.append(ExecutionRow.label == filter.label)
    if filter.created_after is not None:
        conditions.append(ExecutionRow.created_at > filter.created_after)
    if filter.created_before is not None:
        conditions.append(ExecutionRow.created_at < filter.created_before)
    return conditions


class _Walk:
    """A way through the history: from the near cursor towards the far one."""

    def __init__(self, owner: str, filter: Filter, window: Window) -> None:
        self.conditions = match(owner, filter)
        self.size = window.size
        self.near, self.far = window.after, window.before
        if window.backward:
            self.near, self.far = self.far, self.near
        self.descending = (window.order is Order.NEWEST_FIRST) is not window.backward

    def slice(self) -> Select[*tuple[Any, ...]]:
        """Select what lies between the cursors, one more than asked for."""
        statement = EXECUTION.where(*self.conditions).limit(self.size + 1)
        if self.near is not None:
            statement = statement.where(~self._until(self.near))
        if self.far is not None:
            statement = statement.where(~self._from(self.far))
        place = ExecutionRow.id
        return statement.order_by(place.desc() if self.descending else place.asc())

    def sides(self, connection: Connection) -> tuple[bool, bool]:
        """Tell whether there is something up to the near cursor and from the far one on."""
        if self.near is None and self.far is None:
            return False, False
        behind = false() if self.near is None else self._any(self._until(self.near))
        beyond = false() if self.far is None else self._any(self._from(self.far))
        row = connection.execute(select(behind.label("behind"), beyond.label("beyond"))).one()
        return row.behind, row.beyond

    def _any(self, place: ColumnElement[bool]) -> ColumnElement[bool]:
        return exists().where(*self.conditions, place)

    def _until(self, cursor: UUID) -> ColumnElement[bool]:
        return ExecutionRow.id >= cursor if self.descending else ExecutionRow.id <= cursor

    def _from(self, cursor: UUID) -> ColumnElement[bool]:
        return ExecutionRow.id <= cursor if self.descending else ExecutionRow.id >= cursor


def _counts(
    connection: Connection, conditions: Conditions
) -> tuple[Counter[Status], Counter[str], Counter[Verdict]]:
    groups = ExecutionRow.status, ExecutionRow.language, ExecutionRow.verdict
    statement = select(*groups, func.count()).where(*conditions).group_by(*groups)
    statuses, languages, verdicts = Counter[Status](), Counter[str](), Counter[Verdict]()
    for status, language, verdict, number in connection.execute(statement):
        statuses[Status(status)] += number
        languages[language] += number
        if verdict is not None:
            verdicts[Verdict(verdict)] += number
    return statuses, languages, verdicts


def _percentiles(conditions: Conditions, *percents: int) -> Select[*tuple[Any, ...]]:
    """Select by the nearest-rank method: the least value that `percent` of all do not exceed."""
    ranked = (
        select(
            ExecutionRow.wall_time,
            func.row_number().over(order_by=ExecutionRow.wall_time).label("rank"),
            func.count().over().label("total"),
        )
        .where(*conditions, ExecutionRow.wall_time.is_not(None))
        .subquery()
    )
    value, rank, total = ranked.c
    return select(*(func.min(value).filter(rank * 100 >= total * percent) for percent in percents))
