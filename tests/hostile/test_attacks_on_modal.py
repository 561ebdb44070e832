"""The same attacks in a Modal sandbox, or rather in what stands for one here.

Left out is what only a cell of ours can be asked (its own files, mounts, control groups and
process 1; on Modal another kernel has others), and what only the kernel's counters stop: on Modal
the box itself dies then, which `tests/wire` looks at.
"""

from collections.abc import AsyncIterator

import pytest

from app.languages import all_languages
from tests.contract.runs import Box
from tests.contract.subjects import Subject, modal
from tests.hosted import hosted
from tests.hostile import breaking_out, exhaustion, misleading, reading
from tests.hostile.attack import Attack
from tests.hostile.test_attacks import assert_failed

LANGUAGES = all_languages()
ATTACKS = {**exhaustion.ATTACKS, **reading.ATTACKS, **breaking_out.ATTACKS, **misleading.ATTACKS}
OF_A_CELL = {
    "a hiding place from the killer of processes",
    "the other processes",
    "the files that every host has",
    "the names of mounts",
    "the names of control groups",
    "a walk through all of the system",
    "a second lock behind the filter",
    "the knobs of the kernel",
    "signals to the init, each one",
    "signals to every number",
}
CHOSEN = [
    pytest.param(attack, id=name)
    for name, attack in ATTACKS.items()
    if name not in OF_A_CELL and not attack.needs_counters
]


@pytest.fixture(scope="module")
async def subject(treasure: None) -> AsyncIterator[Subject]:
    async with hosted(modal()) as subject:
        yield subject


def test_what_is_left_out_is_there() -> None:
    assert set(ATTACKS) >= OF_A_CELL


@pytest.mark.parametrize("attack", CHOSEN)
async def test_attack_on_modal(subject: Subject, attack: Attack) -> None:
    box = Box(subject.executor, LANGUAGES[attack.language])
    for _ in range(attack.times):
        result = await box(attack.source, **attack.limits)
        assert await subject.survivors() == []
        assert_failed(attack, result)
