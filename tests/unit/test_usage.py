"""What a run costs: what was kept for it, or what it used if that is more."""

from app.domain.execution import Usage
from app.domain.limits import GIB

USED = Usage(wall_time=2.0, cpu_time=3.0, peak_memory=GIB // 2)


def test_where_nothing_is_kept_for_a_program_it_costs_what_it_uses() -> None:
    assert (USED.core_seconds, USED.gib_seconds) == (3.0, 1.0)


def test_what_is_kept_for_a_program_costs_also_when_it_is_not_used() -> None:
    usage = Usage(
        wall_time=2.0, cpu_time=0.1, peak_memory=1, reserved_cores=1.5, reserved_memory=2 * GIB
    )
    assert (usage.core_seconds, usage.gib_seconds) == (3.0, 4.0)


def test_more_than_what_is_kept_costs_more() -> None:
    usage = Usage(
        wall_time=2.0, cpu_time=3.0, peak_memory=GIB, reserved_cores=0.125, reserved_memory=1
    )
    assert (usage.core_seconds, usage.gib_seconds) == (3.0, 2.0)
