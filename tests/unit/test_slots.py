"""So many run at one time, and no more."""

from app.executions.slots import Slots


def test_no_more_are_given_than_there_are() -> None:
    slots = Slots(3)
    assert [slots.take(2), slots.take(2), slots.take(2)] == [2, 1, 0]
    slots.give_back(1)
    assert slots.take(5) == 1


def test_who_came_without_asking_is_counted_as_well() -> None:
    slots = Slots(1)
    slots.take(1)
    slots.taken += 1
    assert slots.take(1) == 0
    slots.give_back(1)
    assert slots.take(1) == 0
    slots.give_back(1)
    assert slots.take(1) == 1


def test_a_run_that_ends_gives_its_place_back_and_tells_how_long_runs_take() -> None:
    slots = Slots(1)
    before = slots.typical_run
    slots.take(1)
    slots.occupy()()
    assert slots.taken == 0
    assert slots.typical_run < before
