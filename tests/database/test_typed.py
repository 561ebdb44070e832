"""Input reaches a running program from any process: in order, once, and not without bound."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import anyio
import pytest

from app.domain.errors import InputRefusal, NoSuchExecution
from app.domain.execution import Status
from app.executions.keyboard import Keyboard
from app.storage.store import Arrival, Store
from app.storage.typed import BUFFER_SIZE, MOST_IN_ALL

from .samples import HOLDER, NOW, OWNER, PROGRAM, SUCCESS, execution, hold


async def interactive(store: Store, **changes: object) -> UUID:
    one = execution(status=Status.RUNNING, started_at=NOW, **{"interactive": True} | changes)
    await store.insert(Arrival(execution=one, program=PROGRAM), HOLDER)
    return one.id


async def type_in(
    store: Store, id: UUID, data: bytes = b"x", *, is_last: bool = False
) -> InputRefusal | None:
    return await store.type_in(OWNER, id, data, is_last=is_last)


async def test_input_is_read_in_the_order_in_which_it_was_sent(store: Store, url: str) -> None:
    id, other = await interactive(store), Store(url)
    for number in range(10):
        assert await type_in(other if number % 2 else store, id, str(number).encode()) is None
    await other.close()
    pieces = await store.typed(id, after=0)
    assert [(piece.seq, piece.data) for piece in pieces] == [
        (number + 1, str(number).encode()) for number in range(10)
    ]
    assert await store.typed(id, after=9) == pieces[9:]


async def test_pieces_that_come_at_once_all_get_a_place(store: Store) -> None:
    id = await interactive(store)
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(type_in, store, id)
    assert [piece.seq for piece in await store.typed(id, after=0)] == list(range(1, 21))


async def test_who_cannot_take_input_says_why(store: Store) -> None:
    batch, ended, closed = [await interactive(store, interactive=False)] + [
        await interactive(store) for _ in range(2)
    ]
    await store.finish(hold(ended), SUCCESS, at=NOW)
    assert await type_in(store, closed, b"", is_last=True) is None
    assert await type_in(store, batch) is InputRefusal.NOT_INTERACTIVE
    assert await type_in(store, ended) is InputRefusal.ENDED
    assert await type_in(store, closed) is InputRefusal.CLOSED
    with pytest.raises(NoSuchExecution):
        await type_in(store, uuid4())
    with pytest.raises(NoSuchExecution):
        await store.type_in("another", await interactive(store), b"", is_last=False)


async def test_a_program_that_does_not_read_is_sent_no_more(store: Store) -> None:
    id = await interactive(store)
    half = b"x" * (BUFFER_SIZE // 2 - 1024)
    assert [await type_in(store, id, half) for _ in range(3)] == [None, None, InputRefusal.FULL]
    assert await store.mark_read(id, 1, holder=HOLDER)
    assert [await type_in(store, id, half) for _ in range(2)] == [None, InputRefusal.FULL]


async def test_input_has_an_end_however_fast_it_is_read(store: Store) -> None:
    id = await interactive(store)
    piece = b"x" * (BUFFER_SIZE - 1024)
    taken = 0
    while await type_in(store, id, piece) is None:
        taken += 1
        await store.mark_read(id, taken, holder=HOLDER)
    assert taken == MOST_IN_ALL // BUFFER_SIZE


async def test_only_the_holder_says_what_was_read(store: Store) -> None:
    id = await interactive(store)
    await type_in(store, id)
    assert not await store.mark_read(id, 1, holder="zombie")
    assert await store.mark_read(id, 1, holder=HOLDER)


@pytest.fixture
async def keyboard(store: Store) -> AsyncIterator[tuple[UUID, Keyboard]]:
    id = await interactive(store)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.feed.listen)
        yield id, Keyboard(store, id, HOLDER, 0.05)
        tasks.cancel_scope.cancel()


async def test_a_program_gets_what_was_typed_before_and_what_comes(
    store: Store, keyboard: tuple[UUID, Keyboard]
) -> None:
    id, keys = keyboard
    await type_in(store, id, b"before\n")
    pieces = keys.pieces()
    assert await anext(pieces) == b"before\n"

    async def go_on() -> None:
        await type_in(store, id, b"after\n")
        await type_in(store, id, b"", is_last=True)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go_on)
        with anyio.fail_after(30):
            assert [piece async for piece in pieces] == [b"after\n"]


async def test_nothing_happening_for_too_long_is_idle(keyboard: tuple[UUID, Keyboard]) -> None:
    _, keys = keyboard
    with anyio.fail_after(30):
        await keys.idle()
