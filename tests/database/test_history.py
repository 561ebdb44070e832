"""Pages, counts and statistics are what plain Python makes of the same executions."""

from datetime import timedelta
from itertools import product
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.execution import UNFINISHED, Execution, Outcome, Status, Usage
from app.domain.history import Filter, Order, Page, Stats, Window
from app.storage.store import Store

from .samples import NOW, OWNER, begun, ended, history, page_of, stats_of

SIZE = 250
FOREIGN = 7
EVERYTHING = Filter()
FILTERS = (
    EVERYTHING,
    Filter(statuses=frozenset({Status.SUCCEEDED})),
    Filter(statuses=frozenset(UNFINISHED)),
    Filter(statuses=frozenset()),
    Filter(statuses=frozenset({Status.INFRASTRUCTURE_ERROR})),  # there is none
    Filter(languages=frozenset({"JAVASCRIPT"})),
    Filter(session_id="interview-1"),
    Filter(session_id="interview-1\N{COMBINING ACUTE ACCENT}"),  # there is none
    Filter(label="second try"),
    Filter(created_after=NOW + timedelta(minutes=50), created_before=NOW + timedelta(minutes=120)),
    Filter(
        statuses=frozenset({Status.SUCCEEDED, Status.FAILED}),
        languages=frozenset({"PYTHON"}),
        session_id="interview-2",
        label="first try",
        created_after=NOW,
        created_before=NOW + timedelta(minutes=200),
    ),
)


@pytest.fixture
async def executions(store: Store) -> list[Execution]:
    await history(store, FOREIGN, owner="another")
    return await history(store, SIZE)


def page_ids(page: Page) -> list[UUID]:
    return [one.id for one in page.executions]


async def walk(
    store: Store, filter: Filter, order: Order, size: int, *, backward: bool
) -> list[Page]:
    """Turn pages until there are no more."""
    pages = [await store.page(OWNER, filter, Window(size=size, order=order, backward=backward))]
    while pages[-1].has_previous if backward else pages[-1].has_next:
        ids = page_ids(pages[-1])
        cursor: dict[str, UUID] = {"before": ids[0]} if backward else {"after": ids[-1]}
        window = Window(size=size, order=order, backward=backward, **cursor)
        pages.append(await store.page(OWNER, filter, window))
    return pages


@pytest.mark.parametrize("size", [7, 50, SIZE])
async def test_turning_pages_forward_and_backward_shows_everything_once(
    store: Store, executions: list[Execution], size: int
) -> None:
    for filter, order in product(FILTERS, Order):
        whole = page_of(executions, filter, Window(size=SIZE, order=order))
        wanted = list(whole.executions)
        forward = await walk(store, filter, order, size, backward=False)
        backward = await walk(store, filter, order, size, backward=True)
        assert [one for page in forward for one in page.executions] == wanted
        assert [one for page in reversed(backward) for one in page.executions] == wanted
        # Each page but the first has something before it, each but the last something after.
        assert [page.has_previous for page in forward] == [False, *[True] * (len(forward) - 1)]
        assert [page.has_next for page in backward] == [False, *[True] * (len(backward) - 1)]


@st.composite
def filters(draw: st.DrawFn) -> Filter:
    times = st.none() | st.integers(-1, SIZE).map(lambda minutes: NOW + timedelta(minutes=minutes))
    return Filter(
        statuses=draw(st.none() | st.frozensets(st.sampled_from(Status))),
        languages=draw(st.none() | st.frozensets(st.sampled_from(["PYTHON", "JAVASCRIPT", "X"]))),
        session_id=draw(st.sampled_from([None, None, "interview-1", "nobody"])),
        label=draw(st.sampled_from([None, None, "first try", "nobody"])),
        created_after=draw(times),
        created_before=draw(times),
    )


# An int counts in the ids below, so that a negative one is of another owner.
cursors = st.none() | st.integers(-FOREIGN, SIZE - 1) | st.uuids()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    filter=filters(),
    size=st.integers(0, 60) | st.just(SIZE),
    after=cursors,
    before=cursors,
    backward=st.booleans(),
    order=st.sampled_from(Order),
)
async def test_any_window_is_what_relay_says(  # noqa: PLR0913 - what a window has
    store: Store,
    executions: list[Execution],
    filter: Filter,
    size: int,
    after: int | UUID | None,
    before: int | UUID | None,
    backward: bool,  # noqa: FBT001 - likewise
    order: Order,
) -> None:
    foreign = await store.page("another", EVERYTHING, Window(size=FOREIGN))
    ids = [one.id for one in (*executions, *foreign.executions)]
    window = Window(
        size=size,
        after=ids[after] if isinstance(after, int) else after,
        before=ids[before] if isinstance(before, int) else before,
        backward=backward,
        order=order,
    )
    assert await store.page(OWNER, filter, window) == page_of(executions, filter, window)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filter=filters())
