"""What running on Modal needs, checked by doing it, with the time that each step took."""

import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import TypeVar

from app.domain.errors import Check
from app.domain.limits import MIB
from app.executors.modal.account import BoxSize, connect, open_client, workspace_of
from app.executors.modal.box import open_box
from app.executors.modal.credentials import WHERE, Token
from app.executors.modal.errors import ModalError
from app.executors.modal.images import APP, Recipe

T = TypeVar("T")

_SIZE = BoxSize(memory=256 * MIB, cpu=0.5, lifetime=120)


class _Stopwatch:
    """Times steps and turns the first failure into a check with its remedy."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    async def time(self, name: str, step: Awaitable[T], remedy: str) -> T:
        began = time.perf_counter()
        try:
            result = await step
        except ModalError as error:
            failed = Check(name=name, passed=False, detail=str(error), remedy=remedy)
            self.checks.append(failed)
            raise
        seconds = time.perf_counter() - began
        self.checks.append(Check(name=name, passed=True, detail=f"{seconds * 1000:.0f} ms"))
        return result


async def examine(token: Token, *, server: str, recipe: Recipe) -> list[Check]:
    """Verify the token, look up the image, create a box and start the supervisor in it."""
    watch = _Stopwatch()
    try:
        async with AsyncExitStack() as resources:
            await _examine(watch, resources, token, server, recipe)
    except ModalError:
        pass  # it is the last of the checks
    return watch.checks


async def _examine(
    watch: _Stopwatch, resources: AsyncExitStack, token: Token, server: str, recipe: Recipe
) -> None:
    remedy = f"check the token in .env and the network; {WHERE}"
    client = await watch.time("modal token", open_client(token, server=server), remedy)
    resources.push_async_callback(client.close.aio)
    workspace = await workspace_of(client)
    watch.checks.append(Check(name="modal workspace", passed=True, detail=workspace))
    account = await watch.time(
        f"modal app {APP} and image {recipe.name}",
        connect(token, server=server, app=APP, image=recipe.name),
        "run `greenroom modal build`",
    )
    resources.push_async_callback(account.close)
    box = await watch.time(
        "modal sandbox and supervisor",
        open_box(account, _SIZE, {"service": "greenroom-doctor"}),
        "look at https://modal.com/apps and at Modal's status page",
    )
    resources.push_async_callback(box.end)
