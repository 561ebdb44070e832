"""Two sandboxes know nothing of each other, at the same time or one after the other."""

import json

import anyio

from tests.contract import programs
from tests.contract.runs import Box


async def test_a_fresh_sandbox_holds_the_program_and_nothing_else(box: Box) -> None:
    seen = json.loads((await box(programs.LOOK[box.language.id])).stdout)
    assert seen["files"] == {"/box": [box.language.source_name], "/tmp": [], "/dev/shm": []}
    assert seen["processes"] <= 4  # the program itself and what the sandbox needs
    assert not seen["reaches"]


async def test_the_second_run_sees_nothing_of_the_first(box: Box) -> None:
    first, second = [(await box(programs.LOOK[box.language.id])).stdout for _ in range(2)]
    assert "mark" not in second.decode()
    assert json.loads(second) == json.loads(first)


async def test_two_at_once_cannot_see_each_other(box: Box) -> None:
    async with anyio.create_task_group() as tasks:
        await box.until_it_speaks(programs.SHOW_ITSELF[box.language.id], tasks)
        seen = json.loads((await box(programs.LOOK[box.language.id])).stdout)
        tasks.cancel_scope.cancel()
    assert "shown" not in str(seen["files"])
    assert seen["processes"] <= 4
    assert not seen["reaches"]
