"""No attack gets through, each ends with its right name and in time, and none leaves a trace."""

import re
from collections.abc import AsyncIterator

import pytest

from app.languages import all_languages
from tests.contract.runs import Box, Result
from tests.contract.subjects import Subject
from tests.hostile import breaking_out, exhaustion, misleading, reading
from tests.hostile.attack import BREACH, SECRET, Attack
from tests.hostile.traces import traces

LANGUAGES = all_languages()
GROUPS = {
    "exhaustion": exhaustion.ATTACKS,
    "reading": reading.ATTACKS,
    "breaking out": breaking_out.ATTACKS,
    "misleading": misleading.ATTACKS,
}
EACH_ATTACK = [
    pytest.param(attack, id=f"{group}: {name}")
    for group, attacks in GROUPS.items()
    for name, attack in attacks.items()
]
OUTPUT_LIMIT = 1 << 20


@pytest.fixture(autouse=True)
async def no_trace(subject: Subject) -> AsyncIterator[None]:
    before = await traces(subject)
    yield
    assert await traces(subject) == before


@pytest.mark.parametrize("attack", EACH_ATTACK)
async def test_attack(subject: Subject, attack: Attack) -> None:
    support = subject.executor.supports(LANGUAGES[attack.language])
    if not support.is_available:
        pytest.skip(f"{attack.language} does not run here: {support.reason}")
    if attack.needs_counters and not subject.executor.state().counts_exactly:
        pytest.skip(f"without the kernel's counters: {attack.needs_counters}")
    for _ in range(attack.times):
        box = Box(subject.executor, LANGUAGES[attack.language])
        result = await box(attack.source, **attack.limits)
        assert await subject.survivors() == []
        assert_failed(attack, result)


def assert_failed(attack: Attack, result: Result) -> None:
    said, complained = result.stdout, result.stderr
    for word in (BREACH, SECRET):
        assert word.encode() not in said + complained, result
    assert result.status in attack.ends, result
    assert result.seconds < attack.within, result
    assert max(len(said), len(complained)) <= OUTPUT_LIMIT
    text = said.decode(errors="replace")
    assert re.search(attack.says, text, re.MULTILINE), result
    assert not attack.hides or not re.search(attack.hides, text, re.MULTILINE), result
    if attack.code is not None:
        assert result.outcome.exit_code == attack.code, result
    if attack.signal is not None:
        assert result.outcome.signal == attack.signal, result
