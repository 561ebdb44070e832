"""What the sandbox needs from this host, checked by doing it."""

from collections.abc import Callable

import anyio.to_thread

from app.domain.errors import Check, Unavailable
from app.domain.language import NotFound
from app.executors.local.executor import LocalExecutor


async def examine(open_executor: Callable[[], LocalExecutor]) -> list[Check]:
    """Start the executor, which proves every wall, and say what was found."""
    try:
        async with await anyio.to_thread.run_sync(open_executor) as executor:
            return list(executor.checks)
    except Unavailable as unavailable:
        return list(unavailable.checks)
    except NotFound as missing:
        return [Check(name="python", passed=False, detail=str(missing))]
