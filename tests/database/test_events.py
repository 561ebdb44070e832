"""What happened is told in order, once, and in slices; who waits for it is woken."""

import tracemalloc
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import anyio
import anyio.to_thread
import pytest

from app.domain.errors import NoSuchExecution
from app.domain.events import CaseEnded, Event, Finished, OutputWritten, StatusChanged
from app.domain.execution import Execution, Outcome, Status, Stream
from app.executions.follow import follow, follow_session
from app.executions.pages import PAGE, Key, Pages
from app.storage.errors import StorageError
from app.storage.events import PAGE_SIZE
from app.storage.feed import MOST_DETAILS, Feed, events_of
from app.storage.store import Arrival, Bounds, Chosen, Store
from tests.servers.postgres import PostgresServer

from .samples import (
    CLAIMER,
    HEIR,
    HOLDER,
    LOST,
    NOW,
    OWNER,
    PROGRAM,
    SUCCESS,
    Statements,
    entry,
    execution,
    hold,
    until,
)

LATER = NOW + timedelta(seconds=5)
KIB = 1024


@pytest.fixture
async def listening(store: Store) -> AsyncIterator[Store]:
    """Return a store whose feed is up."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.feed.listen)
        await until(lambda: store.feed.is_connected)
        yield store
        tasks.cancel_scope.cancel()


async def running(store: Store, pieces: int = 0, **changes: object) -> UUID:
    one = execution(status=Status.RUNNING, started_at=LATER, **changes)
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    if pieces:
        log = [entry(number, str(number).encode()) for number in range(1, pieces + 1)]
        assert await store.append(hold(one.id), log)
    return one.id


async def end(store: Store, id: UUID) -> None:
    assert await store.finish(hold(id), SUCCESS, at=LATER)


async def events(store: Store, id: UUID, after: int = 0, limit: int = 100) -> list[Event]:
    page = await store.events(OWNER, id, after=after, limit=limit)
    assert page
    return list(page.events)


def spoken(event: Event) -> str:
    """Say an event in a word."""
    match event:
        case StatusChanged():
            return event.status
        case OutputWritten():
            return event.output.data.decode()
        case CaseEnded():
            return event.test.name
        case Finished():
            return f"end: {event.execution.status}"


WHOLE = ["QUEUED", "RUNNING", "1", "2", "3", "end: SUCCEEDED"]


async def test_events_are_numbered_without_a_gap(store: Store) -> None:
    id = await running(store, pieces=3)
    await end(store, id)
    found = await events(store, id)
    assert [event.sequence for event in found] == [1, 2, 3, 4, 5, 6]
    assert [spoken(event) for event in found] == WHOLE
    assert [event.at for event in found][:2] == [NOW, LATER]
    assert {event.execution_id for event in found} == {id}


@pytest.mark.parametrize("after", range(8))
async def test_what_follows_an_event_is_the_tail_of_all(store: Store, after: int) -> None:
    id = await running(store, pieces=3)
    await end(store, id)
    assert await events(store, id, after) == (await events(store, id))[after:]
    page = await store.events(OWNER, id, after=after, limit=100)
    assert page
    assert (page.has_more, page.is_over) == (False, True)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
async def test_slices_join_to_the_whole(store: Store, limit: int) -> None:
    id = await running(store, pieces=3)
    await end(store, id)
    after, joined = 0, []
    while True:
        page = await store.events(OWNER, id, after=after, limit=limit)
        assert page
        assert len(page.events) <= limit
        joined += [spoken(event) for event in page.events]
        after = page.events[-1].sequence
        assert page.has_more is not page.is_over
        if page.is_over:
            break
    assert joined == WHOLE


async def test_a_slice_holds_so_many_bytes(store: Store) -> None:
    id = await running(store)
    size = 64 * KIB
    count = 2 * PAGE_SIZE // size
    log = [entry(number, b"x" * size) for number in range(1, count + 1)]
    assert await store.append(hold(id), log)
    page = await store.events(OWNER, id, after=2, limit=1000)
    assert page
    assert len(page.events) == PAGE_SIZE // size
    assert page.has_more


async def test_what_never_began_ends_as_its_second_event(store: Store) -> None:
    one = execution(status=Status.QUEUED, started_at=None)
    await store.enqueue(Arrival(execution=one, program=PROGRAM), Bounds(owned=1, in_all=1))
    assert [spoken(event) for event in await events(store, one.id)] == ["QUEUED"]
    await store.cancel(OWNER, one.id, Outcome(status=Status.CANCELLED), at=LATER)
    found = await events(store, one.id)
    assert [(event.sequence, spoken(event)) for event in found] == [
        (1, "QUEUED"),
        (2, "end: CANCELLED"),
    ]


async def test_a_second_try_shifts_no_number(store: Store) -> None:
    id = await running(store)
    before = await events(store, id)
    assert await store.hand_back(hold(id))
    assert await events(store, id) == before
    await store.claim(CLAIMER, 1)
    assert await store.append(hold(id, attempt=2), [entry(1)])
    assert [event.sequence for event in await events(store, id)] == [1, 2, 3]


async def test_nothing_follows_yet(store: Store) -> None:
    id = await running(store, pieces=1)
    page = await store.events(OWNER, id, after=3, limit=10)
    assert page
    assert (page.events, page.has_more, page.is_over) == ((), False, False)


async def test_the_events_of_another_owner_are_not_there(store: Store) -> None:
    id = await running(store)
    assert await store.events("another", id, after=0, limit=10) is None
    with pytest.raises(NoSuchExecution):
        await anext(follow(Pages(store), Key("another", id), 0))
    with pytest.raises(NoSuchExecution):
        await anext(follow(Pages(store), Key(OWNER, uuid4()), 0))


async def test_a_slice_is_two_statements(store: Store, statements: Statements) -> None:
    id = await running(store, pieces=50)
    with statements() as sent:
        await events(store, id)
    assert len(sent) == 2


async def test_followers_early_late_and_returning_see_the_same(listening: Store, url: str) -> None:
    store = listening
    id = await running(store)
    seen: dict[str, list[str]] = {"early": [], "returning": []}

    async def watch(name: str, after: int = 0) -> None:
        async for event in follow(Pages(store), Key(OWNER, id), after):
            seen[name].append(spoken(event))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch, "early")
        for number in (1, 2, 3):
            log = [entry(number, str(number).encode())]
            await store.append(hold(id), log)
        await end(store, id)
        with anyio.fail_after(30):
            await watch("returning", after=3)
    assert seen["early"] == WHOLE
    assert seen["returning"] == WHOLE[3:]
    assert [spoken(event) async for event in follow(Pages(store), Key(OWNER, id), 0)] == WHOLE
    assert [event async for event in follow(Pages(store), Key(OWNER, id), 100)] == []


async def test_a_follower_is_woken_by_another_process(listening: Store, url: str) -> None:
    if "sqlite" in url:
        pytest.skip("SQLite is for one process")
    other = Store(url)
    id = await running(listening)
    seen: list[str] = []

    async def watch() -> None:
        seen.extend([spoken(event) async for event in follow(Pages(listening), Key(OWNER, id), 0)])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await anyio.wait_all_tasks_blocked()
        await other.append(hold(id), [entry(1, b"far")])
        await end(other, id)
    await other.close()
    assert seen == ["QUEUED", "RUNNING", "far", "end: SUCCEEDED"]


async def test_a_follower_that_does_not_read_holds_nobody_back(listening: Store) -> None:
    id = await running(listening)
    lazy = follow(Pages(listening), Key(OWNER, id), 0)
    await anext(lazy)
    for number in range(1, 200):
        await listening.append(hold(id), [entry(number)])
    await end(listening, id)
    assert len([event async for event in follow(Pages(listening), Key(OWNER, id), 0)]) == 202
    assert len([event async for event in lazy]) == 201


async def test_who_follows_the_same_reads_once_for_all(
    listening: Store, statements: Statements
) -> None:
    id = await running(listening)
    pages, seen = Pages(listening), list[list[str]]()

    async def watch() -> None:
        seen.append([spoken(event) async for event in follow(pages, Key(OWNER, id), 0)])

    with statements() as sent:
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(watch)
            for number in range(1, 4):
                await anyio.wait_all_tasks_blocked()
                await listening.append(hold(id), [entry(number, str(number).encode())])
            await end(listening, id)
    assert seen == [WHOLE] * 50
    looks = [statement for statement in sent if statement.startswith("SELECT")]
    assert len(looks) < 50  # for all of them together; each alone would take ten


async def test_who_does_not_read_on_holds_one_event_in_memory(listening: Store) -> None:
    id = await running(listening)
    for number in range(1, 65):
        await listening.append(hold(id), [entry(number, bytes([number]) * 64 * KIB)])
    pages = Pages(listening, most=2 * 1024 * KIB)
    followers = [follow(pages, Key(OWNER, id), after) for after in range(2, 62)]
    tracemalloc.start()
    try:
        for follower in followers:
            await anext(follower)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        for follower in followers:
            await follower.aclose()
    assert held < 8 * 1024 * KIB  # a page of each would be above 40 MiB


async def test_a_crowd_of_followers_leaves_the_database_to_others(
    listening: Store, statements: Statements
) -> None:
    ids = [await running(listening, pieces=60) for _ in range(50)]
    pages, others = Pages(listening), list[int]()

    async def watch(id: UUID) -> None:
        await anext(follow(pages, Key(OWNER, id), 0))

    with statements() as sent:
        async with anyio.create_task_group() as tasks:
            for id in ids:
                tasks.start_soon(watch, id)
            await until(lambda: len(sent) > 0)
            await listening.executions(OWNER, ids[:1])
            others.append(len(sent))
    # A look at the log is two statements: it waited for a few of them, and not for fifty.
    assert others[0] < len(ids)


async def test_a_follower_waits_for_a_database_that_goes_away(
    listening: Store, url: str, request: pytest.FixtureRequest
) -> None:
    if "sqlite" in url:
        pytest.skip("A file does not go away")
    postgres: PostgresServer = request.getfixturevalue("postgres")
    id = await running(listening, pieces=PAGE + 10)
    await end(listening, id)
    follower = follow(Pages(listening), Key(OWNER, id), 0)
    seen = [await anext(follower)]
    await anyio.to_thread.run_sync(postgres.stop)

    async def read_on() -> None:
        seen.extend([event async for event in follower])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_on)
        await anyio.wait_all_tasks_blocked()
        try:
            with pytest.raises(StorageError):
                await anext(follow(Pages(listening), Key(OWNER, id), 0))
        finally:
            await anyio.to_thread.run_sync(postgres.restart)
    assert [event.sequence for event in seen] == [*range(1, PAGE + 14)]


async def test_what_was_erased_is_not_shown_to_who_comes_afterwards(listening: Store) -> None:
    id = await running(listening, pieces=3)
    await end(listening, id)
    pages = Pages(listening)
    assert [spoken(event) async for event in follow(pages, Key(OWNER, id), 0)] == WHOLE
    await listening.erase(Chosen(owner=OWNER, ids=(id,)))
    with pytest.raises(NoSuchExecution):
        await anext(follow(pages, Key(OWNER, id), 0))


async def test_a_session_is_watched_from_its_unfinished_ones_on(listening: Store) -> None:
    store = listening
    done = await running(store, session_id="s")
    await end(store, done)
    old = await running(store, session_id="s")
    seen: list[tuple[UUID, Status]] = []
    enough = anyio.Event()

    async def watch() -> None:
        async for one in follow_session(store, OWNER, "s"):
            seen.append((one.id, one.status))
            if len(seen) == 1:
                enough.set()
            if len(seen) == 4:
                break

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        with anyio.fail_after(30):
            await enough.wait()
        await running(store, session_id="another")
        new = await running(store, session_id="s", id=uuid_after(old))
        await until(lambda: len(seen) >= 2)
        await end(store, new)
        await until(lambda: len(seen) >= 3)
        await end(store, old)
    assert seen == [
        (old, Status.RUNNING),
        (new, Status.RUNNING),
        (new, Status.SUCCEEDED),
        (old, Status.SUCCEEDED),
    ]


def uuid_after(id: UUID) -> UUID:
    return UUID(int=id.int + 1)


async def test_what_a_dead_holder_left_is_news_for_its_followers(listening: Store) -> None:
    id = await running(listening, pieces=1)
    found: list[Execution] = []

    async def watch() -> None:
        async for event in follow(Pages(listening), Key(OWNER, id), 3):
            assert isinstance(event, Finished)
            found.append(event.execution)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        await anyio.wait_all_tasks_blocked()
        await listening.recover(HOLDER, HEIR, is_dead=True)
    assert found[0].outcome == LOST


# --- Bells -----------------------------------------------------------------------------------


async def test_a_bell_rung_before_the_wait_is_heard() -> None:
    feed = Feed()
    with feed.bell("topic") as bell:
        feed.ring(["topic a", "other b"])
        feed.ring(["topic c"])
        assert await bell.wait() == frozenset("ac")
        with anyio.move_on_after(0) as scope:
            await bell.wait()
        assert scope.cancelled_caught
        feed.ring_all()
        feed.ring(["topic d"])
        assert await bell.wait() is None


async def test_a_bell_keeps_no_more_than_it_can_hold() -> None:
    feed = Feed()
    with feed.bell("topic") as bell:
        feed.ring(f"topic {number}" for number in range(MOST_DETAILS + 1))
        assert await bell.wait() is None


async def test_bells_that_were_given_back_leave_nothing() -> None:
    feed = Feed()
    with feed.bell(events_of(uuid4())), feed.bell("topic"):
        assert len(feed._bells) == 2
    assert not feed._bells


async def test_a_change_that_does_not_happen_is_no_news(listening: Store) -> None:
    id = await running(listening)
    with listening.feed.bell(events_of(id)) as bell:
        assert not await listening.append(hold(id, "zombie"), [entry(1)])
        await listening.append(hold(id), [entry(1, stream=Stream.STDERR)])
        with anyio.fail_after(30):
            await bell.wait()
        with anyio.move_on_after(0.05) as scope:
            await bell.wait()
        assert scope.cancelled_caught
