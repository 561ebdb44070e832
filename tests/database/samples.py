"""Executions to store, and what one may expect of them."""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
from sqlalchemy import event
from uuid6 import uuid7

from app.domain.execution import (
    Execution,
    Outcome,
    Output,
    Program,
    Status,
    Stream,
    Usage,
)
from app.domain.history import Filter, Order, Page, Stats, Window
from app.domain.limits import DEFAULT_LIMITS
from app.domain.ports import Support
from app.storage.store import Arrival, Claimer, Heir, Hold, LogEntry, Store

Statements = Callable[[], AbstractContextManager[list[str]]]

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, UTC)
OWNER = "local"
HOLDER = "process-1"
PROGRAM = Program(language="PYTHON", source="print(6 * 7)")
SUCCESS = Outcome(
    status=Status.SUCCEEDED,
    exit_code=0,
    usage=Usage(wall_time=0.25, cpu_time=0.125, peak_memory=9_437_184),
)
CLAIMER = Claimer(
    holder=HOLDER, executor="local", runs={"PYTHON": Support(versions=("3.12.1", "3.11.7"))}
)
LOST = Outcome(status=Status.INFRASTRUCTURE_ERROR, message="The process that ran it is gone.")
HEIR = Heir(
    holder="heir",
    executor="local",
    at=NOW + timedelta(seconds=9),
    lost=LOST,
    cancelled=Outcome(status=Status.CANCELLED),
)


def execution(**changes: Any) -> Execution:
    values: dict[str, Any] = {
        "id": uuid7(),
        "owner": OWNER,
        "status": Status.RUNNING,
        "language": "PYTHON",
        "language_version": "3.11.7",
        "limits": DEFAULT_LIMITS,
        "executor": "local",
        "attempt": 1,
        "created_at": NOW,
        "started_at": NOW,
    }
    return Execution(**values | changes)


def hold(id: UUID, holder: str = HOLDER, attempt: int = 1) -> Hold:
    return Hold(id=id, holder=holder, attempt=attempt)


def entry(seq: int, data: bytes = b"42\n", stream: Stream = Stream.STDOUT) -> LogEntry:
    moment = NOW + timedelta(milliseconds=seq)
    return LogEntry(seq=seq, at=moment, output=Output(stream=stream, data=data))


async def begun(store: Store, **changes: Any) -> UUID:
    """Store an execution that runs, and return its id."""
    one = execution(**changes)
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    return one.id


async def ended(store: Store, outcome: Outcome = SUCCESS, **changes: Any) -> UUID:
    """Store an execution that has ended, and return its id."""
    id = await begun(store, **changes)
    assert await store.finish(hold(id), outcome, at=NOW)
    return id


ENDS = (
    Outcome(status=Status.FAILED, exit_code=1),
    Outcome(status=Status.CRASHED, signal="SIGSEGV"),
    Outcome(status=Status.CANCELLED),
    None,
)


async def history(store: Store, size: int, owner: str = OWNER) -> list[Execution]:
    """Store a varied history, the same one every time but for the ids; return what it reads as."""
    chance = random.Random(size)
    for number in range(size):
        one = execution(
            owner=owner,
            language=chance.choice(("PYTHON", "PYTHON", "JAVASCRIPT")),
            session_id=chance.choice((None, "interview-1", "interview-2")),
            label=chance.choice((None, None, "first try", "second try")),
            created_at=NOW + timedelta(minutes=number),
        )
        await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
        outcome = chance.choice((measured(chance), measured(chance), *ENDS))
        if outcome:
            await store.finish(hold(one.id), outcome, at=NOW)
    newest = Window(size=size)
    return list((await store.page(owner, Filter(), newest)).executions)


def measured(chance: random.Random) -> Outcome:
    # Rounded, so that several are equal.
    usage = Usage(wall_time=round(chance.random(), 1), cpu_time=0.1, peak_memory=1)
    return Outcome(status=Status.SUCCEEDED, exit_code=0, usage=usage)


@contextmanager
def listening(target: object, name: str, listener: Callable[..., object]) -> Iterator[None]:
    """Hear of an event of SQLAlchemy within a block."""
    event.listen(target, name, listener)
    try:
        yield
    finally:
        event.remove(target, name, listener)


async def until(condition: Callable[[], bool]) -> None:
    """Look again and again: what is waited for rings no bell."""
    with anyio.fail_after(30):
        while True:
            if condition():
                return
            await anyio.sleep(0.01)


def files(folder: Path) -> list[Path]:
    """List what is there; for tests, which may block."""
    return sorted(folder.iterdir())


# --- The same answers in plain Python --------------------------------------------------------


def matches(one: Execution, filter: Filter) -> bool:
    return (
        (filter.statuses is None or one.status in filter.statuses)
        and (filter.languages is None or one.language in filter.languages)
        and (filter.session_id is None or one.session_id == filter.session_id)
        and (filter.label is None or one.label == filter.label)
        and (filter.created_after is None or one.created_at > filter.created_after)
        and (filter.created_before is None or one.created_at < filter.created_before)
    )


def page_of(executions: Iterable[Execution], filter: Filter, window: Window) -> Page:
    """Follow Relay's specification, "Pagination algorithm", word by word."""
    newest_first = window.order is Order.NEWEST_FIRST
    found = [one for one in executions if matches(one, filter)]
    found.sort(key=lambda one: one.id, reverse=newest_first)

    def follows(one: Execution, cursor: UUID) -> bool:
        return one.id < cursor if newest_first else one.id > cursor

    after, before = window.after, window.before
    edges = [
        one
        for one in found
        if (after is None or follows(one, after))
        and (before is None or (one.id != before and not follows(one, before)))
    ]
    skipped = after is not None and any(not follows(one, after) for one in found)
    beyond = before is not None and any(one.id == before or follows(one, before) for one in found)
    more = len(edges) > window.size
    if window.backward:
        kept = edges[len(edges) - window.size :] if more else edges
        return Page(executions=tuple(kept), has_next=beyond, has_previous=more or skipped)
    return Page(
        executions=tuple(edges[: window.size]), has_next=more or beyond, has_previous=skipped
    )


def stats_of(executions: Iterable[Execution], filter: Filter) -> Stats:
    found = [one for one in executions if matches(one, filter)]
    statuses = Counter(one.status for one in found)
    times = sorted(
        one.outcome.usage.wall_time for one in found if one.outcome and one.outcome.usage
    )
    return Stats(
        total=len(found),
        by_status=tuple((status, statuses[status]) for status in Status if statuses[status]),
        by_language=tuple(sorted(Counter(one.language for one in found).items())),
        by_verdict=(),
        wall_time_p50=nearest_rank(times, 50),
        wall_time_p95=nearest_rank(times, 95),
        wall_time_p99=nearest_rank(times, 99),
    )


def nearest_rank(ordered: Sequence[float], percent: int) -> float | None:
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else None
