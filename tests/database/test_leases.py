"""What a dead process leaves runs again once, or goes on, or ends; its late word is not heard."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.domain.execution import Execution, Outcome, Status, Stream
from app.executions.figures import Figures
from app.executions.recovery import House
from app.storage.store import Arrival, Bounds, Claimer, Lease, Store

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
    begun,
    ended,
    entry,
    execution,
    hold,
)

PLACEMENT = {"box": "sb-1"}
CANCELLED = Outcome(status=Status.CANCELLED)


async def read(store: Store, id: UUID) -> Execution:
    return (await store.executions(OWNER, [id]))[id]


@pytest.fixture
async def expired(store: Store, url: str) -> AsyncIterator[Store]:
    """Return a store whose leases are over as soon as they begin."""
    other = Store(url, lease_time=-1)
    yield other
    await other.close()


async def test_a_lease_is_over_when_nobody_renews_it(store: Store, expired: Store) -> None:
    await store.insert(Arrival(execution=execution(), program=PROGRAM), "alive")
    silent = execution()
    await expired.insert(Arrival(execution=silent, program=PROGRAM), "silent")
    assert await store.leases() == (
        Lease(holder="alive", is_expired=False),
        Lease(holder="silent", is_expired=True),
    )
    assert (await store.renew("silent", [silent.id])).attempts == {silent.id: 1}
    assert [lease.is_expired for lease in await store.leases()] == [False, False]


async def test_a_claim_is_a_lease_as_well(store: Store, expired: Store) -> None:
    one = execution(status=Status.QUEUED, started_at=None)
    await store.enqueue(Arrival(execution=one, program=PROGRAM), Bounds(owned=1, in_all=1))
    assert await store.leases() == ()
    await expired.claim(CLAIMER, 1)
    assert await store.leases() == (Lease(holder=HOLDER, is_expired=True),)


async def test_only_what_is_named_is_renewed(store: Store, expired: Store) -> None:
    named, unnamed = [execution() for _ in range(2)]
    for one in (named, unnamed):
        await expired.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    done = await ended(store)
    assert (await store.renew(HOLDER, [named.id, done])).attempts == {named.id: 1}
    assert (await store.recover(HOLDER, HEIR, is_dead=False)).queued == 1
    assert (await read(store, unnamed.id)).status is Status.QUEUED
    assert (await read(store, named.id)).status is Status.RUNNING
    assert not (await store.renew("another", [named.id])).attempts


async def test_no_clock_of_ours_goes_into_a_lease(store: Store, statements: Statements) -> None:
    """Hosts disagree about the time; the database agrees with itself."""
    one = execution()
    with statements() as sent:
        await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
        await store.renew(HOLDER, [one.id])
        await store.leases()
        await store.recover(HOLDER, HEIR, is_dead=False)
    clocks = [text for text in sent if "clock_timestamp()" in text or "'now'" in text]
    assert len(clocks) == 4


async def test_what_was_not_seen_to_write_runs_again_once(store: Store) -> None:
    id = await begun(store)
    assert (await store.recover(HOLDER, HEIR, is_dead=True)).queued == 1
    again = await read(store, id)
    assert (again.status, again.attempt, again.started_at) == (Status.QUEUED, 2, NOW)
    [work] = await store.claim(replace_holder("process-2"), 1)
    assert (work.execution.id, work.execution.attempt) == (id, 2)
    assert work.execution.started_at == NOW
    recovered = await store.recover("process-2", HEIR, is_dead=True)
    assert (recovered.queued, len(recovered.ended)) == (0, 1)
    assert (await read(store, id)).outcome == LOST


def replace_holder(holder: str) -> Claimer:
    return replace(CLAIMER, holder=holder)


async def test_what_was_seen_to_write_does_not_run_again(store: Store) -> None:
    id = await begun(store)
    await store.append(hold(id), [entry(1, b"so far")])
    [end] = (await store.recover(HOLDER, HEIR, is_dead=True)).ended
    assert end == await read(store, id)
    found = await read(store, id)
    assert (found.outcome, found.finished_at) == (LOST, HEIR.at)
    assert (await store.transcripts(OWNER, [id]))[id].stdout == b"so far"


async def test_what_somebody_cancelled_is_cancelled(store: Store) -> None:
    id = await begun(store)
    await store.cancel(OWNER, id, CANCELLED, at=NOW)
    [end] = (await store.recover(HOLDER, HEIR, is_dead=True)).ended
    assert end == await read(store, id)
    assert (await read(store, id)).status is Status.CANCELLED


async def test_others_are_left_alone(store: Store) -> None:
    alive, done = execution(), await ended(store)
    await store.insert(Arrival(execution=alive, program=PROGRAM), "alive")
    recovered = await store.recover(HOLDER, HEIR, is_dead=True)
    assert (recovered.queued, len(recovered.ended)) == (0, 0)
    assert (await read(store, alive.id)).status is Status.RUNNING
    assert (await read(store, done)).outcome == SUCCESS


async def test_only_what_has_expired_is_taken_from_who_may_live(
    store: Store, expired: Store
) -> None:
    old, young = [execution() for _ in range(2)]
    await expired.insert(Arrival(execution=old, program=PROGRAM), HOLDER)
    await store.insert(Arrival(execution=young, program=PROGRAM), HOLDER)
    assert (await store.recover(HOLDER, HEIR, is_dead=False)).queued == 1
    assert (await read(store, old.id)).status is Status.QUEUED
    assert (await read(store, young.id)).status is Status.RUNNING


async def test_what_we_hold_without_knowing_it_is_not_held_for_ever(
    store: Store, expired: Store
) -> None:
    """It was stored, and the answer was lost: nobody looks after it, and we live."""
    one = execution()
    await expired.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    await House(expired, HOLDER, None, Figures()).beat()
    found = await read(store, one.id)
    assert (found.status, found.attempt) == (Status.QUEUED, 2)


async def test_a_zombie_is_not_heard_even_when_it_holds_the_same_row_again(store: Store) -> None:
    id = await begun(store)
    await store.recover(HOLDER, HEIR, is_dead=True)
    await store.claim(CLAIMER, 1)
    assert not await store.append(hold(id), [entry(1, b"late")])
    assert not await store.finish(hold(id), SUCCESS, at=NOW)
    assert not await store.hand_back(hold(id))
    assert await store.append(hold(id, attempt=2), [entry(1, b"new")])
    assert (await store.transcripts(OWNER, [id]))[id].stdout == b"new"


async def test_a_program_that_goes_on_elsewhere_is_adopted(store: Store) -> None:
    id = await begun(store)
    assert await store.place(hold(id), PLACEMENT)
    await store.append(hold(id), [entry(1, b"abc"), entry(2, b"!", Stream.STDERR)])
    [adopted] = (await store.recover(HOLDER, HEIR, is_dead=True)).adopted
    assert (adopted.execution.id, adopted.program) == (id, PROGRAM)
    assert adopted.placement == PLACEMENT
    assert adopted.stored == {Stream.STDOUT: 3, Stream.STDERR: 1}
    assert adopted.next_seq == 3
    assert not await store.append(hold(id), [entry(3)])
    assert await store.append(hold(id, "heir"), [entry(3)])
    assert (await store.renew("heir", [id])).attempts == {id: 1}


async def test_who_cannot_adopt_leaves_it_to_its_kind_for_a_while(store: Store, url: str) -> None:
    id = await begun(store)
    await store.place(hold(id), PLACEMENT)
    for executor in ("another", None):
        await store.recover(HOLDER, replace(HEIR, executor=executor), is_dead=True)
        assert (await read(store, id)).status is Status.RUNNING
    overdue = Store(url, lease_time=-3600)
    await overdue.renew(HOLDER, [id])
    await overdue.close()
    await store.recover(HOLDER, replace(HEIR, executor=None), is_dead=True)
    assert (await read(store, id)).status is Status.QUEUED


async def test_work_is_handed_back_unless_it_was_seen_to_write(store: Store) -> None:
    silent, heard, wanted = [await begun(store) for _ in range(3)]
    await store.append(hold(heard), [entry(1)])
    await store.cancel(OWNER, wanted, CANCELLED, at=NOW)
    assert await store.hand_back(hold(silent))
    assert not await store.hand_back(hold(heard))
    assert not await store.hand_back(hold(wanted))
    assert not await store.hand_back(hold(silent))
    found = await read(store, silent)
    assert (found.status, found.attempt) == (Status.QUEUED, 2)
    [work] = await store.claim(CLAIMER, 1)
    assert work.execution.id == silent
    assert not await store.hand_back(hold(silent, attempt=2))


async def test_what_was_typed_is_read_again_by_the_second_try(store: Store) -> None:
    id = await begun(store, interactive=True)
    await store.type_in(OWNER, id, b"hello", is_last=False)
    await store.mark_read(id, 1, holder=HOLDER)
    await store.hand_back(hold(id))
    await store.claim(CLAIMER, 1)
    assert [piece.data for piece in await store.typed(id, after=0)] == [b"hello"]


async def test_nothing_begins_before_it_was_accepted(store: Store) -> None:
    """The host that runs it may be behind the one that accepted it."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    one = execution(status=Status.QUEUED, started_at=None, created_at=tomorrow)
    await store.enqueue(Arrival(execution=one, program=PROGRAM), Bounds(owned=1, in_all=1))
    [work] = await store.claim(CLAIMER, 1)
    assert work.execution.started_at == tomorrow
