"""A server dies in the middle of a run, and another finds the run again, to the byte."""

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from grpclib.const import Status as Code

from app.domain.execution import Exit, Output, Status, Stream
from app.domain.ports import Placement
from app.domain.verdict import judge
from app.executors.modal.errors import Lost, ModalError, Unreachable
from app.executors.modal.executor import ModalExecutor
from app.executors.modal.loopback import LoopbackModal
from tests.wire.adapter import LANGUAGES, LIMITS, command_for, executor_on, run

pytestmark = pytest.mark.anyio

MIB = 1 << 20
PYTHON = LANGUAGES["PYTHON"]
# A mebibyte on each stream, its bytes a function of their place; then a wait, then the end.
TALK = """
import os, random, sys, time
data = random.Random(1).randbytes(1 << 20)
for start in range(0, 1 << 20, 1 << 14):
    os.write(1, data[start:start + (1 << 14)])
    os.write(2, data[::-1][start:start + (1 << 14)])
while not os.path.exists("/box/go"): time.sleep(0.01)
sys.exit(7)
"""
SAID = random.Random(1).randbytes(MIB)
BOTH = {Stream.STDOUT: SAID, Stream.STDERR: SAID[::-1]}


@dataclass(slots=True)
class Heard:
    """What a server has got of a run."""

    placements: list[Placement] = field(default_factory=list)
    streams: dict[Stream, bytearray] = field(
        default_factory=lambda: {stream: bytearray() for stream in Stream}
    )
    spoke: anyio.Event = field(default_factory=anyio.Event)

    async def placed(self, placement: Placement) -> None:
        # A server that stops asks again whether the run is still its own.
        if placement not in self.placements:
            self.placements.append(placement)

    async def emit(self, output: Output) -> None:
        self.streams[output.stream].extend(output.data)
        self.spoke.set()


@pytest.fixture
async def executor(loopback: LoopbackModal) -> AsyncIterator[ModalExecutor]:
    async with executor_on(loopback) as executor:
        yield executor


@asynccontextmanager
async def dying(loopback: LoopbackModal, source: str) -> AsyncIterator[Heard]:
    """Run a program on a server that is dropped without a word: it ends no box."""
    heard, patch = Heard(), pytest.MonkeyPatch()

    async def leave(_: object) -> None:
        return

    async with executor_on(loopback, warm_ceiling=1) as executor, anyio.create_task_group() as life:
        life.start_soon(_run, executor, source, heard)
        with anyio.fail_after(20):
            await heard.spoke.wait()
        patch.setattr("app.executors.modal.box.end", leave)
        life.cancel_scope.cancel()
    patch.undo()
    yield heard


async def _run(executor: ModalExecutor, source: str, heard: Heard) -> None:
    async with executor.sandbox(PYTHON, LIMITS, heard.placed) as sandbox:
        await sandbox.write({"main.py": source.encode()})
        await sandbox.run(command_for(PYTHON), heard.emit)


async def take_over(
    executor: ModalExecutor, placement: Placement, skip: Mapping[Stream, int]
) -> tuple[Exit | None, Heard]:
    heard = Heard()
    with anyio.fail_after(60):
        end = await executor.reattach(placement, LIMITS, heard.emit, skip=skip)
    return end, heard


async def in_the_box(loopback: LoopbackModal, sandbox: str, *argv: str) -> None:
    box = loopback.state.boxes[sandbox]
    program = await box.execute(f"test {argv}", box.command(argv, {}, "/"))
    await program.ended.wait()


