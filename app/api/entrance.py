"""Where somebody's key or token is taken from a request, and how it is refused."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any

from graphql import GraphQLFormattedError
from starlette.datastructures import Headers
from starlette.types import Scope

from app.access.doorkeeper import Doorkeeper
from app.access.rates import Window
from app.api.context import Visit
from app.api.refusals import Code, error_of
from app.api.requests import BadRequestError
from app.domain.errors import NotAdmitted, TooFast

_NAMES = ("authorization", "Authorization")


class Entrance:
    """Makes a visit of a request or a socket."""

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        self.doorkeeper = doorkeeper

    async def admit(self, scope: Scope) -> tuple[Visit, dict[str, str]]:
        """Return who sends a request, and the headers that the answer is to have.

        Raises:
            BadRequestError: nobody who may.
        """
        try:
            visit = await self.enter(scope, Headers(scope=scope).get("authorization"))
            window = await self.doorkeeper.requests.count(visit.caller)
        except NotAdmitted as error:
            raise _refusal(error) from error
        return visit, _headers(window)

    async def enter(self, scope: Scope, authorization: str | None) -> Visit:
        """Return who comes with an authorization.

        Raises:
            NotAdmitted: nobody who may.
        """
        address = address_of(scope)
        caller = await self.doorkeeper.admit(_credential(authorization), address)
        return Visit(caller=caller, address=address)

    async def greet(self, scope: Scope, payload: Mapping[str, Any]) -> Visit:
        """Return who opens a socket: by its first message, or else by its request.

        Raises:
            NotAdmitted: nobody who may.
        """
        said = next((payload[name] for name in _NAMES if name in payload), None)
        header = Headers(scope=scope).get("authorization")
        return await self.enter(scope, said if isinstance(said, str) else header)

    async def knock(self, scope: Scope) -> None:
        """Count a socket that is about to be opened, by nobody knows whom.

        Raises:
            TooFast: too many come from there.
        """
        await self.doorkeeper.requests.count_address(address_of(scope))

    async def count(self, visit: Visit) -> None:
        """Count an operation of a socket.

        Raises:
            TooFast: its client must wait.
        """
        await self.doorkeeper.requests.count_address(visit.address)
        await self.doorkeeper.requests.count(visit.caller)


def address_of(scope: Scope) -> str:
    """Return from where a request comes: what one customer of a network has for itself.

    That is an address of IPv4, and the first 64 bits of one of IPv6 (RFC 6177): whoever has one has
    all the others that begin so.
    """
    host = str(client[0]) if (client := scope.get("client")) else "unknown"
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv4Address):
        return host
    return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))


def said(error: NotAdmitted) -> GraphQLFormattedError:
    """Say in GraphQL why somebody is not admitted."""
    return error_of(_code(error), str(error), **_details(error))


def _code(error: NotAdmitted) -> Code:
    return Code.RATE_LIMITED if isinstance(error, TooFast) else Code.UNAUTHENTICATED


def _details(error: NotAdmitted) -> dict[str, int]:
    if isinstance(error, TooFast):
        return {"retryAfterMs": math.ceil(error.retry_after * 1000)}
    return {}


def _credential(authorization: str | None) -> str | None:
    scheme, _, credential = (authorization or "").strip().partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else None


def _refusal(error: NotAdmitted) -> BadRequestError:
    if isinstance(error, TooFast):
        seconds = str(math.ceil(error.retry_after))
        status, headers = 429, {"Retry-After": seconds, **_left(error.limit, 0, seconds)}
    else:
        status, headers = 401, {"WWW-Authenticate": 'Bearer realm="Greenroom"'}
    return BadRequestError(status, _code(error), str(error), headers, **_details(error))


def _headers(window: Window | None) -> dict[str, str]:
    if window is None:
        return {}
    seconds = max((window.reset_at - datetime.now(UTC)).total_seconds(), 0)
    return _left(window.limit, window.remaining, str(math.ceil(seconds)))


def _left(limit: int, remaining: int, seconds: str) -> dict[str, str]:
    """Write what is left, as draft-ietf-httpapi-ratelimit-headers has it."""
    return {
        "RateLimit-Limit": str(limit),
        "RateLimit-Remaining": str(remaining),
        "RateLimit-Reset": seconds,
    }
