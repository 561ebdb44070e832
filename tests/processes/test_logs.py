"""What a server logs: facts with ids, never what programs are, read or write."""

import json
from pathlib import Path
from typing import Any

from app.api.ids import decode_id
from tests.api.client import ALL, EXECUTE

from .server import serving

SECRET = "zebra"
INPUT = {
    "language": "PYTHON",
    "source": f"import sys; print(input(), '{SECRET}'); print('{SECRET}', file=sys.stderr); 1/0",
    "stdin": SECRET,
    "args": [SECRET],
    "metadata": {SECRET: SECRET},
    "idempotencyKey": SECRET,
}


async def test_each_line_says_what_it_belongs_to(folder: Path) -> None:
    async with serving(folder, log_format="json") as (server, api):
        body = {"query": EXECUTE + ALL, "variables": {"input": INPUT}}
        answer = await api.http.post("/graphql", json=body, headers={"X-Request-Id": "r-1"})
        assert answer.headers["x-request-id"] == "r-1"
        execution = answer.json()["data"]["executeCode"]["execution"]
        assert SECRET in execution["stdout"]
        await api.http.post("/graphql", json={"query": f"{{ {SECRET} }}"})
        await api.http.get(f"/graphql?query={{{SECRET}}}")
        await server.stop()
    lines: list[dict[str, Any]] = [json.loads(line) for line in server.log if line]
    assert all({"message", "level", "timestamp"} <= set(line) for line in lines)
    of_request = [line["message"] for line in lines if line.get("request_id") == "r-1"]
    assert sorted(of_request) == ["execution accepted", "execution ended", "request"]
    id = str(decode_id(execution["id"]))
    of_execution = [line["message"] for line in lines if line.get("id") == id]
    assert of_execution == ["execution accepted", "execution ended"]
    ids = {line["request_id"] for line in lines if line["message"] == "request"}
    assert len(ids) == 3
    assert SECRET not in "\n".join(server.log)


async def test_a_console_reads_the_same_facts(folder: Path) -> None:
    async with serving(folder) as (server, api):
        await api.http.post(
            "/graphql", json={"query": "{ __typename }"}, headers={"X-Request-Id": "r-1"}
        )
        line = await server.says("request_id=r-1")
    assert "[info     ] request method=POST ms=" in line
    assert "path=/graphql request_id=r-1 status=200" in line
