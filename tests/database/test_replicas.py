"""Which servers live, which have died, and where executions are."""

from datetime import UTC, datetime, timedelta

from app.storage.store import Arrival, Store

from .samples import HOLDER, PROGRAM, SUCCESS, execution, hold

NOW = datetime.now(UTC)
MINUTE = timedelta(minutes=1)


async def dead(store: Store) -> frozenset[str]:
    return await store.dead_replicas(after=NOW - 10 * MINUTE, before=NOW)


async def test_a_replica_is_dead_when_its_time_is_over(store: Store) -> None:
    await store.keep_replica("a", until=NOW - MINUTE)
    await store.keep_replica("b", until=NOW + MINUTE)
    assert await dead(store) == {"a"}


async def test_a_replica_that_goes_on_is_not_dead(store: Store) -> None:
    await store.keep_replica("a", until=NOW - MINUTE)
    await store.keep_replica("a", until=NOW + MINUTE)
    assert await dead(store) == frozenset()


async def test_who_died_long_ago_is_not_named_and_then_forgotten(store: Store) -> None:
    await store.keep_replica("old", until=NOW - 11 * MINUTE)
    await store.keep_replica("ancient", until=NOW - timedelta(days=8))
    await store.keep_replica("new", until=NOW)
    assert await dead(store) == frozenset()
    named = await store.dead_replicas(after=NOW - timedelta(days=9), before=NOW)
    assert named == {"old"}


async def test_an_execution_is_somewhere_until_it_ends(store: Store) -> None:
    placed, elsewhere = execution(), execution()
    for each in (placed, elsewhere):
        await store.insert(Arrival(execution=each, program=PROGRAM), HOLDER)
    assert await store.placements() == ()
    await store.place(hold(placed.id), {"sandbox": "sb-1"})
    assert await store.placements() == ({"sandbox": "sb-1"},)
    await store.finish(hold(placed.id), SUCCESS, at=NOW)
    assert await store.placements() == ()
