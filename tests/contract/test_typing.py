"""Input that is typed while a program runs."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing

import anyio
import pytest

from app.domain.execution import Output, Status
from app.domain.limits import MIB
from tests.contract.runs import Box, Result

# `write` and not `input`: that one flushes by itself, other prompts do not.
ASK_TWICE = """
import sys
for question in "name", "age":
    sys.stdout.write(question + "? ")
    answer = sys.stdin.readline()
    print("is", answer, end="")
print("rest", repr(sys.stdin.read()))
"""
ECHO = 'process.stdin.on("data", (data) => process.stdout.write(`heard ${data}`));'


class Typist:
    """Types each answer when the program has asked for it, and closes its input after the last."""

    def __init__(self, *answers: tuple[bytes, bytes]) -> None:
        self.heard = bytearray()
        self._answers = answers
        self._stirred = anyio.Event()

    async def listen(self, output: Output) -> None:
        self.heard += output.data
        self._stirred.set()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        for question, answer in self._answers:
            while question not in self.heard:
                self._stirred = anyio.Event()
                await self._stirred.wait()
            yield answer


async def converse(box: Box, source: str, typist: Typist, **how: float) -> Result:
    async with aclosing(typist.pieces()) as pieces:
        with anyio.fail_after(60):
            return await box(source, typed=pieces, heard=typist.listen, wall_time=50, **how)


async def for_ever() -> AsyncGenerator[bytes, None]:
    await anyio.sleep_forever()
    yield b""


async def test_a_prompt_without_a_newline_appears_before_the_answer(python: Box) -> None:
    typist = Typist((b"name? ", b"Ada\n"), (b"age? ", b"36\n"))
    result = await converse(python, ASK_TWICE, typist)
    assert result.status is Status.SUCCEEDED, result
    assert result.text == "name? is Ada\nage? is 36\nrest ''\n"


async def test_what_is_typed_comes_after_the_input_that_was_there(python: Box) -> None:
    typist = Typist((b"is first", b"second"), (b"age? ", b"\nmore"))
    async with aclosing(typist.pieces()) as pieces:
        result = await python(
            ASK_TWICE, stdin=b"first\n", typed=pieces, heard=typist.listen, wall_time=50
        )
    assert result.text == "name? is first\nage? is second\nrest 'more'\n"


async def test_javascript_hears_each_piece(javascript: Box) -> None:
    typist = Typist((b"", b"one\n"), (b"heard one\n", b"two\n"))
    result = await converse(javascript, ECHO, typist)
    assert result.status is Status.SUCCEEDED, result
    assert result.text == "heard one\nheard two\n"


async def test_a_program_that_does_not_wait_for_input_ends_without_it(python: Box) -> None:
    async with aclosing(for_ever()) as pieces:
        result = await python("print('done')", typed=pieces, wall_time=50)
    assert result.status is Status.SUCCEEDED, result
    assert result.text == "done\n"


async def test_more_than_a_pipe_holds_keeps_nobody_from_the_end(python: Box) -> None:
    typist = Typist((b"", b"x" * 4 * MIB), (b"", b"never"))
    result = await converse(python, "import time; print('up'); time.sleep(0.5)", typist)
    assert result.status is Status.SUCCEEDED, result


@pytest.mark.parametrize("piece", [b"", b"y" * 4 * MIB])
async def test_a_program_that_waits_for_input_can_be_stopped(python: Box, piece: bytes) -> None:
    typist = Typist((b"", piece), (b"never said", b""))
    async with aclosing(typist.pieces()) as pieces, anyio.create_task_group() as tasks:
        source = "import time; print('up'); time.sleep(60)"
        await python.until_it_speaks(source, tasks, typed=pieces, wall_time=50)
        tasks.cancel_scope.cancel()  # it is left when no process of the cell is


async def test_a_long_text_arrives_whole_and_in_order(python: Box) -> None:
    pieces = [bytes([65 + number % 26]) * 50_000 for number in range(40)]
    typist = Typist(*((b"", piece) for piece in pieces))
    source = "import sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
    result = await converse(python, source, typist)
    digest = hashlib.sha256(b"".join(pieces)).hexdigest()
    assert result.text == f"{digest}\n"
