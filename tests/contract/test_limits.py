"""Limits hold, from outside, and each death has its right name.

The numbers in the assertions are wide: two cores, shared with other tests, are not a clock.
"""

import pytest

from app.domain.execution import LimitHit, Status, Stream, TimeLimit
from tests.contract import programs
from tests.contract.conftest import Measure
from tests.contract.runs import Box, Result

MIB = 1 << 20
LATENESS = 0.3  # s; what DESIGN grants between a time limit and the answer
PATIENCE = 5  # times that, on a machine that has other things to do


def assert_soon(result: Result, limit: float, measure: Measure) -> None:
    late = result.seconds - limit  # the start included
    measure("start and lateness", late)
    assert late < LATENESS * PATIENCE, result


# --- Time ----------------------------------------------------------------------------------------


async def test_the_wall_clock_ends_who_sleeps(box: Box, measure: Measure) -> None:
    result = await box(programs.SLEEP[box.language.id], wall_time=0.5)
    assert result.status is Status.TIME_LIMIT_EXCEEDED, result
    assert result.outcome.time_limit is TimeLimit.WALL
    assert result.outcome.exit_code is None
    assert result.text == "up\n"
    assert_soon(result, 0.5, measure)


async def test_the_cpu_clock_ends_who_computes(box: Box, measure: Measure) -> None:
    result = await box(programs.BURN[box.language.id], cpu_time=0.5)
    assert result.status is Status.TIME_LIMIT_EXCEEDED, result
    assert result.outcome.time_limit is TimeLimit.CPU
    usage = result.outcome.usage
    assert usage
    assert 0.5 <= usage.cpu_time < 1
    measure("CPU time above its limit", usage.cpu_time - 0.5)


async def test_the_cpu_time_of_all_processes_counts_together(box: Box, measure: Measure) -> None:
    result = await box(programs.BURN_IN_CHILDREN[box.language.id], cpu_time=1.0)
    assert result.outcome.time_limit is TimeLimit.CPU, result
    usage = result.outcome.usage
    assert usage
    assert 1.0 <= usage.cpu_time < 1.8
    measure("CPU time above its limit", usage.cpu_time - 1.0)


async def test_to_sleep_costs_no_cpu_time(box: Box) -> None:
    result = await box(programs.SLEEP[box.language.id], wall_time=0.6, cpu_time=0.4)
    assert result.outcome.time_limit is TimeLimit.WALL, result


# --- Memory --------------------------------------------------------------------------------------


async def test_memory_has_an_end(box: Box) -> None:
    result = await box(programs.EAT[box.language.id], memory=128 * MIB)
    assert result.status is Status.MEMORY_LIMIT_EXCEEDED, result
    usage = result.outcome.usage
    assert usage
    assert 64 * MIB < usage.peak_memory < 512 * MIB


async def test_it_is_a_memory_limit_also_when_only_a_child_dies(box: Box) -> None:
    result = await box(programs.EAT_IN_A_CHILD[box.language.id], memory=128 * MIB)
    assert result.status is Status.MEMORY_LIMIT_EXCEEDED, result
    if box.executor.state().counts_exactly:
        assert (result.text, result.outcome.exit_code) == ("going on\n", 0)


async def test_what_is_below_the_limit_is_no_offence(box: Box) -> None:
    result = await box(programs.HOLD[box.language.id], args=["120"], memory=256 * MIB)
    assert result.status is Status.SUCCEEDED, result


async def test_a_memory_limit_too_low_for_a_start_is_a_memory_limit(box: Box) -> None:
    if not box.executor.state().counts_exactly:
        pytest.skip("without the kernel's counters a program is not looked at that early")
    result = await box(programs.SLEEP[box.language.id], memory=65536)
    assert result.status is Status.MEMORY_LIMIT_EXCEEDED, result


async def test_scratch_files_weigh_like_memory(box: Box) -> None:
    if not box.executor.state().counts_exactly:
        pytest.skip("without the kernel's counters scratch files have only their own limit")
    result = await box(programs.FILL[box.language.id], memory=96 * MIB, disk=256 * MIB)
    assert result.status is Status.MEMORY_LIMIT_EXCEEDED, result


# --- Output --------------------------------------------------------------------------------------

FD = {Stream.STDOUT: "1", Stream.STDERR: "2"}
each_stream = pytest.mark.parametrize("stream", FD)


def kept(result: Result, stream: Stream) -> bytes:
    return result.stdout if stream is Stream.STDOUT else result.stderr


