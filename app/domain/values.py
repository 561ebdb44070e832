"""Values: those of JSON and their numbers, equal exactly or within a tolerance.

What is read here can be hostile. Nothing is nested deeper than `DEEPEST`, whatever stack is left
when it is read; a number is an `int` or a `Decimal`, which takes any digits in linear time.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import zip_longest
from typing import Any

from app.domain.contrast import contrast, shown

DEEPEST = 400  # levels; Python's own stack has a thousand
_LONGEST_INT = 640  # digits; no setting of Python makes `int` refuse these
_LONGEST_STEP = 40  # characters of a key in a path
_LONGEST_PATH = 2000  # characters of a path, from its end
_NUMBERS = frozenset({int, float, Decimal})  # and not `bool`, which is an `int` to Python
_NOTHING = object()  # what stands where one of two has no value

# What stands before a string, and the string, even one without an end.
# Possessive: 8 MiB of quotation marks and backslashes must not make it look twice.
_OUTSIDE = re.compile(rb'([^"]*+)(?:"(?:[^"\\]++|\\.?)*+"?)?', re.DOTALL)
_STEPS = bytes.maketrans(b"[{]}", b"\2\2\0\0")  # one more than the step in depth, as no byte is -1
_NO_STEPS = bytes(set(range(256)) - set(b"[{]}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far a number may be from the expected one: by either of these is near enough."""

    absolute: float = 1e-9
    relative: float = 1e-9
    """To the expected number."""

    def allows(self, actual: float, expected: float) -> bool:
        """Tell whether a number is near enough; NaN is to NaN, and an infinity to itself."""
        if math.isnan(expected):
            return math.isnan(actual)
        if math.isinf(expected) or math.isinf(actual):
            return actual == expected
        return abs(actual - expected) <= max(self.absolute, self.relative * abs(expected))


def parse(text: bytes | str, *, most_values: int | None = None) -> object:
    """Read JSON as RFC 8259 has it; a byte order mark before it is ignored, as allowed there.

    A key that an object gives twice is refused: readers differ in which value they take.

    Args:
        text: UTF-8 if bytes.
        most_values: how many values are read at most, about; None for any number of them.

    Raises:
        ValueError: it is not JSON, or none that is read here; the message completes "it is ...".
    """
    raw = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    _check_shape(raw, most_values)
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        return json.loads(
            decoded.removeprefix("\ufeff"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_decimal,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"not JSON: byte {error.start + 1} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    except RecursionError:
        raise ValueError("JSON that is nested too deep") from None


def count_values(text: bytes) -> int:
    """Return how many values some JSON has at most, about, without reading it."""
    return sum(text.count(mark) for mark in (b",", b"[", b"{"))


def equal_values(actual: object, expected: object, tolerance: Tolerance | None = None) -> bool:
    """Tell whether two values of `parse` are equal; without a tolerance, numbers are exactly so."""
    return not _unequal(actual, expected, tolerance)


def first_difference(actual: object, expected: object, tolerance: Tolerance | None = None) -> str:
    """Say where two values of `parse` differ first: `$.a[3]: expected 1, got 2`; "" if nowhere."""
    if not (found := _unequal(actual, expected, tolerance)):
        return ""
    path, said = found
    return f"${path if len(path) <= _LONGEST_PATH else '…' + path[-_LONGEST_PATH:]}: {said}"


def _check_shape(raw: bytes, most_values: int | None) -> None:
    """Look how deep and how many before anything is built: a value takes fifty bytes and more."""
    is_shallow = raw.count(b"[") + raw.count(b"{") <= DEEPEST
    if is_shallow and (most_values is None or count_values(raw) <= most_values):
        return
    depth = values = 0
    for outside in (match[1] for match in _OUTSIDE.finditer(raw)):
        values += count_values(outside)
        if most_values is not None and values > most_values:
            raise ValueError(f"not as expected: it has more than {most_values} values")
        for step in outside.translate(_STEPS, _NO_STEPS):
            depth += step - 1
            if depth > DEEPEST:
                raise ValueError(f"JSON that is nested deeper than {DEEPEST} levels")


def _object(members: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(members)
    if len(result) < len(members):
        twice = next(key for key, count in Counter(key for key, _ in members).items() if count > 1)
        raise ValueError(f'JSON with the key "{shown(twice)}" twice in one object')
    return result


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _LONGEST_INT else _decimal(digits)


def _decimal(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        raise ValueError(f"JSON with a number out of all bounds: {shown(digits)}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"not JSON: it has no {name}")


def _unequal(
    actual: object, expected: object, tolerance: Tolerance | None
) -> tuple[str, str] | None:
    """Return the path to the first difference, and what to say of it."""
    if not (isinstance(actual, dict | list) and type(actual) is type(expected)):
        return None if _is_same(actual, expected, tolerance) else ("", _say(actual, expected))
    for step, given, wanted in _children(actual, expected):
        if found := _unequal(given, wanted, tolerance):
            return _step(step) + found[0], found[1]
    return None


def _children(actual: Any, expected: Any) -> Iterator[tuple[str | int, object, object]]:
    """Pair what is at the same place, in the order of `expected`."""
    if isinstance(expected, dict):
        for key in expected | actual:
            yield key, actual.get(key, _NOTHING), expected.get(key, _NOTHING)
    else:
        for index, pair in enumerate(zip_longest(actual, expected, fillvalue=_NOTHING)):
            yield index, *pair


def _is_same(actual: Any, expected: Any, tolerance: Tolerance | None) -> bool:
    if type(actual) not in _NUMBERS or type(expected) not in _NUMBERS:
        return type(actual) is type(expected) and bool(actual == expected)
    if actual == expected or tolerance is None:
        return bool(actual == expected)
    # By their text: an int or a Decimal that is too large for a float becomes an infinity.
    one, other = float(str(actual)), float(str(expected))
    return math.isfinite(one) and math.isfinite(other) and tolerance.allows(one, other)


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if step.isascii() and step.isidentifier() and len(step) <= _LONGEST_STEP:
        return f".{step}"
    return f'["{shown(step)}"]'


def _say(actual: object, expected: object) -> str:
    wanted, given = contrast(_text(expected), _text(actual))
    if isinstance(expected, str):
        wanted = f'"{wanted}"'
    if isinstance(actual, str):
        given = f'"{given}"'
    return f"expected {wanted}, got {given}"


def _text(value: object) -> str:
    if value is _NOTHING:
        return "nothing"
    match value:
        case dict():
            return "an object"
        case list():
            return "an array"
        case bool() | None:
            return json.dumps(value)
        case _:
            return str(value)
