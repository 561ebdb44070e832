"""What every kind of test shares."""

import asyncio
import functools
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from blockbuster import BlockBuster, blockbuster_ctx


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run asynchronous tests on the loop that the server runs on."""
    return "asyncio", {"use_uvloop": True}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let a test that ends cancelled fail, and fail alone.

    All tests of a process run in one task, and a cancellation that leaves a test ends that task:
    every later test would fail with it, and hide where it came from.
    """
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(test := item.obj):

        @functools.wraps(test)
        async def alone(*args: Any, **kwargs: Any) -> None:
            try:
                await test(*args, **kwargs)
            except asyncio.CancelledError as error:
                message = "something has cancelled this test"
                raise AssertionError(message) from error

        item.obj = alone


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fail a test when our code blocks the event loop."""
    with blockbuster_ctx("app") as blockbuster:
        # Coverage takes a lock of its own wherever our code stands.
        locks = blockbuster.functions["threading.Lock.acquire"]
        locks.can_block_in("coverage/collector.py", "lock_data")
        yield blockbuster