async def test_counts_and_statistics_are_those_of_plain_python(
    store: Store, executions: list[Execution], filter: Filter
) -> None:
    expected = stats_of(executions, filter)
    assert await store.stats(OWNER, filter) == expected
    assert await store.count(OWNER, filter) == expected.total


async def test_the_count_is_that_of_the_pages(store: Store, executions: list[Execution]) -> None:
    for filter in FILTERS:
        page = await store.page(OWNER, filter, Window(size=SIZE))
        assert await store.count(OWNER, filter) == len(page.executions)
        assert set(page_ids(page)) <= {one.id for one in executions}


@pytest.mark.parametrize("backward", [False, True])
async def test_a_cursor_of_another_owner_or_of_nothing_is_a_mere_place(
    store: Store, *, backward: bool
) -> None:
    first = await begun(store)
    foreign = await begun(store, owner="another")
    last = await begun(store)
    older = Window(size=5, after=foreign, backward=backward)
    newer = Window(size=5, before=foreign, backward=backward)
    for window, id in ((older, first), (newer, last)):
        page = await store.page(OWNER, EVERYTHING, window)
        assert page_ids(page) == [id]
        assert (page.has_next, page.has_previous) == (id == last, id == first)
    beyond = Window(size=5, after=UUID(int=0), backward=backward)
    assert await store.page(OWNER, EVERYTHING, beyond) == Page(
        executions=(), has_next=False, has_previous=True
    )


async def test_another_owner_has_no_history(store: Store, executions: list[Execution]) -> None:
    assert executions
    cursor = executions[100].id
    for window in (Window(size=5), Window(size=5, after=cursor), Window(size=5, before=cursor)):
        assert await store.page("nobody", EVERYTHING, window) == Page(
            executions=(), has_next=False, has_previous=False
        )
    assert await store.count("nobody", EVERYTHING) == 0
    assert (await store.stats("nobody", EVERYTHING)).total == 0


async def test_bounds_of_time_are_exclusive(store: Store) -> None:
    await begun(store, created_at=NOW)
    tick = timedelta(microseconds=1)
    counts = [
        await store.count(OWNER, Filter(created_after=NOW)),
        await store.count(OWNER, Filter(created_after=NOW - tick)),
        await store.count(OWNER, Filter(created_before=NOW)),
        await store.count(OWNER, Filter(created_before=NOW + tick)),
    ]
    assert counts == [0, 1, 0, 1]


async def test_labels_are_compared_exactly(store: Store) -> None:
    await begun(store, label="Try 1")
    for label in ("try 1", "Try 1 ", "Try%", "Try _"):
        assert await store.count(OWNER, Filter(label=label)) == 0
    assert await store.count(OWNER, Filter(label="Try 1")) == 1


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], (None, None, None)),
        ([0.5], (0.5, 0.5, 0.5)),
        ([2.0, 1.0], (1.0, 2.0, 2.0)),
        ([3.0, 1.0, 2.0], (2.0, 3.0, 3.0)),
        ([float(number) for number in range(1, 101)], (50.0, 95.0, 99.0)),
        ([float(number) for number in range(1, 102)], (51.0, 96.0, 100.0)),
        ([1.0] * 9 + [9.0], (1.0, 9.0, 9.0)),
    ],
    ids=lambda value: f"{len(value)}",
)
async def test_percentiles_are_values_that_were_measured(
    store: Store, times: list[float], expected: tuple[float | None, ...]
) -> None:
    for time in times:
        usage = Usage(wall_time=time, cpu_time=0.0, peak_memory=0)
        await ended(store, Outcome(status=Status.SUCCEEDED, exit_code=0, usage=usage))
    await begun(store)  # not measured yet
    stats = await store.stats(OWNER, EVERYTHING)
    assert (stats.wall_time_p50, stats.wall_time_p95, stats.wall_time_p99) == expected


async def test_an_empty_history_has_empty_statistics(store: Store) -> None:
    assert await store.stats(OWNER, EVERYTHING) == Stats(
        total=0,
        by_status=(),
        by_language=(),
        by_verdict=(),
        wall_time_p50=None,
        wall_time_p95=None,
        wall_time_p99=None,
    )
