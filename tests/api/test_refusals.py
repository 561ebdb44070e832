"""What is wrong with an input is said as data, all at once, and nothing is recorded."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.languages import LanguageId

from .client import Api, Json
from .conftest import Open
from .fake import FakeExecutor, Gate

LIMITS = {
    "wallTimeMs": (60_000, "The wall time limit", "60 s"),
    "cpuTimeMs": (30_000, "The CPU time limit", "30 s"),
    "memoryBytes": (2 << 30, "The memory limit", "2 GiB"),
    "outputBytes": (8 << 20, "The output limit", "8 MiB"),
    "processes": (256, "The processes limit", "256"),
    "diskBytes": (1 << 30, "The disk limit", "1 GiB"),
}
TEXTS = ["label", "sessionId", "idempotencyKey"]
SURROGATE = "half of a pair: \ud83d"
COUNT = "{ executions { totalCount } }"


@pytest.fixture
async def api(open_api: Open) -> AsyncIterator[Api]:
    """Refuse without a sandbox, and look in the end that no row was written."""
    async with open_api(executor := FakeExecutor()) as api:
        yield api
        assert (await api.ask(COUNT)) == {"executions": {"totalCount": 0}}
    assert executor.sandboxes == 0


def invalid(message: str, *path: str) -> Json:
    return {
        "__typename": "InvalidInput",
        "code": "INVALID_INPUT",
        "message": message,
        "path": list(path),
    }


async def test_a_source_that_is_too_large(api: Api) -> None:
    assert await api.refuse("x" * (256 * 1024 + 1)) == [
        invalid("`source` may be at most 256 KiB, not 262145 bytes.", "source")
    ]


async def test_a_source_is_measured_in_bytes(api: Api) -> None:
    [error] = await api.refuse("é" * 131_073)
    assert error["message"] == "`source` may be at most 256 KiB, not 262146 bytes."


async def test_a_source_with_half_a_character(api: Api) -> None:
    message = "`source` must be Unicode text without lone surrogates."
    assert await api.refuse(SURROGATE) == [invalid(message, "source")]


async def test_two_forms_of_input(api: Api) -> None:
    assert await api.refuse(stdin="", stdinBase64="") == [
        invalid("Give `stdin` or `stdinBase64`, not both.", "stdinBase64")
    ]


@pytest.mark.parametrize("text", ["!", "YQ", "YQ=", "YQ==\n", "é", "Y Q=", "YQ===", "\ud800"])
async def test_input_that_is_not_base64(api: Api, text: str) -> None:
    assert await api.refuse(stdinBase64=text) == [
        invalid("`stdinBase64` is not valid base64.", "stdinBase64")
    ]


async def test_input_that_is_too_large(api: Api) -> None:
    message = "`stdin` may be at most 1 MiB, not 1048577 bytes."
    too_large = b"x" * (1024 * 1024 + 1)
    assert await api.refuse(stdin=too_large.decode()) == [invalid(message, "stdin")]
    encoded = base64.b64encode(too_large).decode()
    assert await api.refuse(stdinBase64=encoded) == [invalid(message, "stdinBase64")]


async def test_input_with_half_a_character(api: Api) -> None:
    [error] = await api.refuse(stdin=SURROGATE)
    assert error["path"] == ["stdin"]


@pytest.mark.parametrize("name", LIMITS)
async def test_a_limit_above_the_maximum_names_both_numbers(api: Api, name: str) -> None:
    maximum, spoken, described = LIMITS[name]
    [error] = await api.refuse(limits={name: maximum + 1})
    assert error["__typename"] == "LimitTooHigh"
    assert error["code"] == "LIMIT_TOO_HIGH"
    assert error["path"] == ["limits", name]
    assert error["limit"] == name
    assert (error["requested"], error["maximum"]) == (maximum + 1, maximum)
    assert error["message"].startswith(f"{spoken} may be at most {described}, not ")


async def test_a_limit_is_described_to_the_millisecond(api: Api) -> None:
    [error] = await api.refuse(limits={"wallTimeMs": 2**31 - 1})
    assert error["message"] == "The wall time limit may be at most 60 s, not 2147483.647 s."
    assert error["requested"] == 2**31 - 1


async def test_a_size_as_high_as_can_be_said(api: Api) -> None:
    [error] = await api.refuse(limits={"memoryBytes": 2**63 - 1})
    assert error["requested"] == 2**63 - 1


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [0, -1])
async def test_a_limit_that_nothing_can_live_under(api: Api, name: str, value: int) -> None:
    [error] = await api.refuse(limits={name: value})
    message = f"{LIMITS[name][1]} must be greater than zero."
    assert error == invalid(message, "limits", name)


@pytest.mark.parametrize(("name", "room"), [("memory", 4 << 20), ("disk", 64 << 10)])
async def test_a_limit_that_does_not_hold_the_program(api: Api, name: str, room: int) -> None:
    source = "# é\n"
    least = room + len(source.encode())
    [error] = await api.refuse(source, limits={f"{name}Bytes": least - 1})
    message = f"The {name} limit must hold the program itself: at least {least} bytes."
    assert error == invalid(message, "limits", f"{name}Bytes")


@pytest.mark.parametrize("text", ["a\0b", SURROGATE])
@pytest.mark.parametrize("field", TEXTS)
async def test_a_text_that_is_none(api: Api, field: str, text: str) -> None:
    message = f"`{field}` must be Unicode text without NUL or lone surrogates."
    assert await api.refuse(**{field: text}) == [invalid(message, field)]


@pytest.mark.parametrize("field", TEXTS)
async def test_a_text_that_is_too_long(api: Api, field: str) -> None:
    message = f"`{field}` may have at most 200 characters, not 201."
    assert await api.refuse(**{field: "é" * 201}) == [invalid(message, field)]


async def test_arguments_that_are_no_text(api: Api) -> None:
    errors = await api.refuse(args=["fine", "a\0b", SURROGATE])
    assert [error["path"] for error in errors] == [["args", "1"], ["args", "2"]]


async def test_too_many_arguments(api: Api) -> None:
    assert await api.refuse(args=["x"] * 65) == [
        invalid("`args` may have at most 64 items, not 65.", "args")
    ]


async def test_a_flood_of_bad_arguments_is_one_error(api: Api) -> None:
    assert len(await api.refuse(args=["\0"] * 20_000)) == 1


async def test_arguments_that_are_too_large(api: Api) -> None:
    assert await api.refuse(args=["x" * 40_000, "y" * 40_000]) == [
        invalid("`args` may be at most 64 KiB, not 80000 bytes.", "args")
    ]


@pytest.mark.parametrize("metadata", [1, 1.5, "text", True, [], [{}]])
async def test_metadata_that_is_no_object(api: Api, metadata: Any) -> None:
    assert await api.refuse(metadata=metadata) == [
        invalid("`metadata` must be an object.", "metadata")
    ]


def nested(depth: int) -> Any:
    inner: Any = []
    for _ in range(depth - 2):
        inner = [inner]
    return {"a": inner}


async def test_metadata_that_is_too_deep(api: Api) -> None:
    for depth in (9, 500):
        assert await api.refuse(metadata=nested(depth)) == [
            invalid("`metadata` may be nested at most 8 deep.", "metadata")
        ]


async def test_metadata_that_is_too_big(api: Api) -> None:
    [error] = await api.refuse(metadata={"a": "x" * 16 * 1024})
    assert error["message"].startswith("`metadata` may be at most 16 KiB, not ")


@pytest.mark.parametrize("text", ["a\0b", SURROGATE])
async def test_metadata_with_text_that_is_none(api: Api, text: str) -> None:
    for metadata in ({"a": [text]}, {text: 1}):
        [error] = await api.refuse(metadata=metadata)
        assert error["path"] == ["metadata"]


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
async def test_metadata_with_a_number_that_no_answer_could_hold(api: Api, number: str) -> None:
    input = f'language: PYTHON, source: "", metadata: {{ a: {number} }}'
    literal = f"mutation {{ executeCode(input: {{ {input} }}) {{ errors {{ message }} }} }}"
    data = await api.ask(literal)
    message = "`metadata` has a number that is too large for JSON."
    assert data["executeCode"]["errors"] == [{"message": message}]


@pytest.mark.parametrize("wait", [-1, 60_001, 2**31 - 1, -(2**31)])
async def test_a_wait_out_of_range(api: Api, wait: int) -> None:
    assert await api.refuse(waitMs=wait) == [
        invalid(f"`waitMs` must be 0 to 60000, not {wait}.", "waitMs")
    ]


async def test_everything_wrong_is_said_at_once(api: Api) -> None:
    errors = await api.refuse(
        SURROGATE,
        limits={"memoryBytes": 2**40, "processes": 0},
        args=["\0"],
        label="x" * 300,
        metadata={"a": "\0"},
    )
    assert [error["path"] for error in errors] == [
        ["source"],
        ["args", "0"],
        ["limits", "processes"],
        ["limits", "memoryBytes"],
        ["label"],
        ["metadata"],
    ]


async def test_a_language_that_cannot_be_run_here(open_api: Open) -> None:
    async with open_api(FakeExecutor(unavailable={"JAVASCRIPT": "node is missing"})) as api:
        [error] = await api.refuse("", "JAVASCRIPT")
        assert error == {
            "__typename": "LanguageUnavailable",
            "code": "LANGUAGE_UNAVAILABLE",
            "message": "JavaScript is not available here: node is missing",
            "path": ["language"],
            "available": [id for id in sorted(LanguageId) if id != "JAVASCRIPT"],
        }
        assert await api.ask(COUNT) == {"executions": {"totalCount": 0}}


async def test_a_full_house(open_api: Open) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate), slots=1, queue_size=2) as api:
        *_, last = [await api.run("", waitMs=0) for _ in range(3)]
        [error] = await api.refuse()
        assert error["__typename"] == "ServerBusy"
        assert error["code"] == "SERVER_BUSY"
        assert error["path"] is None
        assert error["retryAfterMs"] >= 100
        assert "Too many executions wait: 2 may in all" in error["message"]
        assert await api.ask(COUNT) == {"executions": {"totalCount": 3}}
        gate.ends.set()
        await api.end_of(last["id"])
        assert (await api.run(""))["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    "input",
    [
        "{ source: 1, language: PYTHON }",
        '{ source: "", language: COBOL }',
        '{ source: "", language: "PYTHON" }',
        "{ language: PYTHON }",
        '{ source: "", language: PYTHON, args: [1] }',
        '{ source: "", language: PYTHON, unknown: 1 }',
        '{ source: "", language: PYTHON, waitMs: 1.5 }',
        f'{{ source: "", language: PYTHON, waitMs: {"9" * 5000} }}',
        f'{{ source: "", language: PYTHON, limits: {{ memoryBytes: {"9" * 5000} }} }}',
    ],
)
async def test_an_input_of_the_wrong_shape_is_the_requests_mistake(api: Api, input: str) -> None:
    query = f"mutation {{ executeCode(input: {input}) {{ errors {{ code }} }} }}"
    answer = (await api.post(query)).json()
    assert "data" not in answer
    codes = {error["extensions"]["code"] for error in answer["errors"]}
    assert codes == {"GRAPHQL_VALIDATION_FAILED"}


@pytest.mark.parametrize("id", ["", "nothing-such"])
async def test_an_environment_that_is_not_there(api: Api, id: str) -> None:
    [error] = await api.refuse(environment=id)
    assert error["__typename"] == "EnvironmentUnavailable"
    assert error["path"] == ["environment"]
