"""An execution is created, written to and ended by the holder of its lease, and by nobody else."""

from datetime import timedelta
from uuid import uuid4

from app.domain.execution import Execution, Status, Stream, Transcript
from app.storage.store import Arrival, LastWords, Store

from .samples import (
    HEIR,
    HOLDER,
    LOST,
    NOW,
    OWNER,
    PROGRAM,
    SUCCESS,
    begun,
    ended,
    entry,
    execution,
    hold,
)

LATER = NOW + timedelta(seconds=5)


async def read(store: Store, id: object) -> Execution:
    return (await store.executions(OWNER, [id]))[id]  # type: ignore[list-item, index]


async def test_a_new_execution_reads_as_it_was_written(store: Store) -> None:
    one = execution(session_id="interview", label="try", metadata={"task": 7, "tags": ["a"]})
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    assert await store.executions(OWNER, [one.id]) == {one.id: one}
    assert await store.programs(OWNER, [one.id]) == {one.id: PROGRAM}
    assert await store.transcripts(OWNER, [one.id]) == {one.id: Transcript()}


async def test_an_execution_may_be_running_from_its_first_row(store: Store) -> None:
    one = execution(status=Status.RUNNING, started_at=NOW)
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    assert await read(store, one.id) == one


async def test_the_log_joins_to_a_transcript_in_the_order_of_its_numbers(store: Store) -> None:
    id = await begun(store)
    assert await store.append(hold(id), [entry(2, b"c"), entry(3, b"!", Stream.STDERR)])
    assert await store.append(hold(id), [entry(1, b"ab")])
    found = await store.transcripts(OWNER, [id])
    assert found == {id: Transcript(stdout=b"abc", stderr=b"!")}


async def test_a_transcript_can_be_cut_at_any_byte_of_each_stream(store: Store) -> None:
    ids = [await begun(store) for _ in range(2)]
    pieces = [entry(1, b"ab"), entry(2, b"xyz", Stream.STDERR), entry(3, b"\0"), entry(4, b"cde")]
    assert await store.append(hold(ids[0]), pieces)
    for stdout in (None, *range(8)):
        for stderr in (None, *range(5)):
            found = await store.transcripts(OWNER, ids, stdout=stdout, stderr=stderr)
            cut = Transcript(stdout=b"ab\0cde"[:stdout], stderr=b"xyz"[:stderr])
            assert found == {ids[0]: cut, ids[1]: Transcript()}
    assert await store.transcripts("another", ids, stdout=1) == {}


async def test_what_is_sent_again_is_stored_once(store: Store) -> None:
    """The first answer was lost on its way: the writer cannot know that it was heard."""
    id = await begun(store)
    assert await store.append(hold(id), [entry(1, b"a")])
    assert await store.append(hold(id), [entry(1, b"a"), entry(2, b"b")])
    assert await store.finish(
        hold(id), SUCCESS, at=LATER, last=LastWords(entries=[entry(2, b"b"), entry(3, b"c")])
    )
    assert (await store.transcripts(OWNER, [id]))[id].stdout == b"abc"


async def test_an_end_brings_the_outcome_and_the_last_of_the_log(store: Store) -> None:
    id = await begun(store)
    assert await store.append(hold(id), [entry(1, b"4")])
    assert await store.finish(hold(id), SUCCESS, at=LATER, last=LastWords(entries=[entry(2, b"2")]))
    found = await read(store, id)
    assert (found.status, found.outcome, found.finished_at) == (Status.SUCCEEDED, SUCCESS, LATER)
    assert (await store.transcripts(OWNER, [id]))[id].stdout == b"42"


async def test_a_final_execution_changes_no_more(store: Store) -> None:
    id = await ended(store)
    before = await read(store, id)
    assert not await store.append(hold(id), [entry(9)])
    assert not await store.finish(hold(id), LOST, at=LATER, last=LastWords(entries=[entry(9)]))
    assert not await store.hand_back(hold(id))
    assert not (await store.renew(HOLDER, [id])).attempts
    assert (await store.recover(HOLDER, HEIR, is_dead=True)).ended == ()
    assert await read(store, id) == before
    assert (await store.transcripts(OWNER, [id]))[id] == Transcript()


async def test_a_zombie_changes_nothing(store: Store) -> None:
    id = await begun(store)
    before = await read(store, id)
    assert not await store.append(hold(id, "zombie"), [entry(1)])
    assert not await store.append(hold(id, attempt=2), [entry(1)])
    assert not await store.finish(
        hold(id, "zombie"), LOST, at=LATER, last=LastWords(entries=[entry(1)])
    )
    assert await read(store, id) == before
    assert (await store.transcripts(OWNER, [id]))[id] == Transcript()


async def test_nothing_can_be_done_to_what_is_not_there(store: Store) -> None:
    id = uuid4()
    assert not await store.append(hold(id), [entry(1)])
    assert not await store.finish(hold(id), SUCCESS, at=NOW)
    assert await store.executions(OWNER, [id]) == {}
    assert await store.programs(OWNER, [id]) == {}
    assert await store.transcripts(OWNER, [id]) == {}


async def test_another_owner_sees_nothing(store: Store) -> None:
    id = await ended(store)
    assert await store.executions("another", [id]) == {}
    assert await store.programs("another", [id]) == {}
    assert await store.transcripts("another", [id]) == {}


async def test_many_are_read_at_once_and_the_missing_are_left_out(store: Store) -> None:
    ids = [await begun(store) for _ in range(3)]
    foreign = await begun(store, owner="another")
    assert set(await store.executions(OWNER, [*ids, foreign, uuid4()])) == set(ids)
    assert await store.executions(OWNER, []) == {}
