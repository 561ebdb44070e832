"""Tests of executions are kept, judged once, and told to whom they may be."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from app.domain.access import Shares
from app.domain.comparison import Comparison, Tolerance
from app.domain.events import CaseEnded, Finished
from app.domain.execution import File, Kind, Outcome, Status
from app.domain.history import Filter, Window
from app.domain.limits import DEFAULT_LIMITS
from app.domain.results import CaseResult
from app.domain.testing import Call, Case, Suite, Verdict
from app.storage.store import Arrival, Bounds, Chosen, Hold, LastWords, Store
from app.storage.usage import Bound, NoShareError

from .samples import CLAIMER, HEIR, HOLDER, NOW, OWNER, PROGRAM, SUCCESS, execution, hold

FULL = Case(
    name="all of it",
    limits=replace(DEFAULT_LIMITS, wall_time=1.5),
    stdin=b"\0\xff",
    args=("a", ""),
    files=(File(path="data/x", data=b"\0"),),
    expected=b"1.0\xff",
    call=Call(function="f", arguments=({"\0": [1.5, None]},)),
    comparison=Comparison.FLOATS,
    tolerance=Tolerance(absolute=0.5, relative=0.0),
    is_hidden=True,
    weight=2.5,
)
PLAIN = Case(name="plain", limits=DEFAULT_LIMITS)
SUITE = Suite(cases=(PLAIN, FULL, PLAIN), stops_on_failure=True)
ROOMY = Bounds(owned=10, in_all=10)
CRASH = Outcome(status=Status.CRASHED, signal="SIGSEGV")


async def begun(store: Store, suite: Suite = SUITE) -> UUID:
    one = execution(tests=len(suite.cases), hidden_tests=suite.hidden)
    await store.insert(Arrival(execution=one, program=replace(PROGRAM, suite=suite)), HOLDER)
    return one.id


def result(position: int, rank: int, verdict: Verdict = Verdict.PASSED) -> CaseResult:
    return CaseResult(
        position=position,
        rank=rank,
        at=NOW + timedelta(seconds=rank),
        verdict=verdict,
        outcome=CRASH if verdict is Verdict.ERROR else SUCCESS,
        stdout=b"out %d\xff" % position,
        stderr=b"err",
        returned=None if position else b"[1]",
        difference="line 1" if verdict is Verdict.FAILED else "",
    )


async def verdicts(store: Store, id: UUID) -> list[Verdict | None]:
    return [run.verdict for run in (await store.tests(OWNER, [id]))[id]]


async def look(store: Store, id: UUID) -> Verdict | None:
    return (await store.executions(OWNER, [id]))[id].verdict


async def test_whoever_claims_a_program_gets_its_tests_as_they_were_given(store: Store) -> None:
    waiting = execution(status=Status.QUEUED, started_at=None, tests=3, hidden_tests=1)
    await store.enqueue(Arrival(execution=waiting, program=replace(PROGRAM, suite=SUITE)), ROOMY)
    plain = execution(status=Status.QUEUED, started_at=None)
    await store.enqueue(Arrival(execution=plain, program=PROGRAM), ROOMY)
    taken = await store.claim(CLAIMER, 2)
    assert [work.program.suite for work in taken] == [SUITE, None]
    assert [(work.execution.tests, work.execution.hidden_tests) for work in taken] == [
        (3, 1),
        (0, 0),
    ]
    assert await store.suite(OWNER, waiting.id) == SUITE
    assert await store.suite(OWNER, plain.id) is None
    assert await store.suite("another", waiting.id) is None


async def test_what_came_of_a_test_is_written_once_and_read_back(store: Store) -> None:
    id = await begun(store)
    assert await store.record(hold(id), [result(1, 1, Verdict.FAILED), result(0, 2)])
    assert await store.record(hold(id), [result(1, 3)])
    assert await verdicts(store, id) == [Verdict.PASSED, Verdict.FAILED, None]
    assert [run.position for run in await store.ended_tests(id)] == [1, 0]
    details = (await store.test_details(OWNER, [id], sees_hidden=True))[id]
    assert details[1].case == FULL
    assert (details[1].stdout, details[1].difference) == (b"out 1\xff", "line 1")
    assert (details[2].stdout, details[2].stderr) == (b"", b"")
    assert (details[0].returned, details[1].returned) == (b"[1]", None)
    one = await store.test_details(OWNER, [id], sees_hidden=True, position=1)
    assert one == {id: {1: details[1]}}
    shown = await store.test_details(OWNER, [id], sees_hidden=False)
    assert shown == {id: {0: details[0], 2: details[2]}}
    assert await store.test_details(OWNER, [id], sees_hidden=False, position=1) == {}
    assert await store.test_details("another", [id], sees_hidden=True) == {}
    assert await store.tests("another", [id]) == {}


async def test_only_the_holder_writes_down_what_came_of_a_test(store: Store) -> None:
    id = await begun(store)
    for other in (Hold(id=id, holder="another", attempt=1), hold(id, attempt=2)):
        assert not await store.record(other, [result(0, 1)])
    assert await verdicts(store, id) == [None] * 3


@pytest.mark.parametrize("verdict", [Verdict.PASSED, Verdict.FAILED, None])
async def test_an_end_judges_the_tests_together_and_skips_what_was_not_run(
    store: Store, verdict: Verdict | None
) -> None:
    id, other = await begun(store), await begun(store)
    await store.record(hold(id), [result(0, 1)])
    assert await look(store, id) is None
    assert await store.finish(hold(id), SUCCESS, at=NOW, last=LastWords(verdict=verdict))
    assert await verdicts(store, id) == [Verdict.PASSED, Verdict.SKIPPED, Verdict.SKIPPED]
    assert await look(store, id) is (verdict or Verdict.ERROR)
    assert await verdicts(store, other) == [None] * 3
    assert not await store.record(hold(id), [result(1, 2)])


async def test_an_execution_without_tests_has_no_verdict(store: Store) -> None:
    one = execution()
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    await store.finish(hold(one.id), SUCCESS, at=NOW)
    assert await look(store, one.id) is None
    assert await store.tests(OWNER, [one.id]) == {}


async def test_what_never_began_or_was_lost_is_an_error(store: Store) -> None:
    waiting = execution(status=Status.QUEUED, started_at=None, tests=3)
    await store.enqueue(Arrival(execution=waiting, program=replace(PROGRAM, suite=SUITE)), ROOMY)
    cancelled = await store.cancel(OWNER, waiting.id, Outcome(status=Status.CANCELLED), at=NOW)
    assert cancelled
    assert cancelled.verdict is Verdict.ERROR
    lost = execution(tests=3, attempt=2)
    await store.insert(Arrival(execution=lost, program=replace(PROGRAM, suite=SUITE)), HOLDER)
    await store.recover(HOLDER, HEIR, is_dead=True)
    for id in (waiting.id, lost.id):
        assert await look(store, id) is Verdict.ERROR
        assert await verdicts(store, id) == [Verdict.SKIPPED] * 3


async def test_a_second_try_keeps_what_the_first_has_found_out(store: Store) -> None:
    id = await begun(store)
    await store.record(hold(id), [result(2, 1)])
    assert (await store.recover(HOLDER, HEIR, is_dead=True)).queued == 1
    (work,) = await store.claim(CLAIMER, 1)
    assert (work.execution.attempt, work.program.suite) == (2, SUITE)
    assert [run.position for run in await store.ended_tests(id)] == [2]


async def test_the_history_is_filtered_and_counted_by_kind_and_verdict(store: Store) -> None:
    for kind, verdict in (
        (Kind.RUN, Verdict.PASSED),
        (Kind.SUBMIT, Verdict.PASSED),
        (Kind.SUBMIT, Verdict.FAILED),
        (Kind.SUBMIT, None),
    ):
        one = execution(kind=kind, tests=3)
        await store.insert(Arrival(execution=one, program=replace(PROGRAM, suite=SUITE)), HOLDER)
        await store.finish(hold(one.id), SUCCESS, at=NOW, last=LastWords(verdict=verdict))

    async def count(**wanted: frozenset[object]) -> int:
        filter = Filter(**wanted)  # type: ignore[arg-type]
        page = await store.page(OWNER, filter, Window(size=10))
        number = await store.count(OWNER, filter)
        assert len(page.executions) == number
        return number

    assert await count(kinds=frozenset({Kind.SUBMIT})) == 3
    assert await count(verdicts=frozenset({Verdict.PASSED})) == 2
    both = {
        "kinds": frozenset[object]({Kind.SUBMIT}),
        "verdicts": frozenset[object]({Verdict.PASSED}),
    }
    assert await count(**both) == 1
    stats = await store.stats(OWNER, Filter())
    assert stats.by_verdict == ((Verdict.PASSED, 2), (Verdict.FAILED, 1), (Verdict.ERROR, 1))


async def test_how_long_tests_took_together_is_no_duration_of_a_program(store: Store) -> None:
    id = await begun(store)
    await store.finish(hold(id), SUCCESS, at=NOW, last=LastWords(verdict=Verdict.PASSED))
    assert (await store.stats(OWNER, Filter())).wall_time_p50 is None


async def test_tests_are_counted_by_how_they_stand(store: Store) -> None:
    id = await begun(store)
    await store.record(hold(id), [result(1, 1)])
    groups = (await store.test_groups(OWNER, [id]))[id]
    found = {(each.is_hidden, each.verdict): (each.count, each.weight) for each in groups}
    assert found == {(False, None): (2, 2.0), (True, Verdict.PASSED): (1, 2.5)}
    assert await store.test_groups("another", [id]) == {}


async def told(store: Store, id: UUID, *, sees_hidden: bool, after: int = 0) -> list[object]:
    """Tell the numbers of events, and the places of tests that have ended."""
    page = await store.events(OWNER, id, after=after, limit=100, sees_hidden=sees_hidden)
    assert page
    assert [each.sequence for each in page.events] == [
        after + number for number in range(1, len(page.events) + 1)
    ]
    return [
        each.test.position if isinstance(each, CaseEnded) else type(each).__name__
        for each in page.events
    ]


async def test_whoever_may_not_see_hidden_tests_learns_of_them_at_the_end(store: Store) -> None:
    id = await begun(store)
    await store.record(hold(id), [result(1, 1)])
    await store.record(hold(id), [result(2, 2)])
    beginning: list[object] = ["StatusChanged", "StatusChanged"]
    assert await told(store, id, sees_hidden=True) == [*beginning, 1, 2]
    assert await told(store, id, sees_hidden=False) == [*beginning, 2]
    await store.record(hold(id), [result(0, 3)])
    await store.finish(
        hold(id), SUCCESS, at=NOW + timedelta(seconds=60), last=LastWords(verdict=Verdict.PASSED)
    )
    assert await told(store, id, sees_hidden=True) == [*beginning, 1, 2, 0, "Finished"]
    assert await told(store, id, sees_hidden=False) == [*beginning, 2, 0, 1, "Finished"]
    assert await told(store, id, sees_hidden=False, after=4) == [1, "Finished"]
    page = await store.events(OWNER, id, after=4, limit=100, sees_hidden=False)
    assert page
    assert page.is_over
    hidden, end = page.events
    assert isinstance(end, Finished)
    assert hidden.at == end.at  # and not when it ended


async def test_what_was_skipped_has_no_event(store: Store) -> None:
    id = await begun(store)
    await store.finish(hold(id), SUCCESS, at=NOW, last=LastWords(verdict=Verdict.FAILED))
    assert await told(store, id, sees_hidden=True) == ["StatusChanged", "StatusChanged", "Finished"]


async def test_tests_are_erased_with_their_execution(store: Store) -> None:
    id = await begun(store)
    await store.finish(hold(id), SUCCESS, at=NOW)
    assert (await store.erase(Chosen(owner=OWNER, ids=(id,)))).count == 1
    assert await store.tests(OWNER, [id]) == {}
    assert await store.ended_tests(id) == ()


async def submit(store: Store, kind: Kind = Kind.SUBMIT, session: str | None = "s") -> None:
    one = execution(kind=kind, session_id=session)
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)


async def test_submissions_have_quotas_of_their_own(store: Store) -> None:
    store.shares = Shares(submissions_a_day=3, submissions_of_session=2)
    for _ in range(5):
        await submit(store, Kind.RUN)
    await submit(store)
    await submit(store)
    with pytest.raises(NoShareError) as of_session:
        await submit(store)
    await submit(store, session="another")
    with pytest.raises(NoShareError) as of_day:
        await submit(store, session=None)
    assert of_session.value.bound is Bound.SUBMISSIONS_OF_SESSION
    assert of_day.value.bound is Bound.SUBMISSIONS_A_DAY
    spent = await store.registry.spent(OWNER, NOW)
    assert (spent.executions, spent.submissions) == (8, 3)
