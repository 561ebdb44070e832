"""What every kind of test shares."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run asynchronous tests on the loop that the server runs on."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fail a test when our code blocks the event loop."""
    with blockbuster_ctx("app") as blockbuster:
        # Coverage takes a lock of its own wherever our code stands.
        locks = blockbuster.functions["threading.Lock.acquire"]
        locks.can_block_in("coverage/collector.py", "lock_data")
        yield blockbuster
