"""The tests of executions, and what came of them: each function is the inside of a transaction.

A test's row is added with its execution's. What came of it is written once, by the holder of the
execution's lease; when the execution has ended, what was not run by then is skipped. So a program
that is handed on to another process goes on where the last one stopped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    Connection,
    Row,
    bindparam,
    case,
    false,
    func,
    insert,
    or_,
    select,
    update,
)

from app.domain.comparison import Comparison, Tolerance
from app.domain.execution import Status
from app.domain.results import CaseDetails, CaseResult, CaseRun, Group
from app.domain.testing import Call, Case, Suite, Verdict
from app.storage.mapping import (
    AnyRow,
    Values,
    files_of,
    files_values,
    limits_of,
    limits_values,
    outcome_details,
    outcome_of,
    plain,
)
from app.storage.reads import NAMED
from app.storage.rows import EXECUTIONS, TESTS

_T = TESTS.c
_IDS = _T.execution_id.in_(bindparam("ids", expanding=True))
_THIS = _T.execution_id == bindparam("this")
_OWNED = _T.execution_id.in_(select(EXECUTIONS.c.id).where(*NAMED))
_UNJUDGED = _T.verdict.is_(None)
_ORDER = (_T.execution_id, _T.position)

_ADD = insert(TESTS)
_RECORD = update(TESTS).where(_THIS, _T.position == bindparam("at_position"), _UNJUDGED)
_SKIP = update(TESTS).where(_IDS, _UNJUDGED)
_JUDGE = update(EXECUTIONS).where(EXECUTIONS.c.id.in_(bindparam("ids", expanding=True)))
_CASE = (*_ORDER, _T.name, _T.is_hidden, _T.weight, _T.spec, _T.stdin, _T.expected)
_STOPS = select(EXECUTIONS.c.stops_on_failure).where(*NAMED)
_SUITES = select(*_CASE).where(_IDS).order_by(*_ORDER)
_RUN = select(
    *_ORDER,
    _T.name,
    _T.is_hidden,
    _T.weight,
    _T.verdict,
    _T.ended_at,
    _T.status,
    _T.outcome,
)
_RUNS = _RUN.where(_OWNED).order_by(*_ORDER)
_ENDED = _RUN.where(_THIS, _T.rank.is_not(None)).order_by(_T.rank)
# For whoever must not know when a hidden one has ended, or which of two was first.
_SHOWN = _RUN.where(_THIS, _T.rank.is_not(None)).order_by(
    _T.is_hidden, case((_T.is_hidden, _T.position), else_=_T.rank)
)
_DETAILS = (
    select(*_CASE, _T.returned, _T.stdout, _T.stderr, _T.difference)
    .where(_OWNED, or_(bindparam("sees_hidden", type_=Boolean), _T.is_hidden == false()))
    .order_by(*_ORDER)
)
_DETAILS_OF_ONE = _DETAILS.where(_T.position == bindparam("at_position"))
_GROUPS = (
    select(
        _T.execution_id,
        _T.is_hidden,
        _T.verdict,
        func.count().label("number"),
        func.sum(_T.weight).label("weight"),
    )
    .where(_OWNED)
    .group_by(_T.execution_id, _T.is_hidden, _T.verdict)
    .order_by(_T.execution_id)
)


def add(connection: Connection, id: UUID, suite: Suite) -> None:
    """Add the tests of an execution."""
    rows = [_values(id, position, test) for position, test in enumerate(suite.cases)]
    connection.execute(_ADD, rows)


def suites(connection: Connection, stops: Mapping[UUID, bool]) -> dict[UUID, Suite]:
    """Return the tests of executions, of which it is known whether they stop on failure."""
    if not stops:
        return {}
    rows = connection.execute(_SUITES, {"ids": list(stops)})
    return {
        id: Suite(cases=tuple(map(_case_of, cases)), stops_on_failure=stops[id])
        for id, cases in _by_execution(rows)
    }


def suite(connection: Connection, owner: str, id: UUID) -> Suite | None:
    """Return the tests of an execution of the owner's, if there are any."""
    row = connection.execute(_STOPS, {"owner": owner, "ids": [id]}).first()
    return None if row is None else suites(connection, {id: row.stops_on_failure}).get(id)


def record(connection: Connection, id: UUID, results: Sequence[CaseResult]) -> None:
    """Write down what came of tests."""
    connection.execute(_RECORD, [_result_values(id, result) for result in results])


def settle(
    connection: Connection, ended: Sequence[Row[Any]], verdict: Verdict | None, at: datetime
) -> None:
    """Say what the tests of executions that have just ended say together; skip what was not run.

    Args:
        connection: to the database.
        ended: with the columns `id` and `tests`.
        verdict: None where the tests were not carried out.
        at: when they have ended.
    """
    ids = [row.id for row in ended if row.tests]
    if ids:
        skipped = {"ids": ids, "verdict": Verdict.SKIPPED.value, "ended_at": at}
        connection.execute(_SKIP, skipped)
        connection.execute(_JUDGE, {"ids": ids, "verdict": (verdict or Verdict.ERROR).value})


