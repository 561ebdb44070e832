"""Calls of Modal's client, each with an end.

The client works on a loop of its own, in a thread. A call that is cancelled again before it has
taken note, which is how anyio's scopes cancel, is left behind there and complains later. So each
call is made in a task of its own, which is cancelled once and waited for.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import anyio

T = TypeVar("T")

_LET_GO = 2.0  # s for the client to take note


async def within(seconds: float, awaited: Awaitable[T]) -> T:
    """Wait for a call, but not longer.

    Raises:
        TimeoutError: it took too long.
        ConnectionError: the client has cancelled it by itself. Taken for a cancellation of ours,
            that would end whoever asked, and every task beside it.
    """
    call = asyncio.ensure_future(_bounded(seconds, awaited))
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError as error:
        if call.cancelled():
            raise ConnectionError("the client gave up") from error
        await let_go(call)
        raise


async def _bounded(seconds: float, awaited: Awaitable[T]) -> T:
    # Not `wait_for`, which makes a task of its own: in Python 3.11 nobody hears of an error with
    # which that answers its cancellation, and the loop complains.
    async with asyncio.timeout(seconds):
        return await awaited


async def let_go(call: "asyncio.Task[T]") -> None:
    """Cancel a call once; what it still has to say interests nobody."""
    call.cancel()
    with anyio.CancelScope(shield=True):
        await asyncio.wait([call], timeout=_LET_GO)
    if call.done() and not call.cancelled():
        call.exception()
