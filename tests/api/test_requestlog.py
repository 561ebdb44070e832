"""Each request has an id, which is returned, and a line in the log without what it asked."""

import logging
from typing import Any

import pytest

from .client import Api


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> "Lines":
    caplog.set_level(logging.INFO)
    return Lines(caplog)


class Lines:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def of_requests(self) -> list[dict[str, Any]]:
        records = [vars(each) for each in self._caplog.records if each.message == "request"]
        return [{name: each[name] for name in ("method", "path", "status")} for each in records]

    def everything(self) -> str:
        """Return all that we have said; the client's library says more."""
        records = [each for each in self._caplog.records if each.name.startswith("app.")]
        return "".join(str(vars(each)) for each in records)


@pytest.mark.parametrize("id", ["a", "7f3c-1.2_3", "abc:def/1+2==", "x" * 100])
async def test_an_id_that_looks_like_one_is_kept(api: Api, id: str) -> None:
    answer = await api.http.get("/healthz", headers={"X-Request-Id": id})
    assert answer.headers["x-request-id"] == id


@pytest.mark.parametrize("id", ["", "x" * 101, "a b", "-a", 'a"b', "a\tb", "a\x7fb", "é", "a;b"])
async def test_another_one_is_replaced(api: Api, id: str) -> None:
    answer = await api.http.get("/healthz", headers={b"X-Request-Id": id.encode()})
    assert answer.headers["x-request-id"] != id
    assert len(answer.headers["x-request-id"]) == 32


async def test_each_request_has_an_id_of_its_own(api: Api) -> None:
    ids = {(await api.http.get("/healthz")).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


async def test_a_request_leaves_a_line_without_what_it_asked(api: Api, lines: Lines) -> None:
    await api.run("print('secret')")
    await api.http.get("/graphql", params={"query": "{ secret: __typename }"})
    assert lines.of_requests() == [
        {"method": "POST", "path": "/graphql", "status": 200},
        {"method": "GET", "path": "/graphql", "status": 200},
    ]
    assert "secret" not in lines.everything()


async def test_who_is_not_let_in_leaves_a_line_too_and_has_an_id(api: Api, lines: Lines) -> None:
    answer = await api.http.get("/graphql", headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert answer.headers["x-request-id"]
    assert lines.of_requests() == [{"method": "GET", "path": "/graphql", "status": 421}]


async def test_probes_are_quiet(api: Api, lines: Lines) -> None:
    for path in ("/healthz", "/readyz"):
        await api.http.get(path)
    assert lines.of_requests() == []


async def test_a_path_without_end_is_cut(api: Api, lines: Lines) -> None:
    await api.http.get("/" + "x" * 5000)
    [line] = lines.of_requests()
    assert (len(line["path"]), line["status"]) == (200, 404)
