"""What holds for every comparison, of whatever bytes."""

import json
from decimal import Decimal

from hypothesis import assume, example, given
from hypothesis import strategies as st

from app.domain.comparison import (
    MOST_SHOWN,
    Comparison,
    Tolerance,
    difference,
    equal_values,
    matches,
    parse,
)

# Few characters, so that much of it is nearly the same, and all that mean something to somebody.
PIECES = [
    *'019-+.ea \n\t[]{},:_"x\\',
    "\r\n",
    "1.0",
    "nan",
    "inf",
]
NEARLY = st.lists(st.sampled_from([*PIECES, "null", "true", "é", "\0"]), max_size=12).map("".join)
TEXTS = st.one_of(st.binary(max_size=40), NEARLY.map(str.encode))
LINES = st.lists(st.text("ab 1\t", max_size=4).map(str.encode), max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)
COMPARISONS = st.sampled_from(Comparison)
TOLERANCES = st.none() | st.builds(
    Tolerance, absolute=st.floats(0, 1e300), relative=st.floats(0, 1e300)
)


@given(COMPARISONS, TEXTS, TEXTS, TOLERANCES)
def test_there_is_always_an_answer_and_it_is_said_when_they_differ(
    comparison: Comparison, actual: bytes, expected: bytes, tolerance: Tolerance | None
) -> None:
    said = difference(comparison, actual, expected, tolerance)
    assert matches(comparison, actual, expected, tolerance) is (said == "")
    assert len(said) <= MOST_SHOWN
    assert said.encode().decode() == said


@given(COMPARISONS, TEXTS, TOLERANCES)
def test_whatever_it_is_matches_itself(
    comparison: Comparison, text: bytes, tolerance: Tolerance | None
) -> None:
    assume(comparison is not Comparison.JSON)
    assert matches(comparison, text, text, tolerance)
    # And with a newline more it is not the same bytes, so that somebody has to look.
    assert matches(comparison, text + b"\n", text, tolerance) is (
        comparison is not Comparison.EXACT
    )


@given(VALUES, TOLERANCES)
def test_json_matches_itself_however_it_is_written(
    value: object, tolerance: Tolerance | None
) -> None:
    one = json.dumps(value).encode()
    other = json.dumps(value, indent=3, sort_keys=True, ensure_ascii=False)
    assert matches(Comparison.JSON, one, other.encode(), tolerance)
    assert equal_values(parse(one), parse(other), tolerance)


@given(VALUES, VALUES)
@example([1], [True])
@example({"a": 1}, {"a": 1, "b": None})
def test_values_that_differ_are_told_apart(one: object, other: object) -> None:
    """Python's own equality takes 1 for true; the text with the keys in order does not."""
    texts = [json.dumps(parse_like(each), sort_keys=True) for each in (one, other)]
    are_equal = equal_values(parse(json.dumps(one)), parse(json.dumps(other)))
    assert are_equal is (texts[0] == texts[1])


def parse_like(value: object) -> object:
    """Write each number in the one way that shows its exact value."""
    match value:
        case dict():
            return {key: parse_like(each) for key, each in value.items()}
        case list():
            return [parse_like(each) for each in value]
        case bool() | str() | None:
            return value
        case _:
            return {"number": str(Decimal(str(value)).as_integer_ratio())}


@given(LINES.flatmap(lambda lines: st.tuples(st.just(lines), st.permutations(lines))))
def test_sorted_lines_match_in_any_order(pair: tuple[list[bytes], list[bytes]]) -> None:
    actual, expected = (b"\n".join(lines) for lines in pair)
    assert matches(Comparison.SORTED_LINES, actual, expected)


@given(LINES, st.sampled_from([b"a", b"b"]))
def test_a_line_more_is_one_too_many_in_any_order(lines: list[bytes], more: bytes) -> None:
    actual, expected = b"\n".join([more, *lines]), b"\n".join(lines)
    assert not matches(Comparison.SORTED_LINES, actual, expected)
    assert not matches(Comparison.SORTED_LINES, expected, actual)


@given(LINES, st.lists(st.sampled_from([b"", b" ", b"\t ", b"\r"]), min_size=9, max_size=9))
def test_trailing_white_space_does_not_matter_when_trimmed(
    lines: list[bytes], ends: list[bytes]
) -> None:
    padded = b"\n".join(line + end for line, end in zip([*lines, b""], ends, strict=False))
    assert matches(Comparison.TRIMMED, padded, b"\n".join(lines))
    assert matches(Comparison.TRIMMED, b"\n".join(lines), padded)


@given(TEXTS, TEXTS)
def test_what_one_comparison_takes_a_wider_one_takes(actual: bytes, expected: bytes) -> None:
    widening = [Comparison.EXACT, Comparison.TRIMMED, Comparison.TOKENS, Comparison.FLOATS]
    taken = [matches(each, actual, expected) for each in widening]
    assert taken == sorted(taken)
    assert matches(Comparison.SORTED_LINES, actual, expected) >= taken[1]