async def test_a_run_is_told_where_it_is_before_it_starts(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    [box] = loopback.state.running()
    given: list[int] = []

    async def placed(placement: Placement) -> None:
        assert placement["sandbox"] == box.id
        assert placement["task"] == box.task_id
        assert [placement["exec"]] == list(box.programs)
        given.append(loopback.state.rpcs["TaskExecStdinWrite"])

    loopback.state.reset()
    async with executor.sandbox(PYTHON, LIMITS, placed) as sandbox:
        await sandbox.write({"main.py": b"print(1)"})
        await sandbox.run(command_for(PYTHON), Heard().emit)
    assert given == [0]


async def test_a_run_in_a_second_box_is_told_where_it_is_now(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    heard = Heard()

    async def placed(placement: Placement) -> None:
        await heard.placed(placement)
        if len(heard.placements) == 1:
            loopback.kill_box(placement["sandbox"], 8)

    async with executor.sandbox(PYTHON, LIMITS, placed) as sandbox:
        await sandbox.write({"main.py": b"print(1)"})
        await sandbox.run(command_for(PYTHON), heard.emit)
    assert len({placement["sandbox"] for placement in heard.placements}) == 2


async def test_who_cannot_note_where_it_is_does_not_start_it(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    async def placed(_: Placement) -> None:
        raise LookupError

    loopback.state.reset()
    with pytest.raises(LookupError):
        async with executor.sandbox(PYTHON, LIMITS, placed) as sandbox:
            await sandbox.run(command_for(PYTHON), Heard().emit)
    assert loopback.state.rpcs["TaskExecStdinWrite"] == 0


@pytest.mark.parametrize("seed", range(4))
async def test_the_rest_of_a_run_comes_to_the_byte(loopback: LoopbackModal, seed: int) -> None:
    chance = random.Random(seed)
    async with dying(loopback, TALK) as before, executor_on(loopback) as executor:
        [placement] = before.placements
        await in_the_box(loopback, placement["sandbox"], "touch", "/box/go")
        cuts = {stream: chance.randrange(MIB + 1) for stream in Stream}
        if seed == 0:
            loopback.faults.set("TaskExecStdioRead", status=Code.UNAVAILABLE, after_bytes=MIB)
        end, heard = await take_over(executor, placement, cuts)
    assert end is not None
    assert (end.code, judge(end).status) == (7, Status.FAILED)
    assert end.usage
    assert end.usage.reserved_cores == 1.0
    assert {s: bytes(d) for s, d in heard.streams.items()} == {
        stream: data[cuts[stream] :] for stream, data in BOTH.items()
    }


async def test_a_run_that_still_goes_on_is_followed_to_its_end(loopback: LoopbackModal) -> None:
    source = """
import os, time
print("before", flush=True)
while not os.path.exists("/box/go"): time.sleep(0.01)
print("after")
"""
    async with dying(loopback, source) as before, executor_on(loopback) as executor:
        [placement] = before.placements
        ends: list[Exit | None] = []

        async def follow() -> None:
            end, heard = await take_over(executor, placement, {Stream.STDOUT: 7})
            assert bytes(heard.streams[Stream.STDOUT]) == b"after\n"
            ends.append(end)

        async with anyio.create_task_group() as tasks:
            loopback.state.reset()
            tasks.start_soon(follow)
            with anyio.fail_after(20):
                while loopback.state.rpcs["TaskExecStdioRead"] == 0:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
            await in_the_box(loopback, placement["sandbox"], "touch", "/box/go")
        assert ends[0] is not None
        assert ends[0].code == 0
        with anyio.fail_after(20):
            await loopback.state.boxes[placement["sandbox"]].ended.wait()


@pytest.mark.parametrize(
    ("status", "verdict"), [(10, Status.MEMORY_LIMIT_EXCEEDED), (8, None), (3, None)]
)
async def test_a_box_that_has_ended_meanwhile_is_what_modal_says(
    loopback: LoopbackModal, status: int, verdict: Status | None
) -> None:
    async with dying(loopback, TALK) as before, executor_on(loopback) as executor:
        [placement] = before.placements
        box = loopback.state.boxes[placement["sandbox"]]
        loopback.kill_box(box.id, status)
        await box.ended.wait()
        end, heard = await take_over(executor, placement, {})
    assert (end and judge(end).status) == verdict
    assert not heard.spoke.is_set()


async def test_a_box_that_ends_after_more_was_heard_is_our_error(loopback: LoopbackModal) -> None:
    async with dying(loopback, TALK) as before, executor_on(loopback) as executor:
        [placement] = before.placements
        heard = Heard()

        async def emit(output: Output) -> None:
            await heard.emit(output)
            loopback.kill_box(placement["sandbox"], 8)

        with anyio.fail_after(60), pytest.raises(Lost):
            await executor.reattach(placement, LIMITS, emit, skip={})


def forget(loopback: LoopbackModal, placement: Placement) -> Placement:
    loopback.forget_box(placement["sandbox"])
    return placement


def another_exec(_: LoopbackModal, placement: Placement) -> Placement:
    return {**placement, "exec": "00000000-0000-0000-0000-000000000000"}


def another_box(_: LoopbackModal, placement: Placement) -> Placement:
    return {**placement, "sandbox": "sb-nobodynobodynobodynobodyV"}


@pytest.mark.parametrize("lose", [forget, another_box])
async def test_what_is_gone_is_not_found(
    loopback: LoopbackModal, lose: Callable[[LoopbackModal, Placement], Placement]
) -> None:
    async with dying(loopback, TALK) as before, executor_on(loopback) as executor:
        end, heard = await take_over(executor, lose(loopback, before.placements[0]), {})
    assert end is None
    assert not heard.spoke.is_set()


async def test_a_box_without_the_program_is_ended(loopback: LoopbackModal) -> None:
    async with dying(loopback, TALK) as before, executor_on(loopback) as executor:
        [placement] = before.placements
        end, _ = await take_over(executor, another_exec(loopback, placement), {})
        assert end is None
        with anyio.fail_after(20):
            await loopback.state.boxes[placement["sandbox"]].ended.wait()


async def test_a_box_that_was_never_given_its_job_is_ended(
    loopback: LoopbackModal, pinned: pytest.MonkeyPatch
) -> None:
    pinned.setattr("app.executors.modal.attempt._BEGIN", 0.5)
    async with executor_on(loopback) as executor:
        box = await executor._claim(LIMITS)
        end, heard = await take_over(executor, box.placement, {})
        assert end is None
        assert not heard.spoke.is_set()
        with anyio.fail_after(20):
            await loopback.state.boxes[box.id].ended.wait()
        await box.end()


async def test_doubt_is_no_answer(loopback: LoopbackModal) -> None:
    async with dying(loopback, TALK) as before, executor_on(loopback) as executor:
        loopback.faults.set("SandboxWaitV2", status=Code.UNAVAILABLE, times=None)
        with anyio.fail_after(60), pytest.raises(Unreachable):
            await executor.reattach(before.placements[0], LIMITS, Heard().emit, skip={})
        loopback.faults.clear()
        assert (await run(executor, "print(1)")).stdout == b"1\n"


async def test_a_server_that_has_not_reached_modal_has_no_answer(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    executor._account, account = None, executor._account
    with pytest.raises(ModalError):
        await executor.reattach({"sandbox": "sb-x"}, LIMITS, Heard().emit, skip={})
    executor._account = account


async def test_who_has_lost_a_run_to_another_server_does_not_end_its_box(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    heard = Heard()

    async def placed(placement: Placement) -> None:
        await heard.placed(placement)
        if heard.spoke.is_set():
            raise LookupError("another server has it")

    async def go() -> None:
        async with executor.sandbox(PYTHON, LIMITS, placed) as sandbox:
            await sandbox.write({"main.py": TALK.encode()})
            await sandbox.run(command_for(PYTHON), heard.emit)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go)
        with anyio.fail_after(20):
            await heard.spoke.wait()
        tasks.cancel_scope.cancel()
    sandbox = heard.placements[0]["sandbox"]
    await in_the_box(loopback, sandbox, "touch", "/box/go")
    end, again = await take_over(executor, heard.placements[0], {})
    assert end is not None
    assert end.code == 7
    assert bytes(again.streams[Stream.STDOUT]) == SAID


async def test_who_loses_a_run_that_it_took_over_does_not_end_its_box_either(
    loopback: LoopbackModal,
) -> None:
    async with dying(loopback, TALK) as before, executor_on(loopback) as executor:
        [placement] = before.placements
        heard = Heard()

        async def placed(_: Placement) -> None:
            raise LookupError("a third server has it")

        async def follow() -> None:
            await executor.reattach(placement, LIMITS, heard.emit, skip={}, placed=placed)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            with anyio.fail_after(20):
                await heard.spoke.wait()
            tasks.cancel_scope.cancel()
        await in_the_box(loopback, placement["sandbox"], "touch", "/box/go")
        end, again = await take_over(executor, placement, {})
        assert end is not None
        assert end.code == 7
        assert bytes(again.streams[Stream.STDOUT]) == SAID
