"""What running on Modal needs, checked by doing it, with the time that each step took."""

import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import TypeVar

from app.domain.errors import Check
from app.domain.limits import MIB
from app.executors.modal.account import (
    Account,
    BoxSize,
    find_app,
    find_image,
    hang_up,
    identity_of,
    open_client,
)
from app.executors.modal.box import supervise
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
    """Verify the token, look up app and image, create a box and start the supervisor in it."""
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
    resources.push_async_callback(hang_up, client)
    identity = await identity_of(client)
    owner = f"{identity.workspace}, token {identity.token}"
    watch.checks.append(Check(name="modal workspace", passed=True, detail=owner))
    app = await watch.time(
        f"modal app {APP}", find_app(client, APP), "give the token the right to make apps"
    )
    image = await watch.time(
        f"modal image {recipe.name}", find_image(app, recipe.name), "run `greenroom modal build`"
    )
    account = Account(client, app, image, identity)
    account.box_began()
    sandbox = await watch.time(
        "modal create",
        account.create(_SIZE, {"service": "greenroom-doctor"}),
        "look at the limits of your plan, and at https://status.modal.com",
    )
    box = await watch.time(
        "modal exec",
        supervise(account, sandbox, _SIZE),
        "look at https://modal.com/apps; `greenroom modal build` makes the image anew",
    )
    resources.push_async_callback(box.end)
