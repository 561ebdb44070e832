"""An execution is created, written to and ended by the holder of its lease, and by nobody else."""

from datetime import timedelta
from uuid import uuid4

from app.domain.execution import Execution, Outcome, Status, Stream, Transcript
from app.storage.store import Lease, Store

from .samples import (
    HOLDER,
    LOST,
    NOW,
    OWNER,
    PROGRAM,
    SUCCESS,
    ended,
    entry,
    execution,
    lease,
    queued,
)

LATER = NOW + timedelta(seconds=5)


async def read(store: Store, id: object) -> Execution:
    return (await store.executions(OWNER, [id]))[id]  # type: ignore[list-item, index]


async def test_a_new_execution_reads_as_it_was_written(store: Store) -> None:
    one = execution(session_id="interview", label="try", metadata={"task": 7, "tags": ["a"]})
    await store.insert(one, PROGRAM, lease())
    assert await store.executions(OWNER, [one.id]) == {one.id: one}
    assert await store.programs(OWNER, [one.id]) == {one.id: PROGRAM}
    assert await store.transcripts(OWNER, [one.id]) == {one.id: Transcript()}


async def test_an_execution_may_be_running_from_its_first_row(store: Store) -> None:
    one = execution(status=Status.RUNNING, started_at=NOW)
    await store.insert(one, PROGRAM, lease())
    assert await read(store, one.id) == one


async def test_a_queued_execution_begins_once(store: Store) -> None:
    id = await queued(store)
    assert await store.mark_running(id, at=LATER, lease=lease())
    assert not await store.mark_running(id, at=NOW, lease=lease())
    found = await read(store, id)
    assert (found.status, found.started_at) == (Status.RUNNING, LATER)


async def test_an_execution_begins_for_its_holder_only(store: Store) -> None:
    id = await queued(store)
    assert not await store.mark_running(id, at=LATER, lease=lease("another"))
    assert (await read(store, id)).status is Status.QUEUED


async def test_the_log_joins_to_a_transcript_in_the_order_of_its_numbers(store: Store) -> None:
    id = await queued(store)
    assert await store.append(id, [entry(2, b"c"), entry(3, b"!", Stream.STDERR)], holder=HOLDER)
    assert await store.append(id, [entry(1, b"ab")], holder=HOLDER)
    found = await store.transcripts(OWNER, [id])
    assert found == {id: Transcript(stdout=b"abc", stderr=b"!")}


async def test_a_transcript_can_be_cut_at_any_byte_of_each_stream(store: Store) -> None:
    ids = [await queued(store) for _ in range(2)]
    pieces = [entry(1, b"ab"), entry(2, b"xyz", Stream.STDERR), entry(3, b"\0"), entry(4, b"cde")]
    assert await store.append(ids[0], pieces, holder=HOLDER)
    for stdout in (None, *range(8)):
        for stderr in (None, *range(5)):
            found = await store.transcripts(OWNER, ids, stdout=stdout, stderr=stderr)
            cut = Transcript(stdout=b"ab\0cde"[:stdout], stderr=b"xyz"[:stderr])
            assert found == {ids[0]: cut, ids[1]: Transcript()}
    assert await store.transcripts("another", ids, stdout=1) == {}


async def test_an_end_brings_the_outcome_and_the_last_of_the_log(store: Store) -> None:
    id = await queued(store)
    assert await store.append(id, [entry(1, b"4")], holder=HOLDER)
    assert await store.finish(id, SUCCESS, at=LATER, entries=[entry(2, b"2")], holder=HOLDER)
    found = await read(store, id)
    assert (found.status, found.outcome, found.finished_at) == (Status.SUCCEEDED, SUCCESS, LATER)
    assert (await store.transcripts(OWNER, [id]))[id].stdout == b"42"


async def test_a_final_execution_changes_no_more(store: Store) -> None:
    id = await ended(store)
    before = await read(store, id)
    assert not await store.append(id, [entry(9)], holder=HOLDER)
    assert not await store.finish(id, LOST, at=LATER, entries=[entry(9)], holder=HOLDER)
    assert not await store.mark_running(id, at=LATER, lease=lease())
    assert await store.renew(lease()) == 0
    assert await store.abandon(HOLDER, LOST, at=LATER, expired_before=None) == 0
    assert await read(store, id) == before
    assert (await store.transcripts(OWNER, [id]))[id] == Transcript()


