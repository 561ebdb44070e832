"""GraphQL over HTTP, and the page for browsers on the same address."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from strawberry.schema import Schema
from strawberry.schema.exceptions import InvalidOperationTypeError
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from app.api.context import Context, Services
from app.api.guards import apology, mask, note
from app.api.page import graphiql_page
from app.api.requests import (
    JSON_TYPE,
    RESPONSE_TYPE,
    BadRequestError,
    GraphQLRequest,
    negotiate,
    read_get,
    read_post,
    wants_html,
)

ALLOWED_METHODS = "GET, POST"


class GraphQLView:
    """Answers everything at `/graphql`: an endpoint for Starlette's router."""

    def __init__(
        self, schema: Schema, services: Services, *, max_body: int, has_page: bool
    ) -> None:
        self._schema, self._services = schema, services
        self._max_body, self._has_page = max_body, has_page

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
        kind = negotiate(accept)
        if kind is None:
            message = f"This endpoint answers with {RESPONSE_TYPE} or {JSON_TYPE}."
            return _failure(HTTPStatus.NOT_ACCEPTABLE, message)
        try:
            return await self._answer(request, kind)
        except BadRequestError as error:
            return _failure(error.status, error.message, kind, error.headers)
        except Exception as error:  # noqa: BLE001 - a request ends here, and it is logged
            return _failure(HTTPStatus.INTERNAL_SERVER_ERROR, apology(note(error)), kind)

    async def _answer(self, request: Request, kind: str) -> Response:
        match request.method:
            case "POST":
                asked = await read_post(request, self._max_body)
            case "GET" | "HEAD":
                asked = read_get(request.query_params)
            case method:
                message = f"{method} is not allowed here."
                headers = {"Allow": ALLOWED_METHODS}
                raise BadRequestError(HTTPStatus.METHOD_NOT_ALLOWED, message, headers)
        return _response(await self._execute(asked, Context(self._services)), kind)

    async def _execute(self, asked: GraphQLRequest, context: Context) -> ExecutionResult:
        try:
            return await self._schema.execute(
                asked.query,
                variable_values=asked.variables,
                operation_name=asked.operation_name,
                context_value=context,
                allowed_operation_types=asked.allowed,
            )
        except InvalidOperationTypeError as error:
            raise _wrong_operation(error.operation_type) from error


def _wrong_operation(operation: OperationType) -> BadRequestError:
    if operation is OperationType.MUTATION:
        message = "A mutation must be sent by POST."
        return BadRequestError(HTTPStatus.METHOD_NOT_ALLOWED, message, {"Allow": "POST"})
    message = "This endpoint has no subscriptions."
    return BadRequestError(HTTPStatus.BAD_REQUEST, message)


def _response(result: ExecutionResult, kind: str) -> Response:
    errors = [mask(error) for error in result.errors or ()]
    # Without data and without a path nothing was executed: the request itself was wrong.
    is_request_error = result.data is None and not any("path" in error for error in errors)
    body: dict[str, object] = {"errors": errors} if errors else {}
    if not is_request_error:
        body["data"] = result.data
    is_bad = is_request_error and kind == RESPONSE_TYPE
    return _json(body, kind, HTTPStatus.BAD_REQUEST if is_bad else HTTPStatus.OK)


def _failure(
    status: int, message: str, kind: str = JSON_TYPE, headers: Mapping[str, str] | None = None
) -> Response:
    return _json({"errors": [{"message": message}]}, kind, status, headers)


def _no_page() -> Response:
    return _failure(HTTPStatus.NOT_FOUND, "There is no page here.")


def _json(
    body: Mapping[str, object], kind: str, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(
        json.dumps(body, separators=(",", ":")),
        status_code=status,
        media_type=f"{kind}; charset=utf-8",
        headers={"Vary": "Accept", "Cache-Control": "no-store", **(headers or {})},
    )
