"""Whether what a program wrote is what was expected, and where it first is not.

The expected text is ours; the actual one is written by a program that may be hostile, up to 8 MiB
of it. So both are read side by side, line by line or token by token, and only up to the first
difference; what is kept is bounded by the expected text. `matches` asks whether `difference`
has anything to say, so that the two cannot disagree.

White space is that of ASCII, as in C: a no-break space or a byte order mark is text like any other.
"""

import math
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from functools import partial
from io import BytesIO
from itertools import zip_longest
from typing import assert_never

from app.domain.contrast import contrast_bytes
from app.domain.values import (
    Tolerance,
    count_values,
    equal_values,
    first_difference,
    parse,
)

__all__ = [
    "MOST_SHOWN",
    "Comparison",
    "Tolerance",
    "difference",
    "equal_values",
    "matches",
    "parse",
]

MOST_SHOWN = 4096  # characters of a difference
_CONTEXT = 2  # lines before the first different one
_MANY_VALUES = 100_000  # of JSON; some 30 MB once they are read
_END = b"the end"  # no token has a space in it
_TOKEN = re.compile(rb"\S+")
_HEXADECIMAL = re.compile(rb"[+-]?0[xX]")

_Line = tuple[int, bytes]


class Comparison(StrEnum):
    """What it means that an output is the expected one."""

    EXACT = "EXACT"
    """The same bytes."""
    TRIMMED = "TRIMMED"
    """The same lines, but for white space at their ends and blank lines at the very end.

    So CRLF is LF, and a last line may lack its newline; other white space matters.
    """
    TOKENS = "TOKENS"
    """The same words, whatever white space is between them; upper and lower case differ."""
    FLOATS = "FLOATS"
    """The same words, but numbers need only be near enough, as doubles.

    As in the default validator of Kattis: the absolute or the relative error decides, a number is
    what C reads as one (`+5`, `.5`, `1.`, `1e3`, `0x1p3`), and one that is too large for a
    double is a word. Unlike there, case matters in words, and `nan` and `inf` are values, however
    a language spells them (`-nan`, `Infinity`).
    """
    SORTED_LINES = "SORTED_LINES"
    """As TRIMMED, but in any order; blank lines do not count, as they could be anywhere."""
    JSON = "JSON"
    """The same value of JSON: numbers by value, the keys of objects in any order."""


def matches(
    comparison: Comparison, actual: bytes, expected: bytes, tolerance: Tolerance | None = None
) -> bool:
    """Tell whether an output is the expected one."""
    return not difference(comparison, actual, expected, tolerance)


def difference(
    comparison: Comparison, actual: bytes, expected: bytes, tolerance: Tolerance | None = None
) -> str:
    """Say for people where an output first differs from the expected one; "" if it matches.

    Args:
        comparison: what makes a difference.
        actual: the output.
        expected: what it should be.
        tolerance: for numbers; FLOATS has one of its own, JSON compares exactly without.
    """
    if actual == expected and comparison is not Comparison.JSON:
        return ""
    match comparison:
        case Comparison.EXACT:
            said = _lines_differ(BytesIO(actual), BytesIO(expected))
        case Comparison.TRIMMED:
            said = _lines_differ(_trimmed(actual), _trimmed(expected))
        case Comparison.TOKENS:
            said = _tokens_differ(actual, expected, bytes.__eq__)
        case Comparison.FLOATS:
            is_same = partial(_is_same_token, tolerance=tolerance or Tolerance())
            said = _tokens_differ(actual, expected, is_same)
        case Comparison.SORTED_LINES:
            said = _sorted_lines_differ(actual, expected)
        case Comparison.JSON:
            said = _values_differ(actual, expected, tolerance)
        case _:
            assert_never(comparison)
    return said if len(said) <= MOST_SHOWN else said[: MOST_SHOWN - 1] + "…"


def _trimmed(text: bytes) -> Iterator[bytes]:
    return map(bytes.rstrip, BytesIO(text.rstrip()))


def _lines_differ(actual: Iterable[bytes], expected: Iterable[bytes]) -> str:
    before: deque[_Line] = deque(maxlen=_CONTEXT)
    for number, (given, wanted) in enumerate(zip_longest(actual, expected), 1):
        if given is None or given != wanted:
            pair = [None if each is None else (number, each) for each in (wanted, given)]
            return _excerpt(f"line {number} differs", before, *pair)
        before.append((number, given))
    return ""


def _sorted_lines_differ(actual: bytes, expected: bytes) -> str:
    missing = Counter(filter(None, _trimmed(expected)))
    extra = None
    for number, line in enumerate(_trimmed(actual), 1):
        if missing[line]:
            missing[line] -= 1
        elif line and not extra:
            extra = number, line
    lacking = next((each for each in enumerate(_trimmed(expected), 1) if missing[each[1]]), None)
    if not extra and not lacking:
        return ""
    return _excerpt("lines differ, whatever their order", (), lacking, extra)


def _excerpt(
    title: str, before: Iterable[_Line], expected: _Line | None, actual: _Line | None
) -> str:
    wanted, given = contrast_bytes(expected[1] if expected else b"", actual[1] if actual else b"")
    same = [_marked(" ", number, contrast_bytes(line, b"")[0]) for number, line in before]
    return "\n".join((
        f"{title} (- expected, + got)",
        *same,
        _marked("-", expected[0], wanted) if expected else "- nothing",
        _marked("+", actual[0], given) if actual else "+ nothing",
    ))  # fmt: skip


def _marked(mark: str, number: int, text: str) -> str:
    return f'{mark} {number:>4} "{text}"'


def _tokens_differ(actual: bytes, expected: bytes, is_same: Callable[[bytes, bytes], bool]) -> str:
    pairs = zip_longest(_TOKEN.finditer(actual), _TOKEN.finditer(expected))
    for number, (given, wanted) in enumerate(pairs, 1):
        if given and wanted and is_same(given[0], wanted[0]):
            continue
        texts = contrast_bytes(wanted[0] if wanted else _END, given[0] if given else _END)
        where = f" (line {_line_of(given)})" if given else ""
        return f"token {number}{where}: expected {texts[0]}, got {texts[1]}"
    return ""


def _line_of(token: re.Match[bytes]) -> int:
    return token.string.count(b"\n", 0, token.start()) + 1


def _is_same_token(actual: bytes, expected: bytes, *, tolerance: Tolerance) -> bool:
    if actual == expected:
        return True
    given, wanted = _number(actual), _number(expected)
    return given is not None and wanted is not None and tolerance.allows(given, wanted)


def _number(token: bytes) -> float | None:
    """Read a number as C does; None if it is a word."""
    if b"_" in token:  # Python's own
        return None
    try:
        number = float.fromhex(token.decode()) if _HEXADECIMAL.match(token) else float(token)
    except (ValueError, OverflowError):
        return None
    is_too_large = math.isinf(number) and any(digit in token for digit in b"0123456789")
    return None if is_too_large else number


def _values_differ(actual: bytes, expected: bytes, tolerance: Tolerance | None) -> str:
    try:
        wanted = parse(expected)
    except ValueError as error:
        return f"the expected output is {error}"
    if actual == expected:
        return ""
    try:
        given = parse(actual, most_values=max(_MANY_VALUES, count_values(expected)))
    except ValueError as error:
        return f"the output is {error}"
    return first_difference(given, wanted, tolerance)
