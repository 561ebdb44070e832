"""A key belongs to one execution of its owner, however many come at once."""

from datetime import datetime, timedelta
from uuid import UUID

import anyio

from app.storage.store import Arrival, Store, Wish

from .samples import HOLDER, NOW, OWNER, PROGRAM, Statements, execution

DAY = timedelta(hours=24)


def wish(fingerprint: bytes = b"1", *, at: datetime = NOW, key: str = "key") -> Wish:
    return Wish(key=key, fingerprint=fingerprint, since=at - DAY)


async def wanted(store: Store, wish: Wish, owner: str = OWNER, at: datetime = NOW) -> UUID:
    """Store an execution, and return its id or that of who came first."""
    one = execution(owner=owner, created_at=at)
    earlier = await store.insert(Arrival(execution=one, program=PROGRAM, wish=wish), HOLDER)
    return earlier.execution.id if earlier else one.id


async def test_who_comes_second_is_told_who_was_first(store: Store) -> None:
    one, other = execution(), execution()
    assert await store.earlier(OWNER, wish()) is None
    assert (
        await store.insert(Arrival(execution=one, program=PROGRAM, wish=wish(b"1")), HOLDER) is None
    )
    earlier = await store.insert(Arrival(execution=other, program=PROGRAM, wish=wish(b"2")), HOLDER)
    assert earlier
    assert (earlier.execution, earlier.fingerprint) == (one, b"1")
    assert await store.earlier(OWNER, wish()) == earlier
    assert set(await store.executions(OWNER, [one.id, other.id])) == {one.id}


async def test_owners_and_keys_have_nothing_to_do_with_each_other(store: Store) -> None:
    ids = {
        await wanted(store, wish()),
        await wanted(store, wish(key="another")),
        await wanted(store, wish(), owner="another"),
    }
    assert len(ids) == 3


async def test_after_a_day_the_key_is_free_and_not_before(store: Store) -> None:
    first = await wanted(store, wish())
    almost, late = NOW + DAY, NOW + DAY + timedelta(microseconds=1)
    assert await wanted(store, wish(at=almost), at=almost) == first
    assert await store.earlier(OWNER, wish(at=late)) is None
    second = await wanted(store, wish(at=late), at=late)
    assert second != first
    assert await wanted(store, wish(at=late), at=late) == second
    assert set(await store.executions(OWNER, [first, second])) == {first, second}


async def test_of_many_at_once_on_two_processes_one_is_stored(store: Store, url: str) -> None:
    other = Store(url)
    for fresh in (True, False):  # the second time, a key that has expired is there
        at = NOW if fresh else NOW + 2 * DAY
        ids: list[UUID] = []

        async def want(to: Store, at: datetime = at, ids: list[UUID] = ids) -> None:
            ids.append(await wanted(to, wish(at=at), at=at))

        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(want, other if number % 2 else store)
        assert len(ids) == 30
        assert len(set(ids)) == 1
    await other.close()


async def test_a_key_costs_two_statements_more(store: Store, statements: Statements) -> None:
    with statements() as sent:
        await wanted(store, wish())
    assert [statement.split()[0] for statement in sent if "SAVEPOINT" not in statement] == [
        "UPDATE",
        "INSERT",
        "UPDATE",
    ]
