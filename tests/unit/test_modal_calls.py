"""Calls of Modal's client: each has an end, and none is taken for a cancellation of ours."""

import asyncio

import anyio
import pytest

from app.executors.modal.calls import within


async def test_what_the_client_cancels_by_itself_is_a_lost_connection() -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(answer.cancel)
    async with anyio.create_task_group() as tasks:
        with pytest.raises(ConnectionError):
            await within(10, answer)
        assert not tasks.cancel_scope.cancel_called


async def test_what_takes_too_long_is_given_up() -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError):
        await within(0.01, answer)
    assert answer.cancelled()


async def test_who_asked_may_leave_and_the_call_goes_too() -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with anyio.move_on_after(0.01) as scope:
        await within(10, answer)
    assert scope.cancelled_caught
    assert answer.cancelled()
