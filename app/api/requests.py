"""A GraphQL request as it comes over HTTP, read with suspicion.

Source: the GraphQL-over-HTTP specification (draft of 2025), https://graphql.github.io/graphql-over-http/
"""

import json
import re
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import anyio
from graphql import OperationType
from starlette.datastructures import Headers, QueryParams
from starlette.requests import ClientDisconnect, Request

from app.api.lane import Lane, LaneFullError
from app.api.refusals import Code

RESPONSE_TYPE = "application/graphql-response+json"
JSON_TYPE = "application/json"
EVENT_STREAM_TYPE = "text/event-stream"
MULTIPART_TYPE = "multipart/mixed"
_SMALL = 16 * 1024  # bytes of JSON, which take less than a millisecond to read, whatever they are
_FEW_VALUES = 10_000
_MOST_STRUCTURE = 64 * 1024  # bytes of a body that are not in texts
# A text that does not end goes on to the end: where this begins to match, it matches.
_TEXTS = re.compile(rb'"(?:[^"\\]++|\\.|\\\Z)*+(?:"|\Z)', re.DOTALL)
_HANG_UP = {"Connection": "close"}
_KINDS = {RESPONSE_TYPE, JSON_TYPE, EVENT_STREAM_TYPE, MULTIPART_TYPE}


