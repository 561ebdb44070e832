"""Which executor runs the programs, from the settings."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from anyio import to_thread
from pydantic import SecretStr

from app.domain.errors import Check
from app.domain.language import Language, NotFound, Toolchain
from app.domain.ports import Executor
from app.executors.elsewhere import ElsewhereExecutor
from app.executors.local.executor import LocalExecutor
from app.executors.modal.credentials import WHERE, BadToken, Token, is_trusted
from app.languages import all_languages
from app.settings import Settings
from app.storage.store import Store

if TYPE_CHECKING:
    from app.executors.modal.executor import ModalExecutor

log = logging.getLogger(__name__)

LANGUAGES = all_languages()

ExecutorFactory = Callable[[Settings, Store], AbstractAsyncContextManager[Executor]]


def offered(settings: Settings) -> dict[str, Language]:
    """Return the languages that programs may be in."""
    return {id: LANGUAGES[id] for id in LANGUAGES if id in (settings.languages or LANGUAGES)}


def local_executor(settings: Settings) -> LocalExecutor:
    """Make the embedded sandbox that the settings ask for."""
    return LocalExecutor(
        offered(settings),
        interpreter=LANGUAGES["PYTHON"].find(None)[0],
        executables=settings.executables,
        environments=settings.environments,
        keeps_warm=settings.warm_cells == "auto",
        defaults=settings.rules.defaults,
    )


def modal_executor(settings: Settings, token: Token, store: Store) -> "ModalExecutor":
    """Make the executor on Modal that the settings ask for."""
    # Modal's client takes half a second to import; who does not use it need not wait for it.
    from app.executors.modal.executor import ModalExecutor, ModalOptions  # noqa: PLC0415

    options = ModalOptions(
        server=settings.modal_server_url,
        cpu=settings.modal_cpu,
        warm_floor=settings.modal_warm_min,
        warm_ceiling=settings.modal_warm_max,
        box_age=settings.modal_box_age,
        create_rate=settings.modal_create_rate,
        create_burst=settings.modal_create_burst,
        budget=settings.modal_budget,
        offered=frozenset(offered(settings)),
        longest_run=max(settings.max_wall_time, settings.interactive_wall_time),
    )
    return ModalExecutor(LANGUAGES, token, options, settings.rules.defaults, store)


def modal_token(settings: Settings) -> Token | None:
    """Return the token to run on Modal with, or None to run here.

    Raises:
        BadToken: Modal is asked for, but not with a token that can be used.
    """
    if settings.executor == "local":
        return None
    token = settings.modal_token()
    if token is None:
        if settings.executor == "modal":
            raise BadToken(f"GREENROOM_EXECUTOR=modal needs a Modal token in .env; {WHERE}.")
        return None
    url, allow = settings.modal_server_url, settings.modal_allow_loopback
    if not is_trusted(url, allow_loopback=allow):
        raise BadToken(f"MODAL_SERVER_URL is {url}, which is not Modal's: the token stays here.")
    return token


def chosen_executor(settings: Settings, store: Store) -> AbstractAsyncContextManager[Executor]:
    """Make the executor that the settings ask for, and say why it is that one."""
    token = modal_token(settings)
    name = "local" if token is None else "modal"
    why = "there is a Modal token" if token else "there is no Modal token"
    if settings.executor != "auto":
        why = "GREENROOM_EXECUTOR says so"
    log.info("executor chosen", extra={"executor": name, "because": why})
    return local_executor(settings) if token is None else modal_executor(settings, token, store)


async def build_modal_image(settings: Settings, token: Token) -> str:
    """Build the image that runs on Modal are made from, and return its name."""
    from app.executors.modal.images import recipe_for  # noqa: PLC0415 - as above
    from app.executors.modal.publish import publish  # noqa: PLC0415

    recipe = recipe_for(LANGUAGES.values())
    await publish(token, server=settings.modal_server_url, recipe=recipe)
    return recipe.name


async def examine_modal(settings: Settings, token: Token) -> list[Check]:
    """Check what running on Modal needs."""
    from app.executors.modal.doctor import examine  # noqa: PLC0415 - as above
    from app.executors.modal.images import recipe_for  # noqa: PLC0415

    recipe = recipe_for(LANGUAGES.values())
    return await examine(token, server=settings.modal_server_url, recipe=recipe)


@asynccontextmanager
async def modal_loopback(settings: Settings) -> AsyncIterator[Settings]:
    """Start a Modal server of our own on this machine, and give settings that lead to it.

    For development: Modal's own client talks to it over the network, and it runs what it is told
    in local cells. No account is needed, and nothing leaves this machine.
    """
    from app.executors.modal.loopback import LoopbackModal  # noqa: PLC0415 - as above

    async with LoopbackModal(await to_thread.run_sync(tools_here, settings.environments)) as server:
        led = settings.model_copy(
            update={
                "executor": "modal",
                "modal_server_url": server.url,
                "modal_allow_loopback": True,
                "modal_token_id": SecretStr(server.token_id),
                "modal_token_secret": SecretStr(server.token_secret),
                "modal_api_key": None,
            }
        )
        token = modal_token(led)
        assert token is not None  # noqa: S101 - we have just made it
        await build_modal_image(led, token)
        yield led


def tools_here(environments: Path) -> dict[str, Toolchain]:
    """Return what a box of that Modal has, with the environments that are built in a folder."""
    tools: dict[str, Toolchain] = {}
    for each in LANGUAGES.values():
        name = each.image.executable  # of several languages, perhaps
        with suppress(NotFound):
            tools[name] = _with_all(each, tools.get(name) or each.find(None)[0], environments)
    return tools


def _with_all(language: Language, toolchain: Toolchain, environments: Path) -> Toolchain:
    """Return a toolchain with all environments that are built for it, as an image has them."""
    for each in language.environments:
        toolchain = toolchain.equipped(each, environments) or toolchain
    return toolchain


def slots_of(settings: Settings) -> int:
    """Return how many programs run at one time: here as many as there are processors."""
    return settings.slots if modal_token(settings) is None else settings.modal_max_boxes


def no_executor(settings: Settings, _: Store) -> AbstractAsyncContextManager[Executor]:
    """Run nothing here: other processes do that."""
    return nullcontext(ElsewhereExecutor(frozenset(offered(settings))))
