"""The servers that benchmarks ask still answer."""

import httpx
import pytest

from benchmarks.overhead import HEADERS, MUTATION
from benchmarks.stub import application
from benchmarks.subjects import EXPECTED

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["whole", "api"])
async def test_what_is_measured_answers(kind: str) -> None:
    async with (
        application(kind) as app,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://127.0.0.1"
        ) as client,
    ):
        answer = await client.post("/graphql", content=MUTATION, headers=HEADERS)
    payload = answer.json()["data"]["executeCode"]
    assert not payload["errors"]
    assert payload["execution"]["stdout"] == EXPECTED
