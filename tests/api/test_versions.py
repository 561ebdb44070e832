"""A version of a language can be chosen, and the one that ran is told."""

from collections.abc import AsyncIterator

import pytest

from .client import Api, Json
from .conftest import Open
from .fake import VERSIONS, FakeExecutor

EXECUTE = """mutation($input: ExecuteCodeInput!) { executeCode(input: $input) {
  execution { id status languageVersion }
  errors { __typename code message path ... on VersionUnavailable { available } } } }"""
RERUN = """mutation($id: ID!) { rerunExecution(input: { id: $id }) {
  execution { languageVersion } errors { code } } }"""


@pytest.fixture
def executor_() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
async def fake(open_api: Open, executor_: FakeExecutor) -> AsyncIterator[Api]:
    async with open_api(executor_) as api:
        yield api


async def execute(api: Api, version: str | None, **input: object) -> Json:
    asked = {"language": "PYTHON", "source": "x", "languageVersion": version, **input}
    payload: Json = (await api.ask(EXECUTE, input=asked))["executeCode"]
    return payload


async def test_the_versions_are_listed_the_usual_one_first(fake: Api) -> None:
    (python,) = [
        each
        for each in (await fake.ask("{ languages { id version versions } }"))["languages"]
        if each["id"] == "PYTHON"
    ]
    assert python == {"id": "PYTHON", "version": "1.2.3", "versions": list(VERSIONS)}


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [(None, "1.2.3"), ("1", "1.2.3"), ("1.1", "1.1.9"), ("1.1.10", "1.1.10"), ("1.11", "1.11.0")],
)
async def test_the_first_version_that_fits_runs_and_is_kept(
    fake: Api, executor_: FakeExecutor, wanted: str | None, chosen: str
) -> None:
    execution = (await execute(fake, wanted))["execution"]
    assert execution["languageVersion"] == chosen
    assert executor_.versions == [chosen]
    asked = await fake.ask(
        "query($id: ID!) { execution(id: $id) { languageVersion } }", id=execution["id"]
    )
    assert asked["execution"]["languageVersion"] == chosen


@pytest.mark.parametrize("wanted", ["2", "1.", "1.1.1", "1.2.3.4", " 1", "%", "1_2_3"])
async def test_a_version_that_is_not_here_is_refused_with_those_that_are(
    fake: Api, executor_: FakeExecutor, wanted: str
) -> None:
    payload = await execute(fake, wanted)
    (error,) = payload["errors"]
    assert payload["execution"] is None
    assert error["__typename"] == "VersionUnavailable"
    assert (error["code"], error["path"]) == ("VERSION_UNAVAILABLE", ["languageVersion"])
    assert error["available"] == list(VERSIONS)
    assert wanted in error["message"]
    assert executor_.sandboxes == 0


@pytest.mark.parametrize("wanted", ["", "1\0", "1" * 201, "\ud800"])
async def test_what_cannot_be_a_version_is_invalid(fake: Api, wanted: str) -> None:
    (error, *_) = (await execute(fake, wanted))["errors"]
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["languageVersion"])


async def test_what_runs_again_asks_for_the_same_version(
    fake: Api, executor_: FakeExecutor
) -> None:
    first = (await execute(fake, "1.1"))["execution"]
    again = (await fake.ask(RERUN, id=first["id"]))["rerunExecution"]
    assert again == {"execution": {"languageVersion": "1.1.9"}, "errors": []}
    assert executor_.versions == ["1.1.9", "1.1.9"]


async def test_another_version_is_another_wish(fake: Api) -> None:
    first = await execute(fake, "1.1", idempotencyKey="k")
    assert await execute(fake, "1.1", idempotencyKey="k") == first
    (error,) = (await execute(fake, "1.2", idempotencyKey="k"))["errors"]
    assert error["code"] == "IDEMPOTENCY_CONFLICT"
