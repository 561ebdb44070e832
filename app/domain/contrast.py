"""Two texts that differ, shown so that people see where: white space escaped, long ones cut."""

import unicodedata

_MOST_SHOWN = 120  # characters of one text; each can take ten when it is escaped
_SHOWN_BEFORE = 40  # characters before the first difference, of these


def contrast(expected: str, actual: str) -> tuple[str, str]:
    """Return what to show of each, around the first character in which they differ."""
    at = _first_difference(expected, actual)
    cuts = _cut(expected, at), _cut(actual, at)
    if _looks(expected, at) == _looks(actual, at):
        return _escaped(ascii(cuts[0])), _escaped(ascii(cuts[1]))
    return _escaped(repr(cuts[0])), _escaped(repr(cuts[1]))


def contrast_bytes(expected: bytes, actual: bytes) -> tuple[str, str]:
    """Do so for what should be UTF-8; where that leaves them alike, show the bytes that are not."""
    texts = expected.decode(errors="replace"), actual.decode(errors="replace")
    if texts[0] == texts[1]:
        texts = expected.decode(errors="backslashreplace"), actual.decode(errors="backslashreplace")
    return contrast(*texts)


def shown(text: str) -> str:
    """Return what to show of a text by itself."""
    return contrast(text, "")[0]


def _first_difference(one: str, other: str) -> int:
    """Return how long the common beginning is: by halves, as slices compare much faster."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _cut(text: str, at: int) -> str:
    begin = max(0, min(at - _SHOWN_BEFORE, len(text) - _MOST_SHOWN))
    end = begin + _MOST_SHOWN
    return "…" * (begin > 0) + text[begin:end] + "…" * (end < len(text))


def _looks(text: str, at: int) -> str:
    """Return what people see around a place: an é may be one character or two."""
    return unicodedata.normalize("NFC", text[max(0, at - _SHOWN_BEFORE) : at + _MOST_SHOWN])


def _escaped(literal: str) -> str:
    return literal[1:-1]