async def test_a_zombie_changes_nothing(store: Store) -> None:
    id = await queued(store)
    before = await read(store, id)
    assert not await store.append(id, [entry(1)], holder="zombie")
    assert not await store.finish(id, LOST, at=LATER, entries=[entry(1)], holder="zombie")
    assert await read(store, id) == before
    assert (await store.transcripts(OWNER, [id]))[id] == Transcript()


async def test_nothing_can_be_done_to_what_is_not_there(store: Store) -> None:
    id = uuid4()
    assert not await store.append(id, [entry(1)], holder=HOLDER)
    assert not await store.finish(id, SUCCESS, at=NOW, holder=HOLDER)
    assert await store.executions(OWNER, [id]) == {}
    assert await store.programs(OWNER, [id]) == {}
    assert await store.transcripts(OWNER, [id]) == {}


async def test_another_owner_sees_nothing(store: Store) -> None:
    id = await ended(store)
    assert await store.executions("another", [id]) == {}
    assert await store.programs("another", [id]) == {}
    assert await store.transcripts("another", [id]) == {}


async def test_many_are_read_at_once_and_the_missing_are_left_out(store: Store) -> None:
    ids = [await queued(store) for _ in range(3)]
    foreign = await queued(store, owner="another")
    assert set(await store.executions(OWNER, [*ids, foreign, uuid4()])) == set(ids)
    assert await store.executions(OWNER, []) == {}


async def test_renewing_puts_off_all_that_a_holder_works_on(store: Store) -> None:
    await queued(store)
    await queued(store)
    await ended(store)
    other = execution()
    await store.insert(other, PROGRAM, lease("process-2"))
    renewed = lease(expires_at=NOW + timedelta(hours=1))
    assert await store.renew(renewed) == 2
    assert await store.leases() == (renewed, lease("process-2"))


async def test_leases_name_each_holder_once_with_its_latest_expiry(store: Store) -> None:
    for seconds in (3, 1, 2):
        await store.insert(execution(), PROGRAM, lease(expires_at=NOW + timedelta(seconds=seconds)))
    assert await store.leases() == (Lease(holder=HOLDER, expires_at=NOW + timedelta(seconds=3)),)


async def test_no_unfinished_work_means_no_leases(store: Store) -> None:
    await ended(store)
    assert await store.leases() == ()


async def test_what_a_dead_holder_leaves_is_ended_and_keeps_its_output(store: Store) -> None:
    id, done = await queued(store), await ended(store)
    other = execution()
    await store.insert(other, PROGRAM, lease("alive"))
    await store.append(id, [entry(1, b"so far")], holder=HOLDER)
    assert await store.abandon(HOLDER, LOST, at=LATER, expired_before=None) == 1
    assert (await read(store, id)).outcome == LOST
    assert (await store.transcripts(OWNER, [id]))[id].stdout == b"so far"
    assert (await read(store, done)).outcome == SUCCESS
    assert (await read(store, other.id)).status is Status.QUEUED


async def test_only_what_has_expired_is_taken_from_a_holder(store: Store) -> None:
    expired, alive = execution(), execution()
    await store.insert(expired, PROGRAM, lease(expires_at=NOW - timedelta(microseconds=1)))
    await store.insert(alive, PROGRAM, lease(expires_at=NOW))
    assert await store.abandon(HOLDER, LOST, at=LATER, expired_before=NOW) == 1
    assert (await read(store, expired.id)).status is LOST.status
    assert (await read(store, alive.id)).status is Status.QUEUED


async def test_a_holder_that_was_given_up_writes_no_more(store: Store) -> None:
    id = await queued(store)
    await store.abandon(HOLDER, LOST, at=LATER, expired_before=None)
    late = Outcome(status=Status.SUCCEEDED, exit_code=0)
    assert not await store.append(id, [entry(1)], holder=HOLDER)
    assert not await store.finish(id, late, at=LATER, entries=[entry(1)], holder=HOLDER)
    assert (await read(store, id)).outcome == LOST
