"""What takes long is done one after the other, and leaves most of the time to others."""

import time
from functools import partial
from itertools import pairwise

import anyio
import pytest
from starlette.datastructures import QueryParams

from app.api.lane import MOST_WAITING, Lane, LaneFullError
from app.api.refusals import Code
from app.api.requests import BadRequestError, read_get, read_json

LARGE = b'{"query": "' + b"x" * 20_000 + b'"}'


async def test_after_a_piece_of_work_others_have_three_times_as_long() -> None:
    lane, spans = Lane(), list[tuple[float, float]]()

    def work() -> None:
        began = time.monotonic()
        while time.monotonic() - began < 0.02:
            pass
        spans.append((began, time.monotonic()))

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(lane.do, work)
    for (began, ended), (following, _) in pairwise(spans):
        assert following - ended >= 3 * (ended - began) * 0.95  # clocks of a timer are coarse


async def test_a_piece_of_work_that_fails_is_rested_from_as_well() -> None:
    lane = Lane()
    with pytest.raises(ZeroDivisionError):
        await lane.do(lambda: 1 // 0)
    assert await lane.do(lambda: "on it goes") == "on it goes"


async def test_whoever_leaves_while_it_waits_makes_room() -> None:
    lane, held = Lane(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        await lane._turn.acquire()
        for _ in range(MOST_WAITING):
            tasks.start_soon(lane.do, held.set)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(LaneFullError):
            await lane.do(held.set)
        tasks.cancel_scope.cancel()
    lane._turn.release()
    assert not held.is_set()
    await lane.do(held.set)
    assert held.is_set()


async def test_small_texts_go_past_a_lane_that_is_full_and_large_ones_are_told_so() -> None:
    lane = Lane()
    lane._waiting = MOST_WAITING
    assert await read_json(b'{"query": "x"}', lane) == {"query": "x"}
    assert (await read_get(QueryParams({"query": "x"}), lane)).query == "x"
    variables = QueryParams({"query": "x", "variables": LARGE.decode()})
    for read in (partial(read_json, LARGE), partial(read_get, variables)):
        with pytest.raises(BadRequestError) as refused:
            await read(lane)
        assert (refused.value.status, refused.value.code) == (503, Code.UNAVAILABLE)
        assert refused.value.headers == {"Retry-After": "1"}


@pytest.mark.parametrize("text", [b"[" + b"[]," * 300_000 + b"[]]", b"[" * 100_000])
async def test_many_values_are_refused_before_they_are_made(text: bytes) -> None:
    with pytest.raises(BadRequestError, match="too many values"):
        await read_json(text, Lane())


async def test_a_text_with_many_commas_is_a_text() -> None:
    text = '{"query": "' + "[,{" * 100_000 + '"}'
    assert await read_json(text.encode(), Lane()) == {"query": "[,{" * 100_000}
