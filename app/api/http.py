"""GraphQL over HTTP, and the page for browsers on the same address."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus

from graphql import GraphQLFormattedError, OperationType
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.context import Visit
from app.api.entrance import Entrance
from app.api.guards import failure
from app.api.operations import Operations, Result, WrongOperationError, is_request_error
from app.api.page import graphiql_page
from app.api.refusals import Code, error_of
from app.api.requests import (
    JSON_TYPE,
    MULTIPART_TYPE,
    RESPONSE_TYPE,
    BadRequestError,
    BodyBounds,
    GraphQLRequest,
    acceptable,
    read_get,
    read_post,
    wants_html,
)
from app.api.streaming import FRAMINGS, StreamedResponse
from app.api.streams import Streams
from app.storage.errors import StorageError

ALLOWED_METHODS = "GET, POST"


class GraphQLView:
    """Answers everything at `/graphql`: an endpoint for Starlette's router."""

    def __init__(
        self,
        operations: Operations,
        streams: Streams,
        entrance: Entrance,
        *,
        body: BodyBounds,
        has_page: bool,
    ) -> None:
        self._operations, self._streams, self._entrance = operations, streams, entrance
        self._body, self._has_page = body, has_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever is wrong with it is said in JSON."""
        response = await self._respond(Request(scope, receive))
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        accept = request.headers.get("accept")
        is_read = request.method in {"GET", "HEAD"}
        if is_read and "query" not in request.query_params and wants_html(accept):
            return await graphiql_page() if self._has_page else _no_page()
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": ALLOWED_METHODS})
        kinds = acceptable(accept)
        if not kinds:
            message = f"This endpoint answers with {RESPONSE_TYPE} or {JSON_TYPE}."
            return _failure(HTTPStatus.NOT_ACCEPTABLE, error_of(Code.NOT_ACCEPTABLE, message))
        kind = next((kind for kind in kinds if kind not in FRAMINGS), JSON_TYPE)
        try:
            return await self._welcome(request, kinds)
        except BadRequestError as error:
            said = error_of(error.code, error.message, **error.details)
            return _failure(error.status, said, kind, error.headers)
        except Exception as error:  # noqa: BLE001 - a request ends here, and it is logged
            is_away = isinstance(error, StorageError)
            status = HTTPStatus.SERVICE_UNAVAILABLE if is_away else HTTPStatus.INTERNAL_SERVER_ERROR
            return _failure(status, failure(error), kind)

    async def _welcome(self, request: Request, kinds: Sequence[str]) -> Response:
        visit, headers = await self._entrance.admit(request.scope)
        try:
            response = await self._answer(await self._read(request), kinds, visit)
        except BadRequestError as error:
            error.headers = {**error.headers, **headers}
            raise
        response.headers.update(headers)
        return response

    async def _read(self, request: Request) -> GraphQLRequest:
        match request.method:
            case "POST":
                return await read_post(request, self._body, self._operations.lane)
            case "GET" | "HEAD":
                return await read_get(request.query_params, self._operations.lane)
            case method:
                message = f"{method} is not allowed here."
                headers = {"Allow": ALLOWED_METHODS}
                raise BadRequestError(405, Code.METHOD_NOT_ALLOWED, message, headers)

    async def _answer(self, asked: GraphQLRequest, kinds: Sequence[str], visit: Visit) -> Response:
        """Answer in the way that the client likes best, of those in which it can be done."""
        ongoing = next((kind for kind in kinds if kind in FRAMINGS), None)
        if kinds[0] == ongoing:
            return self._stream(asked, ongoing, visit)
        try:
            return _response(await self._operations.execute(asked, visit), kinds[0])
        except WrongOperationError as error:
            # Some clients accept event streams with every request, and mean subscriptions.
            if error.kind is OperationType.SUBSCRIPTION and ongoing:
                return self._stream(asked, ongoing, visit)
            raise _wrong_operation(error.kind) from error

    def _stream(self, asked: GraphQLRequest, kind: str, visit: Visit) -> Response:
        asked = replace(asked, allowed=asked.allowed | {OperationType.SUBSCRIPTION})
        return StreamedResponse(
            FRAMINGS[kind],
            self._operations.stream(asked, visit),
            self._streams,
            visit.caller,
            self._entrance.doorkeeper.until_shut_out,
        )


def _wrong_operation(operation: OperationType) -> BadRequestError:
    if operation is OperationType.MUTATION:
        message = "A mutation must be sent by POST."
        return BadRequestError(405, Code.METHOD_NOT_ALLOWED, message, {"Allow": "POST"})
    message = (
        "A subscription needs `Accept: text/event-stream`, "
        f"`Accept: {MULTIPART_TYPE};subscriptionSpec=1.0` or a WebSocket."
    )
    return BadRequestError(400, Code.OPERATION_NOT_ALLOWED, message)


def _response(result: Result, kind: str) -> Response:
    is_bad = is_request_error(result) and kind == RESPONSE_TYPE
    return _json(result, kind, HTTPStatus.BAD_REQUEST if is_bad else HTTPStatus.OK)


def _failure(
    status: int,
    error: GraphQLFormattedError,
    kind: str = JSON_TYPE,
    headers: Mapping[str, str] | None = None,
) -> Response:
    return _json({"errors": [error]}, kind, status, headers)


def _no_page() -> Response:
    return _failure(HTTPStatus.NOT_FOUND, error_of(Code.NOT_FOUND, "There is no page here."))


def _json(
    body: Mapping[str, object], kind: str, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(
        json.dumps(body, separators=(",", ":")),
        status_code=status,
        media_type=f"{kind}; charset=utf-8",
        headers={"Vary": "Accept", "Cache-Control": "no-store", **(headers or {})},
    )