class BadRequestError(Exception):
    """A request that is no GraphQL request; carries the HTTP status and headers of the answer."""

    def __init__(
        self,
        status: int,
        code: Code,
        message: str,
        headers: dict[str, str] | None = None,
        **details: int,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers, self.details = headers or {}, details


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyBounds:
    """How much is read of a request, and for how long."""

    size: int
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphQLRequest:
    """A document and what belongs to it."""

    query: str
    variables: dict[str, Any] | None
    operation_name: str | None
    allowed: frozenset[OperationType]


def acceptable(accept: str | None) -> list[str]:
    """Return the media types of ours that an answer may have: by weight, then by order."""
    parts = (accept or "*/*").split(",")
    weighted = [(*_weigh(part), "subscriptionspec" in part.lower()) for part in parts]
    kinds = []
    for weight, kind, is_of_subscriptions in sorted(weighted, key=lambda each: -each[0]):
        # Without that word, it is for a kind of answer that we do not have (`@defer`).
        is_ours = kind in _KINDS and (kind != MULTIPART_TYPE or is_of_subscriptions)
        if weight > 0 and is_ours:
            kinds.append(kind)
        elif weight > 0 and kind in {"*/*", "application/*"}:
            kinds.append(JSON_TYPE)
    return kinds


def wants_html(accept: str | None) -> bool:
    """Whether a browser asks for a page: HTML before any kind of JSON."""
    weighted = [_weigh(part) for part in (accept or "").split(",")]
    kinds = [kind for weight, kind in sorted(weighted, key=lambda each: -each[0]) if weight > 0]
    json_kinds = (RESPONSE_TYPE, JSON_TYPE)
    first = next((kind for kind in kinds if kind in {"text/html", *json_kinds}), None)
    return first == "text/html"


def _weigh(part: str) -> tuple[float, str]:
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return _number(value), kind
    return 1.0, kind


def _number(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0


async def read_post(request: Request, bounds: BodyBounds, lane: Lane) -> GraphQLRequest:
    """Read a POST.

    Raises:
        BadRequestError: it is no GraphQL request.
    """
    _require_json(request.headers)
    fields = await read_json(await _read_body(request, bounds), lane)
    if not isinstance(fields, dict):
        _refuse("The body must be a JSON object with `query`.")
    operation_types = frozenset({OperationType.QUERY, OperationType.MUTATION})
    return _request(fields, operation_types)


async def read_get(parameters: QueryParams, lane: Lane) -> GraphQLRequest:
    """Read a GET, which may only query.

    Raises:
        BadRequestError: it is no GraphQL request.
    """
    fields: dict[str, Any] = {
        name: parameters.get(name) for name in ("query", "operationName") if name in parameters
    }
    if parameters.get("variables"):
        text = parameters["variables"].encode(errors="surrogatepass")
        fields["variables"] = await read_json(text, lane)
    return _request(fields, frozenset({OperationType.QUERY}))


def read_operation(fields: dict[str, Any]) -> GraphQLRequest:
    """Read the payload of a message that may ask for any kind of operation.

    Raises:
        BadRequestError: it is no GraphQL request.
    """
    return _request(fields, frozenset(OperationType))


def _request(fields: dict[str, Any], allowed: frozenset[OperationType]) -> GraphQLRequest:
    query = fields.get("query")
    variables = fields.get("variables")
    operation_name = fields.get("operationName")
    if not isinstance(query, str) or not query:
        _refuse("`query` must be a string with a GraphQL document.")
    if variables is not None and not isinstance(variables, dict):
        _refuse("`variables` must be an object.")
    if operation_name is not None and not isinstance(operation_name, str):
        _refuse("`operationName` must be a string.")
    if not isinstance(fields.get("extensions"), dict | None):
        _refuse("`extensions` must be an object.")
    return GraphQLRequest(
        query=query, variables=variables, operation_name=operation_name or None, allowed=allowed
    )


def _require_json(headers: Headers) -> None:
    kind, *parameters = (
        part.strip().lower() for part in headers.get("content-type", "").split(";")
    )
    charsets = [each for each in parameters if each.startswith("charset=")]
    is_utf8 = all(each.partition("=")[2].strip('"') in {"utf-8", "utf8"} for each in charsets)
    if kind != JSON_TYPE or not is_utf8:
        message = "Send `Content-Type: application/json` (UTF-8)."
        accept = {"Accept": JSON_TYPE}
        raise BadRequestError(415, Code.UNSUPPORTED_MEDIA_TYPE, message, accept)


async def _read_body(request: Request, bounds: BodyBounds) -> bytes:
    """Read the body, counting what arrives: a stated length may be missing or a lie."""
    with anyio.move_on_after(bounds.time):
        try:
            return await _read_chunks(request, bounds.size)
        except ClientDisconnect as error:
            message = "The client went away."
            raise BadRequestError(400, Code.BAD_REQUEST, message) from error
    message = f"The body did not arrive within {bounds.time:g} s."
    raise BadRequestError(408, Code.BODY_TIMEOUT, message, _HANG_UP)


async def _read_chunks(request: Request, most: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            message = f"The body may have at most {most} bytes."
            raise BadRequestError(413, Code.BODY_TOO_LARGE, message, _HANG_UP)
    return bytes(body)


async def read_json(text: bytes, lane: Lane) -> Any:
    """Read JSON of any size, a large one in its turn.

    Raises:
        BadRequestError: it is none, or nested too deeply, or too many wait for their turn.
    """
    if len(text) <= _SMALL:
        return parse_json(text)
    try:
        return await lane.do(partial(_parse_large, text))
    except LaneFullError as error:
        raise BadRequestError(503, Code.UNAVAILABLE, str(error), {"Retry-After": "1"}) from error


def _parse_large(text: bytes) -> Any:
    """Read JSON, unless it is of millions of tiny values: they take a hundred times its size.

    What a large request of ours is large of are texts: what is left without them is small.
    """
    # First what is quickly counted; texts may have many of these as well.
    values = sum(text.count(each) for each in (b",", b"[", b"{"))
    if values > _FEW_VALUES and len(_TEXTS.sub(b"", text)) > _MOST_STRUCTURE:
        _refuse("The body has too many values.")
    return parse_json(text)


def parse_json(text: bytes) -> Any:
    """Read JSON.

    Raises:
        BadRequestError: it is none, or nested too deeply.
    """
    try:
        return json.loads(text.decode(), parse_constant=_no_constant)
    except RecursionError:
        _refuse("The JSON is nested too deeply.")
    except ValueError as error:
        _refuse(f"That is not valid JSON: {error}.")


def _no_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _refuse(message: str) -> NoReturn:
    raise BadRequestError(400, Code.BAD_REQUEST, message)