def ended(connection: Connection, id: UUID) -> tuple[CaseRun, ...]:
    """Return the tests of an execution that have ended, in the order in which they did."""
    return tuple(map(_run, connection.execute(_ENDED, {"this": id})))


def shown(connection: Connection, id: UUID) -> tuple[CaseRun, ...]:
    """Return them as they are told to whoever must not know when hidden ones have ended."""
    return tuple(map(_run, connection.execute(_SHOWN, {"this": id})))


def runs(
    connection: Connection, owner: str, ids: Sequence[UUID]
) -> dict[UUID, tuple[CaseRun, ...]]:
    """Return how the tests of executions stand."""
    rows = connection.execute(_RUNS, {"owner": owner, "ids": ids})
    return {id: tuple(map(_run, tests)) for id, tests in _by_execution(rows)}


def details(
    connection: Connection,
    owner: str,
    ids: Sequence[UUID],
    *,
    sees_hidden: bool,
    position: int | None = None,
) -> dict[UUID, dict[int, CaseDetails]]:
    """Return what the tests of executions read and wrote, or one of them, by their positions."""
    values = {"owner": owner, "ids": ids, "sees_hidden": sees_hidden}
    if position is None:
        rows = connection.execute(_DETAILS, values)
    else:
        rows = connection.execute(_DETAILS_OF_ONE, values | {"at_position": position})
    return {
        id: {row.position: _detailed(row) for row in of_one} for id, of_one in _by_execution(rows)
    }


def groups(
    connection: Connection, owner: str, ids: Sequence[UUID]
) -> dict[UUID, tuple[Group, ...]]:
    """Return how many tests of executions stand in which way."""
    rows = connection.execute(_GROUPS, {"owner": owner, "ids": ids})
    return {id: tuple(map(_group, found)) for id, found in _by_execution(rows)}


def _by_execution(rows: Iterable[AnyRow]) -> Iterable[tuple[UUID, Iterable[AnyRow]]]:
    for id, of_one in groupby(rows, attrgetter("execution_id")):
        yield plain(id), of_one


def _values(id: UUID, position: int, test: Case) -> Values:
    return {
        "execution_id": id,
        "position": position,
        "name": test.name,
        "is_hidden": test.is_hidden,
        "weight": test.weight,
        "spec": {
            "args": None if test.args is None else list(test.args),
            "files": files_values(test.files),
            "limits": limits_values(test.limits),
            "comparison": test.comparison.value,
            "tolerance": test.tolerance and asdict(test.tolerance),
            "call": test.call and [test.call.function, list(test.call.arguments)],
        },
        "stdin": test.stdin,
        "expected": test.expected,
    }


def _case_of(row: AnyRow) -> Case:
    spec = row.spec
    return Case(
        name=row.name,
        limits=limits_of(spec["limits"]),
        stdin=row.stdin,
        args=None if spec["args"] is None else tuple(spec["args"]),
        files=files_of(spec["files"]),
        call=_call_of(spec["call"]),
        expected=row.expected,
        comparison=Comparison(spec["comparison"]),
        tolerance=spec["tolerance"] and Tolerance(**spec["tolerance"]),
        is_hidden=row.is_hidden,
        weight=row.weight,
    )


def _call_of(stored: list[Any] | None) -> Call | None:
    if stored is None:
        return None
    function, arguments = stored
    return Call(function=function, arguments=tuple(arguments))


def _result_values(id: UUID, result: CaseResult) -> Values:
    return {
        "this": id,
        "at_position": result.position,
        "rank": result.rank,
        "ended_at": result.at,
        "verdict": result.verdict.value,
        "status": result.outcome.status.value,
        "outcome": outcome_details(result.outcome),
        "stdout": result.stdout,
        "returned": result.returned,
        "stderr": result.stderr,
        "difference": result.difference.encode(errors="replace"),
    }


def _run(row: AnyRow) -> CaseRun:
    return CaseRun(
        execution_id=plain(row.execution_id),
        position=row.position,
        name=row.name,
        is_hidden=row.is_hidden,
        weight=row.weight,
        verdict=None if row.verdict is None else Verdict(row.verdict),
        outcome=None if row.status is None else outcome_of(Status(row.status), row.outcome),
        ended_at=row.ended_at,
    )


def _detailed(row: AnyRow) -> CaseDetails:
    return CaseDetails(
        case=_case_of(row),
        returned=row.returned,
        stdout=row.stdout or b"",
        stderr=row.stderr or b"",
        difference=(row.difference or b"").decode(),
    )


def _group(row: AnyRow) -> Group:
    return Group(
        is_hidden=row.is_hidden,
        verdict=None if row.verdict is None else Verdict(row.verdict),
        count=row.number,
        weight=row.weight,
    )
