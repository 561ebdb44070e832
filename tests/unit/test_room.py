"""So many run, so many wait, and nobody else comes in."""

import anyio
import pytest

from app.domain.errors import Rejected, ServerBusy
from app.executions.room import Occupancy, Place, Room


def occupancy(room: Room) -> tuple[int, int]:
    found = room.occupancy()
    return found.running, found.queued


async def test_who_comes_first_runs_at_once() -> None:
    room = Room(slots=2, queue_size=1)
    assert [room.enter().has_slot for _ in range(3)] == [True, True, False]
    assert room.occupancy() == Occupancy(slots=2, running=2, queue_size=1, queued=1)


async def test_a_full_room_says_when_to_come_back() -> None:
    room = Room(slots=1, queue_size=1)
    room.enter(), room.enter()
    with pytest.raises(Rejected) as caught:
        room.enter()
    [problem] = caught.value.problems
    assert isinstance(problem, ServerBusy)
    assert problem.retry_after >= 0.1
    assert occupancy(room) == (1, 1)


async def test_slots_go_to_those_who_wait_in_their_order() -> None:
    room = Room(slots=1, queue_size=3)
    order: list[int] = []
    first = room.enter()
    places = [room.enter() for _ in range(3)]

    async def run(number: int, place: Place) -> None:
        await place.wait()
        order.append(number)
        place.leave()

    async with anyio.create_task_group() as tasks:
        for number, place in enumerate(places):
            tasks.start_soon(run, number, place)
            await anyio.wait_all_tasks_blocked()
        first.leave()
    assert order == [0, 1, 2]
    assert occupancy(room) == (0, 0)


async def test_nobody_overtakes_those_who_wait() -> None:
    room = Room(slots=1, queue_size=3)
    first, second = room.enter(), room.enter()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(second.wait)
        await anyio.wait_all_tasks_blocked()
        first.leave()
        # The slot is promised to the second, who has not noticed yet.
        assert not room.enter().has_slot
    assert second.has_slot


async def test_who_gives_up_waiting_takes_nothing_away() -> None:
    room = Room(slots=1, queue_size=2)
    first, second, third = (room.enter() for _ in range(3))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(second.wait)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    second.leave()
    assert occupancy(room) == (1, 1)
    first.leave()
    await third.wait()
    third.leave()
    assert occupancy(room) == (0, 0)
    assert room.enter().has_slot


async def test_a_slot_given_to_one_who_gives_up_at_that_moment_is_passed_on() -> None:
    room = Room(slots=1, queue_size=2)
    first, second, third = (room.enter() for _ in range(3))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(second.wait)
        await anyio.wait_all_tasks_blocked()
        first.leave()
        tasks.cancel_scope.cancel()
    second.leave()
    with anyio.fail_after(1):
        await third.wait()
    third.leave()
    assert occupancy(room) == (0, 0)
