"""Numbers beyond 32 bits and moments, between JSON and us."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from graphql import GraphQLError

from app.api.scalars import SCALARS, BigInt

BIG_INT = SCALARS[BigInt]
MOMENT = SCALARS[datetime]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, 0),
        (-1, -1),
        (2**63 - 1, 2**63 - 1),
        (-(2**63) + 1, -(2**63) + 1),
        (1e15, 10**15),
        ("0", 0),
        ("-12", -12),
        (str(2**63 - 1), 2**63 - 1),
    ],
)
def test_a_whole_number(value: Any, number: int) -> None:
    assert BIG_INT.parse_value
    assert BIG_INT.parse_value(value) == number


@pytest.mark.parametrize(
    "value",
    [
        *(2**63, -(2**63), 1.5, float("inf"), float("nan"), 1e300, True, None, [], {}),
        *("", "-", "1.0", "1e3", " 1", "+1", "0x10", "1_000", "٣", "--1", "9" * 20, "9" * 100_000),
    ],
)
def test_no_whole_number(value: Any) -> None:
    assert BIG_INT.parse_value
    with pytest.raises(GraphQLError, match="BigInt cannot represent") as caught:
        BIG_INT.parse_value(value)
    assert len(caught.value.message) < 120


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00+00:00",
        "2026-01-31T13:30:00+01:30",
        "2026-01-31T00:00:00-12:00",
    ],
)
def test_a_moment_with_an_offset(text: str) -> None:
    assert MOMENT.parse_value
    assert MOMENT.parse_value(text) == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("value", ["", "12:00", "2026-01-31T12:00:00", "x" * 10_000, 0, None, True])
def test_no_moment(value: Any) -> None:
    assert MOMENT.parse_value
    with pytest.raises(GraphQLError, match="DateTime cannot represent") as caught:
        MOMENT.parse_value(value)
    assert len(caught.value.message) < 150


def test_moments_are_said_in_utc() -> None:
    assert MOMENT.serialize
    moment = datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=timezone(timedelta(hours=2)))
    assert MOMENT.serialize(moment) == "2026-01-31T10:00:00.000005Z"
