"""Puts the rooms together; the only module, with `cli`, that knows them all."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

from anyio import to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
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
from app.executions.compiling import Workshop
from app.executions.products import Products
from app.executions.pulse import open_pulse
from app.executions.retention import open_eraser
from app.executions.service import open_service
from app.executions.slots import Slots
from app.executions.vigil import open_vigil
from app.executor_factory import (
    LANGUAGES,
    ExecutorFactory,
    chosen_executor,
    no_executor,
    slots_of,
)
from app.settings import Settings
from app.storage.store import Bounds, Store

log = logging.getLogger(__name__)


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
        open_executor = no_executor
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
