"""The audits of npm's graphql-http, which is the reference of GraphQL over HTTP."""

from .conftest import Told


async def test_every_audit_of_graphql_over_http_passes(told: Told) -> None:
    results = (await told("audit.js"))["results"]
    assert [audit for audit in results if audit["status"] != "ok"] == []
    assert len(results) == 61
