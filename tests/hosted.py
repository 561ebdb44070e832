"""Contexts that live longer than a test, each in a task of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


@asynccontextmanager
async def hosted(context: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Keep a context open in a task of its own.

    Fixtures of a session or a package are closed in another order than they were opened in, when a
    parameter changes. Groups of tasks within one task must not be: closing one would cancel those
    that were opened after it, and the test runner with them.
    """
    opened: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()

    async def host() -> None:
        try:
            async with context as value:
                opened.set_result(value)
                await over.wait()
        except BaseException as error:
            if opened.done():
                raise
            opened.set_exception(error)  # a skip, too

    task = asyncio.create_task(host())
    value = await opened
    try:
        yield value
    finally:
        over.set()
        await asyncio.wait([task])
        if task.cancelled():
            message = "something has cancelled the end of what was hosted"
            raise RuntimeError(message)  # a cancellation would end the test runner as well
        task.result()