@each_stream
@pytest.mark.parametrize("limit", [1, 1000, 65536, MIB])
async def test_exactly_the_limit_is_allowed(box: Box, stream: Stream, limit: int) -> None:
    args = [FD[stream], str(limit)]
    result = await box(programs.FLOOD[box.language.id], args=args, output=limit)
    assert result.status is Status.SUCCEEDED, result
    assert len(kept(result, stream)) == limit
    assert result.outcome.truncated == frozenset()


@each_stream
@pytest.mark.parametrize("limit", [1, 1000, 65536, MIB])
async def test_one_byte_more_is_too_much_and_not_kept(box: Box, stream: Stream, limit: int) -> None:
    args = [FD[stream], str(limit + 1)]
    result = await box(programs.FLOOD[box.language.id], args=args, output=limit)
    assert result.status is Status.OUTPUT_LIMIT_EXCEEDED, result
    assert len(kept(result, stream)) == limit
    assert result.outcome.truncated == {stream}


async def test_a_flood_without_end_is_cut_at_the_limit(box: Box) -> None:
    result = await box(programs.FLOOD_FOR_EVER[box.language.id], output=100_000)
    assert result.status is Status.OUTPUT_LIMIT_EXCEEDED, result
    assert len(result.stdout) == 100_000


async def test_the_streams_have_a_limit_each(box: Box) -> None:
    args = ["2", "900"]
    result = await box(programs.FLOOD[box.language.id], args=args, output=1000)
    assert result.status is Status.SUCCEEDED, result


# --- Processes and scratch space -----------------------------------------------------------------


async def test_processes_and_threads_have_an_end(box: Box) -> None:
    result = await box(programs.SPAWN[box.language.id], processes=24)
    assert result.status is Status.SUCCEEDED, result
    # A run-time's own threads count, the executor's own process does not.
    assert 8 <= int(result.text) <= 23


async def test_a_python_of_one_thread_has_all_but_one_for_its_children(python: Box) -> None:
    result = await python(programs.SPAWN["PYTHON"], processes=24)
    assert int(result.text) == 23, result


async def test_scratch_space_has_an_end_for_both_folders_together(box: Box) -> None:
    result = await box(programs.FILL[box.language.id], disk=8 * MIB)
    assert result.status is Status.SUCCEEDED, result
    assert 7 * MIB < int(result.text) <= 8 * MIB


async def test_files_have_an_end_for_both_folders_together(box: Box) -> None:
    result = await box(programs.LITTER[box.language.id])
    assert result.status is Status.SUCCEEDED, result
    assert 4000 < int(result.text) <= 4096


async def test_a_full_disk_is_full_for_one_run_only(box: Box) -> None:
    await box(programs.FILL[box.language.id], disk=8 * MIB)
    result = await box(programs.FILL[box.language.id], disk=8 * MIB)
    assert int(result.text) > 7 * MIB, result


# --- What was reached without ending the program -------------------------------------------------


@pytest.fixture
def telling(box: Box) -> Box:
    if box.executor.name != "local":
        pytest.skip("only the embedded sandbox sees which limits were reached")
    return box


async def test_refused_processes_are_told(telling: Box) -> None:
    if not telling.executor.state().counts_exactly:
        pytest.skip("without cgroups the kernel counts no refusals")
    result = await telling(programs.SPAWN[telling.language.id], processes=24)
    assert result.status is Status.SUCCEEDED, result
    assert result.outcome.limits_hit == {LimitHit.PROCESSES}


@pytest.mark.parametrize("program", [programs.FILL, programs.LITTER], ids=["bytes", "files"])
async def test_a_full_disk_is_told(telling: Box, program: programs.Program) -> None:
    result = await telling(program[telling.language.id], disk=8 * MIB)
    assert result.status is Status.SUCCEEDED, result
    assert result.outcome.limits_hit == {LimitHit.DISK}


async def test_a_full_disk_is_told_of_a_program_that_another_limit_ended(python: Box) -> None:
    if python.executor.name != "local":
        pytest.skip("only the embedded sandbox sees which limits were reached")
    source = f"{programs.FILL['PYTHON']}\nwhile True: pass"
    result = await python(source, disk=8 * MIB, cpu_time=0.5)
    assert result.status is Status.TIME_LIMIT_EXCEEDED, result
    assert result.outcome.limits_hit == {LimitHit.DISK}


async def test_who_reaches_no_limit_is_told_of_none(telling: Box) -> None:
    result = await telling(programs.HOLD[telling.language.id], args=["1"])
    assert result.outcome.limits_hit == frozenset(), result
