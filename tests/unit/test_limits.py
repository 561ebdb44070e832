"""Limits: how they compare, and how they are said to people."""

from dataclasses import fields, replace

import pytest

from app.domain.limits import (
    DEFAULT_LIMITS,
    GIB,
    KIB,
    MAXIMUM_LIMITS,
    MIB,
    Limits,
    describe_limit,
    describe_size,
)

NAMES = [field.name for field in fields(Limits)]


def test_the_defaults_are_within_the_maximum() -> None:
    assert list(DEFAULT_LIMITS.above(MAXIMUM_LIMITS)) == []
    assert list(DEFAULT_LIMITS.not_positive()) == []


@pytest.mark.parametrize("name", NAMES)
def test_each_limit_above_the_maximum_is_named(name: str) -> None:
    greedy = replace(MAXIMUM_LIMITS, **{name: getattr(MAXIMUM_LIMITS, name) + 1})
    assert list(greedy.above(MAXIMUM_LIMITS)) == [name]


def test_every_limit_that_is_too_high_is_named_in_order() -> None:
    assert list(MAXIMUM_LIMITS.above(DEFAULT_LIMITS)) == NAMES


def test_the_maximum_itself_is_allowed() -> None:
    assert list(MAXIMUM_LIMITS.above(MAXIMUM_LIMITS)) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [0, -1])
def test_no_limit_is_zero_or_less(name: str, value: int) -> None:
    assert list(replace(DEFAULT_LIMITS, **{name: value}).not_positive()) == [name]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("wall_time", 10.0, "10 s"),
        ("cpu_time", 2.5, "2.5 s"),
        ("cpu_time", 0.001, "0.001 s"),
        ("wall_time", 2147483.647, "2147483.647 s"),
        ("memory", 256 * MIB, "256 MiB"),
        ("memory", GIB, "1 GiB"),
        ("disk", 2_000_000_001, "2000000001 bytes"),
        ("output", 1536 * KIB, "1536 KiB"),
        ("processes", 64, "64"),
        ("processes", 1024, "1024"),
    ],
)
def test_a_limit_is_said_as_a_person_would(name: str, value: float, said: str) -> None:
    assert describe_limit(name, value) == said


@pytest.mark.parametrize("size", [0, 1, KIB - 1, KIB, KIB + 1, MIB, 3 * GIB, GIB + 1])
def test_a_size_is_exact_in_whatever_unit(size: int) -> None:
    number, unit = describe_size(size).split()
    assert int(number) * {"bytes": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}[unit] == size
