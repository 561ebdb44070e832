"""Values come back exactly as they went in, from both databases."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text, update
from sqlalchemy.exc import StatementError

from app.domain.execution import LimitHit, Outcome, Program, Status, Stream, TimeLimit, Usage
from app.domain.history import Filter, Window
from app.domain.limits import DEFAULT_LIMITS, Limits
from app.storage.engine import Database
from app.storage.rows import EXECUTIONS
from app.storage.store import Arrival, LastWords, Store

from .samples import HOLDER, NOW, OWNER, PROGRAM, begun, ended, entry, execution, hold

AWKWARD = bytes(range(256)) + b"\x00\xff\xfe\r\n" + "é\N{PILE OF POO}".encode() + b"\xed\xa0\x80"

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


async def test_output_is_kept_byte_by_byte(store: Store) -> None:
    id = await begun(store)
    pieces = [entry(1, AWKWARD), entry(2, AWKWARD[::-1], Stream.STDERR), entry(3, b"")]
    failed = Outcome(status=Status.FAILED)
    assert await store.finish(hold(id), failed, at=NOW, last=LastWords(entries=pieces))
    found = (await store.transcripts(OWNER, [id]))[id]
    assert (found.stdout, found.stderr) == (AWKWARD, AWKWARD[::-1])


async def test_a_program_is_kept_byte_by_byte(store: Store) -> None:
    one = execution()
    program = Program(
        language="PYTHON",
        source="print('\x00 \r\n \ufeff é \N{PILE OF POO}')",
        stdin=AWKWARD,
        args=("", "a b", "\x01é", "--", "\\u0000"),
    )
    await store.insert(Arrival(execution=one, program=program), HOLDER)
    assert await store.programs(OWNER, [one.id]) == {one.id: program}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(metadata=st.dictionaries(st.text(), JSON, max_size=4))
async def test_metadata_is_kept_with_its_order_and_its_numbers(
    store: Store, metadata: dict[str, Any]
) -> None:
    id = await begun(store, metadata=metadata)
    found = (await store.executions(OWNER, [id]))[id]
    assert json.dumps(found.metadata) == json.dumps(metadata)


async def test_no_metadata_differs_from_empty_metadata(store: Store, database: Database) -> None:
    none, empty = await begun(store), await begun(store, metadata={})
    found = await store.executions(OWNER, [none, empty])
    assert (found[none].metadata, found[empty].metadata) == (None, {})
    query = text("SELECT count(*) FROM executions WHERE metadata IS NULL")
    assert await database.read(lambda connection: connection.scalar(query)) == 1


async def test_what_is_not_json_is_refused(store: Store) -> None:
    with pytest.raises(StatementError, match="JSON compliant"):
        await begun(store, metadata={"score": float("nan")})


async def test_a_moment_is_aware_and_exact(store: Store) -> None:
    summer = timezone(timedelta(hours=2))
    created = datetime(2026, 7, 1, 1, 2, 3, 4, summer)
    started = datetime(1999, 12, 31, 23, 59, 59, 999999, UTC)
    id = await begun(store, created_at=created, started_at=started)
    found = (await store.executions(OWNER, [id]))[id]
    assert (found.created_at, found.started_at) == (created, started)
    assert found.created_at.isoformat() == "2026-06-30T23:02:03.000004+00:00"
    assert found.created_at.tzinfo is UTC


async def test_a_moment_without_a_zone_is_refused(store: Store) -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(StatementError, match="has no time zone"):
        await begun(store, created_at=naive)
    with pytest.raises(StatementError, match="has no time zone"):
        await store.page(OWNER, Filter(created_after=naive), Window(size=1))


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(status=Status.SUCCEEDED, exit_code=0),
        Outcome(
            status=Status.FAILED,
            exit_code=255,
            usage=Usage(
                wall_time=1 / 3,
                cpu_time=0.1 + 0.2,
                peak_memory=2**40,
                reserved_cores=0.125,
                reserved_memory=2**41,
            ),
        ),
        Outcome(status=Status.CRASHED, signal="SIGSEGV"),
        Outcome(status=Status.TIME_LIMIT_EXCEEDED, time_limit=TimeLimit.CPU),
        Outcome(status=Status.OUTPUT_LIMIT_EXCEEDED, truncated=frozenset(Stream)),
        Outcome(status=Status.SUCCEEDED, exit_code=0, limits_hit=frozenset(LimitHit)),
        Outcome(status=Status.INFRASTRUCTURE_ERROR, message="é \x00 \n"),
    ],
    ids=lambda outcome: outcome.status.lower(),
)
async def test_an_outcome_is_kept_in_every_detail(store: Store, outcome: Outcome) -> None:
    id = await ended(store, outcome)
    assert (await store.executions(OWNER, [id]))[id].outcome == outcome


async def test_limits_are_kept(store: Store) -> None:
    limits = replace(DEFAULT_LIMITS, wall_time=0.1, memory=2**41, processes=1)
    id = await begun(store, limits=limits)
    assert (await store.executions(OWNER, [id]))[id].limits == limits


async def test_ids_are_those_of_the_standard_library(store: Store) -> None:
    id = await begun(store)
    page = await store.page(OWNER, Filter(), Window(size=1))
    keys = [
        page.executions[0].id,
        *await store.executions(OWNER, [id]),
        *await store.programs(OWNER, [id]),
        *await store.transcripts(OWNER, [id]),
    ]
    assert [type(key) for key in keys] == [UUID] * 4


async def test_a_row_of_another_version_can_be_read(store: Store, database: Database) -> None:
    """Older rows lack a new limit, newer ones have one that this code does not know."""
    id = await ended(store)
    usage = {"wall_time": 1, "cpu_time": 1, "peak_memory": 1, "colour": 1}
    statement = update(EXECUTIONS).values(
        limits={"memory": 1, "colour": "green"}, outcome={"usage": usage, "colour": 1}
    )
    await database.write(lambda connection: connection.execute(statement))
    found = (await store.executions(OWNER, [id]))[id]
    assert found.limits == replace(DEFAULT_LIMITS, memory=1)
    assert found.outcome == Outcome(
        status=Status.SUCCEEDED, usage=Usage(wall_time=1, cpu_time=1, peak_memory=1)
    )


def test_every_limit_has_a_default_for_older_rows() -> None:
    assert all(hasattr(DEFAULT_LIMITS, field.name) for field in fields(Limits))


async def test_an_id_is_used_once(store: Store) -> None:
    one = execution()
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    with pytest.raises(Exception, match=r"(?i)unique"):
        await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)


async def test_deleting_an_execution_deletes_its_output(store: Store, database: Database) -> None:
    id = await begun(store)
    await store.append(hold(id), [entry(1)])
    await database.write(lambda connection: connection.execute(text("DELETE FROM executions")))
    query = text("SELECT count(*) FROM execution_output")
    assert await database.read(lambda connection: connection.scalar(query)) == 0
