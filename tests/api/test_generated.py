"""Whatever the schema allows gets an answer; none is a failure of ours (hypothesis-graphql)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from hypothesis_graphql import from_schema, nodes

from app.api.refusals import Code

from .client import Api
from .conftest import Open
from .fake import FakeExecutor

SCHEMA = (Path(__file__).parents[2] / "schema.graphql").read_text()
OURS = {Code.INTERNAL_ERROR, Code.UNAVAILABLE}
TIMES = some.datetimes().map(lambda time: f"{time.isoformat()}Z") | some.text(max_size=9)
SCALARS = {
    "BigInt": some.integers(-(2**70), 2**70).map(nodes.Int),
    "DateTime": TIMES.map(nodes.String),
    "JSON": some.sampled_from([nodes.Null, nodes.Object([])]) | some.text().map(nodes.String),
}


@pytest.fixture
async def api(open_api: Open) -> AsyncIterator[Api]:
    async with open_api(FakeExecutor(), max_cost=10**9, max_aliases=1000) as api:
        await api.run("print(1)", sessionId="any", label="any")
        yield api


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(document=from_schema(SCHEMA, custom_scalars=SCALARS))
async def test_a_document_of_the_schema_is_never_our_failure(api: Api, document: str) -> None:
    response = await api.post(document)
    assert response.status_code == 200
    answer = response.json()
    codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
    assert not codes & OURS, answer["errors"]
    assert "data" in answer or codes
