"""Apollo Client, urql, graphql-ws and graphql-sse, as npm has them, against the served API."""

from tests.api.client import Api, Json

from .conftest import Told

UNKNOWN = "Cannot query field 'nothing' on type 'Query'."


def assert_whole(events: Json) -> None:
    """Whatever pieces the output of `slow` came in, none is missing and none comes twice."""
    assert events["sequences"] == [*range(1, len(events["sequences"]) + 1)]
    assert (events["text"], events["last"]) == ("0\n1\n2\n3\n4\n", "SUCCEEDED")


async def test_graphql_ws(told: Told) -> None:
    result = await told("graphql-ws.js")
    assert result["mutation"]["data"]["executeCode"]["execution"]["stdout"] == "hello\n"
    assert_whole(result["events"])
    assert result["wrong"] == UNKNOWN
    assert result["early"] == [1, 2]
    assert result["afterwards"] == [{"data": {"__typename": "Query"}}]


async def test_graphql_sse(told: Told) -> None:
    result = await told("graphql-sse.js")
    assert result["mutation"]["data"]["executeCode"]["execution"]["stdout"] == "hello\n"
    assert_whole(result["events"])
    assert result["wrong"] == UNKNOWN


async def test_urql(told: Told) -> None:
    result = await told("urql.js")
    assert result["mutation"]["data"]["executeCode"]["execution"]["stdout"] == "hello\n"
    assert [edge["node"]["label"] for edge in result["page"]["executions"]["edges"]] == ["urql"]
    assert result["wrong"] == UNKNOWN
    assert_whole(result["events"])
    assert_whole(result["socketEvents"])
    assert result["methods"] == ["POST", "GET", "GET", "POST", "POST"]


async def test_apollo(told: Told) -> None:
    result = await told("apollo.js")
    assert result["mutation"]["data"]["executeCode"]["execution"]["stdout"] == "hello\n"
    assert result["labels"] == ["apollo"] * 5
    assert result["unique"] == 5
    assert result["wrong"] == UNKNOWN
    assert_whole(result["events"])
    assert_whole(result["multipartEvents"])
    assert result["submission"]["last"] == "SUCCEEDED"
    told_of = {test.pop("name"): test for test in result["submission"]["tests"]}
    keys = ("__typename", "verdict", "isHidden", "stdout")
    assert told_of == {
        "one": dict(zip(keys, ("TestResult", "PASSED", False, "2\n"), strict=True)),
        "secret": dict(zip(keys, ("TestResult", "PASSED", True, "4\n"), strict=True)),
        "wrong": dict(zip(keys, ("TestResult", "FAILED", False, "6\n"), strict=True)),
    }


async def test_a_client_that_is_cut_off_a_hundred_times_misses_nothing(
    told: Told, api: Api
) -> None:
    source = (
        "import time\nfor number in range(150):\n"
        "    print(number, flush=True)\n    time.sleep(0.04)"
    )
    started = await api.run(source, waitMs=0)
    result = await told("reconnect.js", started["id"])
    assert result["connections"] > 100
    assert result["sequences"] == [*range(1, len(result["sequences"]) + 1)]
    assert result["text"] == (await api.end_of(started["id"]))["stdout"]
    assert result["text"] == "".join(f"{number}\n" for number in range(150))
