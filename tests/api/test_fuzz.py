"""Any input in the right place is accepted or refused; none is our failure."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from .client import ALL, EXECUTE, Api
from .conftest import Open
from .fake import FakeExecutor

ANY_TEXT = some.text(some.characters(codec=None, exclude_categories=()), max_size=30)
ANY_JSON = some.recursive(
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats(allow_nan=False, allow_infinity=False)
    | ANY_TEXT,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=20,
)
SIZES = some.integers(-1, 2**31 - 1) | some.sampled_from([0, 1, 300, 5000])
LIMITS = ("wallTimeMs", "cpuTimeMs", "memoryBytes", "outputBytes", "processes", "diskBytes")
INPUTS = some.fixed_dictionaries(
    {"language": some.sampled_from(["PYTHON", "JAVASCRIPT"]), "source": ANY_TEXT},
    optional={
        "stdin": ANY_TEXT,
        "stdinBase64": some.none() | ANY_TEXT,
        "args": some.lists(ANY_TEXT, max_size=70),
        "limits": some.dictionaries(some.sampled_from(LIMITS), some.none() | SIZES),
        "sessionId": some.none() | ANY_TEXT,
        "label": ANY_TEXT,
        "metadata": ANY_JSON,
        "waitMs": some.none() | some.integers(-1, 70_000),
    },
)


@pytest.fixture
async def api(open_api: Open) -> AsyncIterator[Api]:
    async with open_api(FakeExecutor()) as api:
        yield api


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(input=INPUTS)
async def test_any_input_is_accepted_or_refused(api: Api, input: dict[str, Any]) -> None:
    answer = (await api.post(EXECUTE + ALL, {"input": input})).json()
    assert "errors" not in answer
    payload = answer["data"]["executeCode"]
    assert (payload["execution"] is None) == bool(payload["errors"])
    if execution := payload["execution"]:
        assert execution["source"] == input["source"]
        assert execution["args"] == (input.get("args") or [])
        assert execution["metadata"] == input.get("metadata")
        assert await api.look(execution["id"]) is not None
