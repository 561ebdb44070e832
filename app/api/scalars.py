"""Scalars that GraphQL does not bring."""

from datetime import UTC, datetime
from typing import Any, NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

BigInt = NewType("BigInt", int)
Json = NewType("Json", object)

_MAX_DIGITS = 19  # those of 2**63
_MAX_BIG_INT = 2**63 - 1


def _parse_big_int(value: object) -> int:
    if isinstance(value, str) and len(value) <= _MAX_DIGITS + 1 and _is_digits(value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MAX_BIG_INT:
        return value
    message = f"BigInt cannot represent {_short(value)}; it is a whole number below 2^63."
    raise GraphQLError(message)


def _is_digits(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit()


def _serialize_time(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _parse_time(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    message = (
        f"DateTime cannot represent {_short(value)}; "
        "it is RFC 3339 with an offset, such as 2026-01-31T12:00:00Z."
    )
    raise GraphQLError(message)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."  # noqa: PLR2004 - for a message


def _same(value: object) -> Any:
    return value


SCALARS: dict[object, ScalarDefinition] = {
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A whole number up to 2^63 - 1, as a JSON number; a string of digits is "
        "accepted too. Sizes are in bytes.",
        serialize=int,
        parse_value=_parse_big_int,
    ),
    Json: strawberry.scalar(
        name="JSON", description="Any JSON value.", serialize=_same, parse_value=_same
    ),
    datetime: strawberry.scalar(
        name="DateTime",
        description="A moment in RFC 3339, always in UTC with `Z`.",
        serialize=_serialize_time,
        parse_value=_parse_time,
    ),
}
