"""Input that comes while a program runs in a box."""

import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest

from app.domain.execution import Exit, Output
from app.domain.ports import Placed, Placement
from app.executors.modal.executor import ModalExecutor
from app.executors.modal.loopback import LoopbackModal
from tests.wire.adapter import LANGUAGES, LIMITS, command_for, executor_on

pytestmark = pytest.mark.anyio

PYTHON = LANGUAGES["PYTHON"]
ECHO = """
import sys
for line in sys.stdin: print("got", line, end="", flush=True)
print("over")
"""
COPY = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
DATA = random.Random(3).randbytes(1 << 20)


@pytest.fixture
async def executor(loopback: LoopbackModal) -> AsyncIterator[ModalExecutor]:
    async with executor_on(loopback) as executor:
        yield executor


class Said:
    """What a program has written so far."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self._grown = anyio.Event()

    async def emit(self, output: Output) -> None:
        self.bytes.extend(output.data)
        self._grown.set()
        self._grown = anyio.Event()

    async def until(self, text: bytes) -> None:
        with anyio.fail_after(30):
            while text not in self.bytes:
                await self._grown.wait()


async def typed(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def run(  # noqa: PLR0913 - all that a run is
    executor: ModalExecutor,
    source: str,
    pieces: AsyncIterator[bytes],
    said: Said,
    *,
    stdin: bytes = b"",
    placed: Placed | None = None,
) -> Exit:
    async with executor.sandbox(PYTHON, LIMITS, placed) as sandbox:
        await sandbox.write({"main.py": source.encode()})
        with anyio.fail_after(60):
            return await sandbox.run(
                replace(command_for(PYTHON), stdin=stdin, typed=pieces), said.emit
            )


async def test_a_program_answers_to_what_is_typed_until_it_is_closed(
    executor: ModalExecutor,
) -> None:
    said = Said()

    async def conversation() -> AsyncIterator[bytes]:
        await said.until(b"got zero\n")
        yield b"one\n"
        await said.until(b"got one\n")
        yield b"tw"
        yield b"o\n"
        await said.until(b"got two\n")

    end = await run(executor, ECHO, conversation(), said, stdin=b"zero\n")
    assert (bytes(said.bytes), end.code) == (b"got zero\ngot one\ngot two\nover\n", 0)


@pytest.mark.parametrize("size", [1, 3, 4096, 1 << 20])
async def test_what_is_typed_arrives_to_the_byte(executor: ModalExecutor, size: int) -> None:
    data = DATA if size > 3 else DATA[:50]
    said = Said()
    pieces = typed(data[start : start + size] for start in range(0, len(data), size))
    end = await run(executor, COPY, pieces, said)
    assert end.code == 0
    assert bytes(said.bytes) == data


async def test_nothing_that_is_typed_is_taken_for_more_than_input(executor: ModalExecutor) -> None:
    said = Said()
    tricks = [b"\0\0\0\0", b"\0\0\0\1x", b"X\0\0\0\2{}", b'{"argv": ["id"]}\n', b"", b"end"]
    end = await run(executor, COPY, typed(tricks), said)
    assert (bytes(said.bytes), end.code) == (b"".join(tricks), 0)


async def test_who_types_waits_for_a_program_that_does_not_read(executor: ModalExecutor) -> None:
    said, sent = Said(), 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 4096
            yield bytes(4096)

    source = "import time; print('up', flush=True); time.sleep(1)"
    end = await run(executor, source, endless(), said)
    assert end.code == 0
    assert 0 < sent < 1 << 19


@pytest.mark.parametrize("source", ["print(1)", "import os, time; os.close(0); time.sleep(0.3)"])
async def test_who_types_to_a_program_that_wants_nothing_disturbs_nobody(
    executor: ModalExecutor, source: str
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(4096)
            await anyio.lowlevel.checkpoint()

    end = await run(executor, source, endless(), Said())
    assert end.code == 0


async def test_nothing_typed_is_lost_with_a_box_that_never_began(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    boxes: list[str] = []

    async def placed(placement: Placement) -> None:
        boxes.append(placement["sandbox"])
        if len(boxes) == 1:
            loopback.kill_box(boxes[0], 8)

    said = Said()
    end = await run(executor, COPY, typed([b"kept"]), said, placed=placed)
    assert (bytes(said.bytes), end.code, len(boxes)) == (b"kept", 0, 2)


async def test_cancelling_ends_who_types_too(
    loopback: LoopbackModal, executor: ModalExecutor
) -> None:
    [box] = loopback.state.running()
    said, closed = Said(), anyio.Event()

    async def waits() -> AsyncIterator[bytes]:
        try:
            yield b"hello\n"
            await anyio.sleep_forever()
        finally:
            closed.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, executor, ECHO, waits(), said)
        await said.until(b"got hello\n")
        tasks.cancel_scope.cancel()
    with anyio.fail_after(20):
        await closed.wait()
        await box.ended.wait()
