"""Calls of Modal's client: each has an end, and none is taken for a cancellation of ours."""

import asyncio
import gc
from typing import Any

import anyio
import pytest

from app.executors.modal import account
from app.executors.modal.account import hang_up
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


async def test_an_error_in_answer_to_a_cancellation_is_nobodys_matter() -> None:
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError("stdin is closed") from None

    loop, unheard = asyncio.get_running_loop(), list[Any]()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    try:
        with anyio.move_on_after(0.01) as scope:
            await within(10, stubborn())
        gc.collect()
    finally:
        loop.set_exception_handler(before)
    assert scope.cancelled_caught
    assert unheard == []


class Closing:
    """A client of which only the end is asked for; an end that never comes, unless it is set."""

    def __init__(self) -> None:
        self.close = self
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked = 0

    async def aio(self) -> None:
        self.asked += 1
        await self.answer


@pytest.mark.parametrize("says", [asyncio.CancelledError(), OSError(), None])
async def test_whatever_a_client_says_at_its_end_ends_nobody_else(
    says: BaseException | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "CALL_TIMEOUT", 0.05)
    client: Any = Closing()
    match says:
        case asyncio.CancelledError():
            client.answer.cancel()
        case OSError():
            client.answer.set_exception(says)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hang_up, client)
    assert not tasks.cancel_scope.cancel_called
    assert client.asked == 1


async def test_a_client_is_closed_by_who_is_cancelled_as_well() -> None:
    client: Any = Closing()
    client.answer.set_result(None)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await hang_up(client)
    assert client.asked == 1
