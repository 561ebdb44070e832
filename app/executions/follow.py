"""Following executions: replay and live are one path.

A follower takes the bell, reads what there is after the last event it has seen, and waits for the
bell when there is nothing. So a late, a second and a returning one see the same events once, in
order. It holds no connection while it waits, nobody waits for it, and when the database goes away
it waits for that too.
"""

import time
from collections.abc import AsyncGenerator, Callable, Iterable
from datetime import UTC, datetime
from uuid import UUID

import anyio
import anyio.lowlevel

from app.domain.events import Event, Finished
from app.domain.execution import UNFINISHED, Execution, Status
from app.domain.history import Filter, Order, Window
from app.executions.pages import Key, Pages, Silence
from app.storage.errors import StorageError
from app.storage.feed import changes_of, events_of
from app.storage.store import Store

SESSION_PAGE = 100  # executions read at once
MOST_KNOWN = 1000  # executions of a session whose last status is remembered
_RETRY_PAUSE = 0.5  # s between looks while the database is away


async def follow(pages: Pages, key: Key, after: int) -> AsyncGenerator[Event, None]:
    """Yield the events after a number, until the end of the execution.

    Raises:
        NoSuchExecution: there is none, or it was deleted.
        StorageError: it cannot be looked for; once it was found, we wait for the database.
    """
    with pages.feed.bell(events_of(key.id)) as bell:
        since, is_first = time.monotonic(), True
        while True:
            try:
                found = await pages.next(key, after, since=since, is_first=is_first)
            except StorageError:
                if is_first:
                    raise
                await anyio.sleep(_RETRY_PAUSE)
                continue
            is_first = False
            if found is Silence.FOR_EVER:
                return
            if found is Silence.YET:
                await bell.wait()
                since = time.monotonic()
                continue
            after = found.sequence
            yield found
            if isinstance(found, Finished):
                return
            # A flood comes from memory: others must have their turn.
            await anyio.lowlevel.checkpoint()


async def until_ended(
    store: Store,
    execution: Execution,
    seconds: float,
    *,
    is_here: Callable[[], bool],
    closed: anyio.Event,
) -> Execution:
    """Wait for the end of an execution that runs elsewhere, but not longer than so.

    Returns:
        The execution as it is then; or as it was known, as soon as this process looks after it.
    """
    with anyio.move_on_after(seconds), store.feed.bell(events_of(execution.id)) as bell:
        while not (execution.status.is_final or is_here() or closed.is_set()):
            try:
                found = await store.executions(execution.owner, [execution.id])
            except StorageError:
                await anyio.sleep(_RETRY_PAUSE)  # it was accepted: that stays true
                continue
            if execution.id not in found:
                break
            execution = found[execution.id]
            if not execution.status.is_final:
                await bell.wait()
    return execution


async def follow_session(
    store: Store, owner: str, session_id: str
) -> AsyncGenerator[Execution, None]:
    """Yield those that have not ended, oldest first; then each that is created or changes.

    Its statuses may be joined: who is told of a change reads what is true by then.
    """
    known: dict[UUID, tuple[Status, int]] = {}
    since = datetime.now(UTC)
    with store.feed.bell(changes_of(owner, session_id)) as bell:
        changed: frozenset[str] | None = None
        is_first = True
        while True:
            try:
                if changed is None:
                    found = await _look_around(store, owner, session_id, known, since)
                else:
                    found = await _look_at(store, owner, map(UUID, changed))
            except StorageError:
                if is_first:
                    raise
                await anyio.sleep(_RETRY_PAUSE)
                continue
            is_first = False
            for execution in found:
                state = execution.status, execution.attempt
                if known.pop(execution.id, None) != state:
                    yield execution
                    await anyio.lowlevel.checkpoint()
                known[execution.id] = state
            while len(known) > MOST_KNOWN:
                del known[next(iter(known))]
            changed = await bell.wait()


async def _look_around(
    store: Store,
    owner: str,
    session_id: str,
    known: Iterable[UUID],
    since: datetime,
) -> list[Execution]:
    """Read whatever may be news: the unfinished, the newest, and what we spoke of before."""
    window = Window(size=SESSION_PAGE, order=Order.NEWEST_FIRST)
    unfinished = Filter(session_id=session_id, statuses=frozenset(UNFINISHED))
    recent = Filter(session_id=session_id, created_after=since)
    found = {one.id: one for one in await _look_at(store, owner, known)}
    for filter in (unfinished, recent):
        page = await store.page(owner, filter, window)
        found |= {one.id: one for one in page.executions}
    return [found[id] for id in sorted(found)]


async def _look_at(store: Store, owner: str, ids: Iterable[UUID]) -> list[Execution]:
    found = await store.executions(owner, sorted(ids))
    return [found[id] for id in sorted(found)]
