"""What every kind of test shares."""

import asyncio
import functools
import gc
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from coverage import Coverage
from hypothesis import settings

# How long an example takes says more of the machine than of us.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")

HERE = Path(__file__).parent
# What these run of our code, others run as well. They come last, those that take long first, and
# without coverage, which takes as long again as they do.
UNMEASURED = (
    "contract/test_languages",
    "warm/test_same_as_cold",
    "contract/test_calling",
    "contract/test_programs",
    "contract/test_limits",
    "contract/test_leaving",
    "contract/test_submitting",
    "contract/test_ends",
    "contract/test_isolation",
    "contract/test_javascript",
    "contract/test_python",
    "contract/test_typing",
    "hostile/",
    "processes/test_matrix",
    "processes/test_access",
    "processes/test_stopping",
    "processes/test_secrets",
    "processes/test_commands",
    "processes/test_crashes",
    "processes/test_purge",
    "processes/test_logs",
    "processes/test_wire",
    "processes/test_install",
    "browser/",
    "clients/",
    "api/test_attacks",
    "api/test_hidden",
    "api/test_waiting",
    "api/test_fuzz",
    "api/test_generated",
    "api/test_documents",
    "api/test_history",
    "api/test_many_tests",
    "api/test_environments",
    "api/test_refusals",
    "api/test_runs",
    "api/test_doors",
    "api/test_operations",
    "api/test_once",
    "api/test_requestlog",
    "unit/test_documents",
    "unit/test_difference",
    "unit/test_seccomp",
    "servers/",
    "wire/test_breaking",
    "wire/test_adapter",
    "wire/test_hiding",
    "wire/test_loopback_ends",
    "wire/test_scratch",
    "property/",
    "database/test_history",
    "database/test_concurrency",
    "database/test_statements",
    "database/test_queue",
    "database/test_once",
    "database/test_lifecycle",
    "database/test_values",
    "database/test_migrations",
    "database/test_erasing",
)


def _turn(item: pytest.Item) -> int:
    """Return when it is an item's turn: 0 while coverage looks."""
    name = item.path.relative_to(HERE).as_posix()
    return next((at for at, each in enumerate(UNMEASURED, 1) if name.startswith(each)), 0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)
    # What was loaded and collected stays: no need to look for garbage there again and again.
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if _turn(item) and (coverage := Coverage.current()):
        coverage.stop()


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
        for name, function in blockbuster.functions.items():
            if name.startswith("sqlite3."):  # brief transactions, which wait for nobody
                function.can_block_in("app/storage/sqlite.py", "_at_once")
            # A few of the kernel's counters: they are in memory, and behind no lock of others.
            function.can_block_in("app/executors/local/meter.py", ["begin", "close"])
            function.can_block_in("app/executors/local/run.py", "_is_full")
        yield blockbuster
