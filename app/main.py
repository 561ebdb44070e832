"""Puts the rooms together; the only module, with `cli`, that knows them all."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anyio import to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.access.audit import Auditor
from app.access.doorkeeper import Doorkeeper, open_doorkeeper
from app.access.rates import storage_for
from app.api.bounds import Bounds as OperationBounds
from app.api.context import Services
from app.api.doors import LOCAL_ORIGIN, Doors
from app.api.entrance import Entrance
from app.api.http import GraphQLView
from app.api.metrics import metrics
from app.api.operations import Operations
from app.api.page import GraphiQLFiles
from app.api.requestlog import RequestLog
from app.api.requests import BodyBounds
from app.api.schema import schema
from app.api.socket import GraphQLSocket
from app.api.streams import Room, Streams
from app.domain.errors import Check
from app.domain.language import Language, NotFound, Toolchain
from app.domain.ports import Executor
from app.executions.compiling import Workshop
from app.executions.products import Products
from app.executions.pulse import open_pulse
from app.executions.retention import open_eraser
from app.executions.service import open_service
from app.executions.slots import Slots
from app.executions.vigil import open_vigil
from app.executors.elsewhere import ElsewhereExecutor
from app.executors.local.executor import LocalExecutor
from app.executors.modal.credentials import WHERE, BadToken, Token, is_trusted
from app.languages import all_languages
from app.settings import Settings
from app.storage.store import Bounds, Store

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


def _nothing(settings: Settings, _: Store) -> AbstractAsyncContextManager[Executor]:
    return nullcontext(ElsewhereExecutor(frozenset(offered(settings))))


def bounds_of(settings: Settings) -> OperationBounds:
    """Return how much an operation may ask for."""
    return OperationBounds(
        length=settings.max_document,
        tokens=settings.max_tokens,
        depth=settings.max_depth,
        aliases=settings.max_aliases,
        fragments=settings.max_fragments,
        root_fields=settings.max_root_fields,
        directives=settings.max_directives,
        cost=settings.max_cost,
        errors=settings.max_errors,
        time=settings.operation_time,
        kept=settings.document_cache,
        introspection=settings.introspection and not settings.production,
        suggestions=settings.suggestions and not settings.production,
    )


def create_app(settings: Settings, services: Services) -> FastAPI:
    """Return the application around services that are open for as long as it serves."""
    entrance = Entrance(services.doorkeeper)
    routes = [*_graphql(settings, services, entrance), *_watched(services, entrance)]
    app = FastAPI(openapi_url=None, routes=routes)
    _guard(app, settings)
    return app


def create_watched_app(settings: Settings, services: Services) -> FastAPI:
    """Return the part of the application that says how the process is."""
    app = FastAPI(openapi_url=None, routes=_watched(services, Entrance(services.doorkeeper)))
    _guard(app, settings)
    return app


def _graphql(settings: Settings, services: Services, entrance: Entrance) -> list[BaseRoute]:
    operations = Operations(schema._schema, services, bounds_of(settings))  # noqa: SLF001 - public
    streams = services.streams
    has_page = settings.graphiql and not settings.production
    view = GraphQLView(
        operations,
        streams,
        entrance,
        body=BodyBounds(size=settings.max_body, time=settings.body_time),
        has_page=has_page,
    )
    return [
        *([Route("/", _front_door)] if has_page else []),
        Route("/graphql", view),
        WebSocketRoute("/graphql", GraphQLSocket(operations, streams, entrance)),
        Mount("/graphiql", GraphiQLFiles()),
    ]


def _watched(services: Services, entrance: Entrance) -> list[BaseRoute]:
    return [
        Route("/healthz", _is_up),
        Route("/readyz", partial(_is_ready, services)),
        Route("/metrics", partial(metrics, services, entrance)),
    ]


def _guard(app: FastAPI, settings: Settings) -> None:
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_origin_regex=LOCAL_ORIGIN if settings.cors_localhost else None,
        allow_methods=["GET", "POST"],
        allow_headers=[
            "authorization",
            "content-type",
            "x-apollo-operation-name",
            "apollo-require-preflight",
            "graphql-require-preflight",
        ],
        expose_headers=[
            "ratelimit-limit",
            "ratelimit-remaining",
            "ratelimit-reset",
            "retry-after",
            "x-request-id",
        ],
        max_age=3600,
    )
    app.add_middleware(
        Doors,
        hosts=settings.allowed_hosts,
        origins=settings.cors_origins,
        local_origins=settings.cors_localhost,
    )
    # Before the doors: whether an origin is ours depends on the scheme, which a proxy tells.
    app.add_middleware(
        cast("Any", ProxyHeadersMiddleware), trusted_hosts=list(settings.trusted_proxies)
    )
    # The outermost: who is not let in leaves a line too.
    app.add_middleware(RequestLog)


@asynccontextmanager
async def open_services(
    settings: Settings, open_executor: ExecutorFactory = chosen_executor, *, execute: bool = True
) -> AsyncIterator[Services]:
    """Open the database and the executor, and what works on them; drain in the end.

    Without `execute` nothing is run here: other processes on the same database do that.
    """
    if not execute:
        open_executor = _nothing
    store = Store(settings.database_url.get_secret_value(), lease_time=settings.lease)
    products = Products(settings.compile_cache)
    try:
        await store.ping()
        tokens = settings.tokens()
        is_guarding = tokens.can_read or await store.registry.has_keys()
        log.info("doors", extra={"ask": "for keys and tokens" if is_guarding else "nobody"})
        # Also where nobody is answered: who runs a program counts what it has used.
        store.shares = settings.shares if is_guarding else None
        doorkeeper = Doorkeeper(
            store.registry,
            tokens,
            requests=settings.rates("requests"),
            executions=settings.rates("executions"),
            storage=storage_for(store.registry, is_shared=store.is_shared),
            is_guarding=is_guarding,
        )
        async with (
            # Languages are looked for on the disk.
            await to_thread.run_sync(open_executor, settings, store) as executor,
            open_service(
                store=store,
                executor=executor,
                languages=LANGUAGES,
                rules=settings.rules,
                bounds=Bounds(owned=settings.queue_size_per_owner, in_all=settings.queue_size),
                slots=Slots(slots_of(settings)) if execute else None,
                drain=settings.drain,
                workshop=Workshop(products=products, limits=settings.compile_limits),
                idle=settings.interactive_idle,
                tests_time=settings.tests_time,
            ) as executions,
            open_pulse(store) as pulse,
            open_vigil(executor) as vigil,
            open_eraser(store, executions, retention=settings.retention) as eraser,
            open_doorkeeper(doorkeeper),
        ):
            yield Services(
                executions=executions,
                history=store,
                eraser=eraser,
                pulse=pulse,
                vigil=vigil,
                languages=LANGUAGES,
                streams=Streams(_room(settings, is_guarding=is_guarding)),
                doorkeeper=doorkeeper,
                auditor=Auditor(store.registry, is_on=is_guarding),
            )
    finally:
        await to_thread.run_sync(products.close)
        await store.close()


def _room(settings: Settings, *, is_guarding: bool) -> Room:
    if not is_guarding:  # everybody is the same one
        return Room(in_all=settings.max_subscribers)
    return Room(
        in_all=settings.max_subscribers,
        of_owner=settings.max_subscribers_per_owner,
        of_subject=settings.max_subscribers_per_subject,
    )


async def is_guarded(settings: Settings) -> bool:
    """Whether a server with these settings asks callers who they are."""
    store = Store(settings.database_url.get_secret_value())
    try:
        return settings.tokens().can_read or await store.registry.has_keys()
    finally:
        await store.close()


async def _front_door(_: Request) -> RedirectResponse:
    return RedirectResponse("/graphql")


async def _is_up(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


async def _is_ready(services: Services, _: Request) -> JSONResponse:
    """Say whether requests can be answered, for whoever distributes them."""
    problem = await _problem(services)
    return JSONResponse({"status": problem or "ok"}, status_code=503 if problem else 200)


async def _problem(services: Services) -> str | None:
    if services.executions.is_closing:
        return "stopping"
    if not (await services.pulse.feel()).is_alive:
        return "database unavailable"
    if services.vigil.problem is not None:
        return "executor unavailable"
    return None
