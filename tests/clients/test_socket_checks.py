"""What the real graphql-ws client counts on; `tests/api/test_socket.py` has what none would do."""

from .conftest import Told


async def test_every_promise_of_the_protocol_is_kept(told: Told) -> None:
    results = await told("socket-checks.js")
    assert {name: result for name, result in results.items() if result is not True} == {}
    assert len(results) == 26
