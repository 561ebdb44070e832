"""What must be true of a database after its servers were killed at random, row by row.

Each execution that is there or was accepted, whoever was told so: exactly one end; at most two
tries, each started once by whoever said so in its log; no second try of what had written; a log
without a gap or a double; and whoever watched, and was cut off, has seen just that log.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import anyio
import asyncpg

from app.api.ids import decode_id, encode_id
from app.domain.access import LOCAL
from app.domain.events import Event, Finished, OutputWritten, StatusChanged
from app.domain.execution import Status
from app.storage.store import Store
from app.storage.urls import normal

TEXT = b"a\nb\n"  # that every program writes, if it is let
MOST_TRIES = 2
BEGINNINGS = 2  # events before the first output: that it waits, and that it runs
_PATIENCE = 30  # s in which the database notices that clients are gone
_STARTED = re.compile(r"execution accepted.*attempt=(\d+).*\bid=([0-9a-f-]{36})")
_STARTED_TOO = re.compile(r"execution accepted.*\bid=([0-9a-f-]{36}).*attempt=(\d+)")


@dataclass(slots=True)
class Seen:
    """What a watcher was told of one execution."""

    events: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The number to come back with."""
        return self.events[-1]["sequence"] if self.events else 0

    @property
    def is_over(self) -> bool:
        """Whether the end was seen."""
        return bool(self.events) and self.events[-1]["__typename"] == "ExecutionFinished"

    def add(self, event: Mapping[str, Any]) -> None:
        """Take note of an event."""
        self.events.append(event)


async def count(
    url: str, accepted: Sequence[str], seen: Mapping[str, Seen], logs: Iterable[str]
) -> list[str]:
    """Say what became of everything, and return what must not be."""
    wrong, store = list[str](), Store(url)
    starts = _starts(logs)
    ids = await _all_ids(url, wrong)
    if lost := {decode_id(id) for id in accepted} - set(ids):
        wrong.append(f"accepted, and not there: {lost}")
    statuses, tries = Counter[str](), Counter[int]()
    for id in ids:
        page = await store.events(LOCAL.owner, id, after=0, limit=1000)
        assert page
        if not isinstance(last := page.events[-1], Finished):
            wrong.append(f"{id} has not ended")
            continue
        statuses[last.execution.status] += 1
        tries[last.execution.attempt] += 1
        wrong += [f"{id} {what}" for what in _wrong_with(page.events, last)]
        if watched := seen.get(encode_id(id)):
            wrong += [f"{id} {what}" for what in _wrongly_seen(watched, page.events)]
    wrong += [f"{id} was started {n} times as try {t}" for (id, t), n in starts.items() if n > 1]
    await store.close()
    wrong += await _connections(url)
    print(f"rows: {len(ids)}, ends: {dict(statuses)}, tries: {dict(tries)}, starts: {len(starts)}")
    return wrong


def _wrong_with(events: Sequence[Event], end: Finished) -> Iterator[str]:
    if [event.sequence for event in events] != list(range(1, len(events) + 1)):
        yield "has a gap"
    if sum(isinstance(event, Finished) for event in events) != 1:
        yield "has more than one end"
    if sum(isinstance(event, StatusChanged) for event in events) > BEGINNINGS:
        yield "began twice"
    text = b"".join(event.output.data for event in events if isinstance(event, OutputWritten))
    if not TEXT.startswith(text):
        yield f"wrote {text!r}: something twice, or not everything"
    if end.execution.status is Status.SUCCEEDED and text != TEXT:
        yield f"succeeded with {text!r}"
    if end.execution.attempt > MOST_TRIES:
        yield f"was tried {end.execution.attempt} times"


def _wrongly_seen(seen: Seen, events: Sequence[Event]) -> Iterator[str]:
    numbers = [event["sequence"] for event in seen.events]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"was seen with the numbers {numbers}"
    text = "".join(event.get("text", "") for event in seen.events).encode()
    stored = [e.output.data for e in events[: len(numbers)] if isinstance(e, OutputWritten)]
    if text != b"".join(stored):
        yield f"was seen to write {text!r}, and {stored} is stored"


def _starts(logs: Iterable[str]) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for line in logs:
        if match := _STARTED.search(line):
            found[match[2], match[1]] += 1
        elif match := _STARTED_TOO.search(line):
            found[match[1], match[2]] += 1
    return found


async def _connect(url: str) -> Any:
    parsed = normal(url)
    return await asyncpg.connect(
        user=parsed.username, database=parsed.database, host=parsed.query["host"], port=5432
    )


async def _all_ids(url: str, wrong: list[str]) -> list[UUID]:
    connection = await _connect(url)
    held = await connection.fetchval(
        "SELECT count(*) FROM executions WHERE lease_holder IS NOT NULL OR turn_at IS NOT NULL"
    )
    if held:
        wrong.append(f"{held} rows are held or wait")
    ids = [UUID(str(row["id"])) for row in await connection.fetch("SELECT id FROM executions")]
    await connection.close()
    return ids


async def _connections(url: str) -> list[str]:
    """Wait until nobody is connected; whoever stays has been leaked."""
    connection = await _connect(url)
    query = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    left = None
    with anyio.move_on_after(_PATIENCE):
        while True:
            if not (left := await connection.fetchval(query)):
                break
            await anyio.sleep(0.1)
    await connection.close()
    return [f"{left} connections are left"] if left else []
