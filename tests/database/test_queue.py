"""Who waits is taken in turn, once, by whoever has room."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import anyio
import pytest
from sqlalchemy import NullPool, select

from app.domain.execution import Execution, Outcome, Program, Status
from app.domain.ports import EnvironmentState, Support
from app.storage.engine import postgres_engine
from app.storage.queue import HEAD_START, SPARE
from app.storage.rows import EXECUTIONS
from app.storage.store import Arrival, Bounds, Claimer, QueuePlace, Store
from app.storage.urls import is_sqlite, normal

from .samples import CLAIMER, HOLDER, NOW, OWNER, PROGRAM, SUCCESS, begun, execution, hold

WIDE = Bounds(owned=10_000, in_all=10_000)
CANCELLED = Outcome(status=Status.CANCELLED)
LATER = NOW + timedelta(hours=1)


def waiting(seconds: float = 0, **changes: object) -> Execution:
    """Return an execution that has been accepted so many seconds after the others."""
    created = NOW + timedelta(seconds=seconds)
    unstarted = {"status": Status.QUEUED, "started_at": None, "created_at": created}
    return execution(**{**unstarted, **changes})


async def enqueue(store: Store, *executions: Execution, bounds: Bounds = WIDE) -> None:
    for one in executions:
        assert await store.enqueue(Arrival(execution=one, program=PROGRAM), bounds)


async def claimed(store: Store, wanted: int, by: Claimer = CLAIMER) -> list[UUID]:
    return [work.execution.id for work in await store.claim(by, wanted)]


async def read(store: Store, id: UUID, owner: str = OWNER) -> Execution:
    return (await store.executions(owner, [id]))[id]


async def test_what_is_claimed_runs_and_is_held(store: Store) -> None:
    one = waiting(language_version=None, executor="elsewhere")
    await enqueue(store, one)
    assert await read(store, one.id) == one
    [work] = await store.claim(CLAIMER, 1)
    found = await read(store, one.id)
    assert work.execution == found
    assert work.program == PROGRAM
    assert (found.status, found.attempt) == (Status.RUNNING, 1)
    assert (found.executor, found.language_version) == ("local", "3.12.1")
    assert found.started_at
    assert found.started_at >= found.created_at
    assert await claimed(store, 1) == []
    assert await store.finish(hold(one.id), SUCCESS, at=LATER)


async def test_who_has_waited_longest_comes_first(store: Store) -> None:
    first, second, third = (waiting(number) for number in range(3))
    await enqueue(store, third, first, second)
    assert await claimed(store, 2) == [first.id, second.id]
    assert await claimed(store, 2) == [third.id]


async def test_many_of_one_owner_do_not_delay_another(store: Store) -> None:
    crowd = [waiting(number) for number in range(50)]
    late = waiting(1000, owner="another")
    await enqueue(store, *crowd, late)
    assert await claimed(store, 2) == [crowd[0].id, late.id]


async def test_who_has_fewer_running_comes_first(store: Store) -> None:
    for _ in range(3):
        await begun(store)
    mine, other, second_of_other = waiting(0), waiting(5, owner="o"), waiting(6, owner="o")
    await enqueue(store, mine, other, second_of_other)
    assert await claimed(store, 3) == [other.id, second_of_other.id, mine.id]


async def test_an_interactive_run_comes_before_what_has_not_waited_much_longer(
    store: Store,
) -> None:
    head_start = HEAD_START.total_seconds()
    old, young = waiting(0), waiting(head_start)
    interactive = waiting(head_start - 1, interactive=True)
    starved = waiting(-2)
    await enqueue(store, old, young, interactive, starved)
    order = [starved.id, interactive.id, old.id, young.id]
    assert await claimed(store, 4) == order


async def test_nobody_takes_what_they_cannot_run(store: Store) -> None:
    other = waiting(0, language="JAVASCRIPT")
    mine = [waiting(1 + number) for number in range(3)]
    await enqueue(store, other, *mine)
    assert await claimed(store, 10) == [one.id for one in mine]
    both = Claimer(
        holder=HOLDER, executor="local", runs={"PYTHON": Support(), "JAVASCRIPT": Support()}
    )
    assert await claimed(store, 10, both) == [other.id]


@pytest.mark.parametrize(
    ("versions", "taken"),
    [
        (("3.12.1", "3.9.2"), {"3": "3.12.1", "3.9": "3.9.2", "3.12.1": "3.12.1", None: "3.12.1"}),
        (("3.1.2",), {"3": "3.1.2", None: "3.1.2"}),
        ((), {None: None}),
        (None, {None: None}),
    ],
)
async def test_who_has_the_version_that_is_asked_for_takes_it(
    store: Store, versions: tuple[str, ...] | None, taken: dict[str | None, str | None]
) -> None:
    wishes = dict.fromkeys(("3", "3.9", "3.12.1", "3.1.", "%", None))
    for number, wish in enumerate(wishes):
        program = replace(PROGRAM, language_version=wish)
        await store.enqueue(
            Arrival(execution=waiting(number), program=program), Bounds(owned=9, in_all=9)
        )
    runs = {"PYTHON": Support(versions=versions)}
    by = Claimer(holder=HOLDER, executor="local", runs=runs)
    work = await store.claim(by, 10)
    assert {
        each.program.language_version: each.execution.language_version for each in work
    } == taken


async def test_who_has_the_environment_that_is_asked_for_takes_it(store: Store) -> None:
    without = Support(versions=("3.12.1", "3.9.2"))
    unbuilt = {"data": EnvironmentState(reason="not built")}
    built = {"data": EnvironmentState(versions=("3.9.2",)), "more": EnvironmentState()}
    wishes = [(None, "data"), ("3.9", "data"), ("3.12", "data"), (None, "dat"), (None, None)]
    programs = [replace(PROGRAM, language_version=v, environment=e) for v, e in wishes]
    for number, program in enumerate(programs):
        await store.enqueue(Arrival(execution=waiting(number), program=program), WIDE)

    async def taken(support: Support) -> list[tuple[Program, str | None]]:
        by = Claimer(holder=HOLDER, executor="local", runs={"PYTHON": support})
        work = await store.claim(by, 10)
        return [(each.program, each.execution.language_version) for each in work]

    plain = programs.pop()
    assert await taken(replace(without, environments=unbuilt)) == [(plain, "3.12.1")]
    assert await taken(without) == []
    # By a version that has it, which is not the usual one.
    assert await taken(replace(without, environments=built)) == [
        (programs[0], "3.9.2"),
        (programs[1], "3.9.2"),
    ]
    assert (await store.queue_length()).length == 2


async def test_of_many_that_claim_each_gets_something_else(store: Store, url: str) -> None:
    all = [waiting(number) for number in range(40)]
    await enqueue(store, *all)
    other, taken = Store(url), list[UUID]()

    async def take(at: Store, name: str) -> None:
        by = Claimer(holder=name, executor="local", runs={"PYTHON": Support()})
        while ids := await claimed(at, 3, by):
            taken.extend(ids)

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(take, other if number % 2 else store, f"process-{number}")
    await other.close()
    # Who found all that it looked at in the hands of others goes away: the rest is still there.
    taken += await claimed(store, 100)
    assert sorted(taken) == sorted(one.id for one in all)


async def test_who_finds_the_first_in_other_hands_looks_further(store: Store, url: str) -> None:
    if is_sqlite(normal(url)):
        pytest.skip("SQLite has one writer: nothing is in other hands")
    crowd = [waiting(number) for number in range(SPARE + 4)]
    await enqueue(store, *crowd)
    other = postgres_engine(normal(url), poolclass=NullPool)
    first = select(EXECUTIONS.c.id).order_by(EXECUTIONS.c.id).limit(SPARE + 2).with_for_update()
    async with other.connect() as connection:
        await connection.execute(first)
        assert await claimed(store, 2) == [crowd[-2].id, crowd[-1].id]


@pytest.mark.parametrize(
    ("bounds", "accepted"),
    [
        (Bounds(owned=2, in_all=10), [True, True, False, True]),
        (Bounds(owned=10, in_all=2), [True, True, False, False]),
    ],
)
async def test_the_queue_is_bounded_for_each_owner_and_in_all(
    store: Store, bounds: Bounds, accepted: list[bool]
) -> None:
    crowd = [waiting(), waiting(), waiting(), waiting(owner="another")]
    assert [
        await store.enqueue(Arrival(execution=one, program=PROGRAM), bounds) for one in crowd
    ] == accepted
    assert (await store.queue_length()).length == accepted.count(True)


async def test_the_place_in_the_queue_is_the_turn(store: Store) -> None:
    crowd = [waiting(number) for number in range(3)]
    late, ids = waiting(9, owner="another"), [one.id for one in crowd]
    await enqueue(store, *crowd, late)
    places = await store.queue_places(OWNER, [*ids, late.id, uuid4()])
    assert {id: place.position for id, place in places.items()} == dict(
        zip(ids, (1, 2, 3), strict=True)
    )
    assert (await store.queue_places("another", [late.id]))[late.id] == QueuePlace(
        position=1, since=late.created_at
    )
    length = await store.queue_length()
    assert (length.length, length.oldest) == (4, NOW)
    await claimed(store, 1)
    assert sorted(await store.queue_places(OWNER, ids)) == ids[1:]


async def test_who_waits_is_cancelled_at_once(store: Store) -> None:
    one = waiting()
    await enqueue(store, one)
    cancelled = await store.cancel(OWNER, one.id, CANCELLED, at=LATER)
    assert cancelled
    assert cancelled == await read(store, one.id)
    assert (cancelled.status, cancelled.finished_at) == (Status.CANCELLED, LATER)
    assert await claimed(store, 1) == []
    again = await store.cancel(OWNER, one.id, CANCELLED, at=LATER + timedelta(hours=1))
    assert again == cancelled


async def test_who_runs_is_asked_to_end_by_its_holder(store: Store) -> None:
    id = await begun(store)
    assert not await store.is_unwanted(hold(id))
    for _ in range(2):
        found = await store.cancel(OWNER, id, CANCELLED, at=LATER)
        assert found
        assert found.status is Status.RUNNING
    assert await store.is_unwanted(hold(id))
    assert (await store.renew(HOLDER, [id])).cancelled == {id}


async def test_what_has_ended_or_is_not_there_cannot_be_cancelled(store: Store) -> None:
    id = await begun(store)
    await store.finish(hold(id), SUCCESS, at=NOW)
    assert (await store.cancel(OWNER, id, CANCELLED, at=LATER)) == await read(store, id)
    assert (await read(store, id)).status is Status.SUCCEEDED
    assert await store.cancel(OWNER, uuid4(), CANCELLED, at=LATER) is None
    other = waiting(owner="another")
    await enqueue(store, other)
    assert await store.cancel(OWNER, other.id, CANCELLED, at=LATER) is None
    assert (await read(store, other.id, "another")).status is Status.QUEUED
