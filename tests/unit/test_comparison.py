"""What each comparison calls the same."""

import pytest

from app.domain.comparison import (
    Comparison,
    Tolerance,
    equal_values,
    matches,
    parse,
)

EXACT, TRIMMED, TOKENS, FLOATS, SORTED_LINES, JSON = Comparison

# What it is about: the actual output, the expected one, and whether they match.
TABLES: dict[Comparison, dict[str, tuple[str | bytes, str | bytes, bool]]] = {
    EXACT: {
        "the same bytes": ("a b\n", "a b\n", True),
        "nothing is nothing": ("", "", True),
        "bytes that are no text": (b"\xff\0", b"\xff\0", True),
        "a missing last newline": ("a", "a\n", False),
        "an added last newline": ("a\n\n", "a\n", False),
        "a trailing space": ("a \n", "a\n", False),
        "CRLF for LF": ("a\r\n", "a\n", False),
        "a newline for nothing": ("\n", "", False),
        "a byte order mark": ("\ufeffa", "a", False),
        "case": ("A", "a", False),
        "composed and decomposed": ("é", "e\u0301", False),
        "two bytes that are no text": (b"\xff", b"\xfe", False),
        "a NUL at the end": (b"a\0", b"a", False),
    },
    TRIMMED: {
        "a missing last newline": ("a", "a\n", True),
        "more last newlines": ("a\n\n\n", "a\n", True),
        "blank lines with spaces at the end": ("a\n  \n\t\n", "a", True),
        "trailing spaces": ("a  \nb\n", "a\nb\n", True),
        "a trailing tab": ("a\t\nb", "a\nb", True),
        "trailing white space that was expected": ("a\nb", "a \nb ", True),
        "CRLF": ("a\r\nb\r\n", "a\nb\n", True),
        "CRLF after a space": ("a \r\nb", "a\nb", True),
        "a newline for nothing": ("\n", "", True),
        "nothing for a newline": ("", "\n", True),
        "spaces for nothing": (" \n ", "", True),
        "a blank line with spaces inside": ("a\n \nb", "a\n\nb", True),
        "text for nothing": ("0", "", False),
        "nothing for text": ("", "0", False),
        "a leading space": (" a", "a", False),
        "a leading blank line": ("\na", "a", False),
        "an inner blank line": ("a\n\nb", "a\nb", False),
        "a missing blank line": ("a\nb", "a\n\nb", False),
        "two spaces for one": ("a  b", "a b", False),
        "a tab for a space": ("a\tb", "a b", False),
        "a trailing no-break space": ("a\u00a0", "a", False),
        "a no-break space for a space": ("a\u00a0b", "a b", False),
        "a byte order mark": ("\ufeffa", "a", False),
        "a carriage return alone": ("a\rb", "a\nb", False),
        "a line more": ("a\nb\nc", "a\nb", False),
        "a line less": ("a", "a\nb", False),
        "case": ("YES", "yes", False),
        "leading zeros": ("007", "7", False),
        "lines in another order": ("b\na", "a\nb", False),
        "unicode": ("grün €\n", "grün €", True),
        "a NUL is no white space": (b"a\0", b"a", False),
    },
    TOKENS: {
        "spaces, tabs and newlines alike": ("1 2\t3\n4", "1\n2\n3\n4\n", True),
        "any white space around": ("\n\n  1 2  \n", "1 2", True),
        "CRLF": ("1\r\n2\r\n", "1\n2\n", True),
        "a form feed": ("1\f2\v3", "1 2 3", True),
        "only white space for nothing": (" \n\t ", "", True),
        "a token more": ("1 2 3", "1 2", False),
        "a token less": ("1", "1 2", False),
        "tokens joined": ("12", "1 2", False),
        "tokens split": ("1 2", "12", False),
        "another order": ("2 1", "1 2", False),
        "a no-break space joins": ("1\u00a02", "1 2", False),
        "case": ("Yes", "YES", False),
        "leading zeros": ("007", "7", False),
        "a sign": ("+5", "5", False),
        "1.0 for 1": ("1.0", "1", False),
        "a byte order mark": ("\ufeff1", "1", False),
        "ASCII's separators are text": (b"1\x1c2", b"1 2", False),
    },
    FLOATS: {
        "the same number": ("1.5\n", "1.5", True),
        "zeros at the end": ("1.50", "1.5", True),
        "an integer as a float": ("3.0", "3", True),
        "a float as an integer": ("3", "3.000", True),
        "within the relative error": ("1000000000.5", "1000000000", True),
        "beyond the relative error": ("1000000002", "1000000000", False),
        "within the absolute error": ("0.0000000001", "0", True),
        "within the absolute error, below": ("-1e-10", "0", True),
        "beyond the absolute error": ("1e-8", "0", False),
        "a tiny number for zero": ("1e-300", "0.0", True),
        "white space as it likes": ("1.0\n2.0", "1 2", True),
        "minus zero": ("-0.0", "0", True),
        "another sign": ("-1", "1", False),
        "a point at the end": ("1.", "1", True),
        "a point at the beginning": (".5", "0.5", True),
        "a plus": ("+5", "5", True),
        "two signs": ("+-5", "5", False),
        "an exponent": ("1e3", "1000", True),
        "a big exponent letter": ("1E+3", "1000", True),
        "leading zeros": ("007", "7", True),
        "a comma is no point": ("1,5", "1.5", False),
        "Python's underscore": ("1_000", "1000", False),
        "an underscore as expected": ("1_0\n", "1_0", True),
        "hexadecimal as C has it": ("0x1p3", "8", True),
        "hexadecimal in another case": ("0X1A", "0x1a", True),
        "hexadecimal needs its 0x": ("1a", "26", False),
        "a hexadecimal beyond doubles": ("0x1p9999", "0x1p9998", False),
        "Arabic digits": ("٣", "3", False),
        "a suffix": ("1.5f", "1.5", False),
        "words among numbers": ("x = 1.50", "x = 1.5", True),
        "another word": ("y = 1.5", "x = 1.5", False),
        "case of words": ("Yes 1", "yes 1", False),
        "a word for a number": ("one", "1", False),
        "a number for a word": ("1", "one", False),
        "NaN for NaN": ("NaN", "nan", True),
        "a NaN with C's sign": ("-nan", "nan", True),
        "NaN for a number": ("nan", "1", False),
        "a number for NaN": ("1", "nan", False),
        "infinity as others spell it": ("Infinity", "inf", True),
        "the other infinity": ("-inf", "inf", False),
        "infinity for a number": ("inf", "1e308", False),
        "a number for infinity": ("1e308", "inf", False),
        "a number beyond doubles is no infinity": ("1e400", "inf", False),
        "numbers beyond doubles are words": ("1e400", "1e401", False),
        "the same number beyond doubles": ("1e400\n", "1e400", True),
        "a number more": ("1 2", "1", False),
        "a number less": ("", "1", False),
    },
    SORTED_LINES: {
        "the same order": ("a\nb", "a\nb", True),
        "another order": ("b\na\n", "a\nb\n", True),
        "trailing white space and CRLF": ("b \r\na\t\r\n", "a\nb\n", True),
        "blank lines anywhere": ("\nb\n\na\n", "a\nb", True),
        "duplicates in another order": ("a\nb\na", "a\na\nb", True),
        "a duplicate too many": ("a\na\nb", "a\nb", False),
        "a duplicate too few": ("a\nb", "a\na\nb", False),
        "another line duplicated": ("a\nb\nb", "a\na\nb", False),
        "words in another order": ("b a", "a b", False),
        "a leading space": (" a\nb", "a\nb", False),
        "nothing for a newline": ("", "\n", True),
        "nothing for lines": ("", "a", False),
    },
    JSON: {
        "white space": ('{ "a" : [ 1 , 2 ] }\n', '{"a":[1,2]}', True),
        "the order of keys": ('{"b":2,"a":1}', '{"a":1,"b":2}', True),
        "the order of keys inside": ('[{"b":{"d":1,"c":2}}]', '[{"b":{"c":2,"d":1}}]', True),
        "the order of an array": ("[2,1]", "[1,2]", False),
        "1.0 is 1": ("1.0", "1", True),
        "1e0 is 1": ("1e0", "1", True),
        "100 is 1E+2": ("100", "1E+2", True),
        "-0 is 0": ("-0", "0", True),
        "-0.0 is 0": ("-0.0", "0", True),
        "0.1 + 0.2 is not 0.3": ("0.30000000000000004", "0.3", False),
        "big integers are exact": ("9007199254740993", "9007199254740992", False),
        "big integers with a fraction": ("9007199254740993.0", "9007199254740993", True),
        "integers of any length": ("1" * 5000, "1" * 5000 + ".0", True),
        "integers of any length are exact": ("1" * 5000, "1" * 4999 + "2", False),
        "long decimals are exact": ("0.1000000000000000000001", "0.1", False),
        "numbers beyond doubles": ("1e400", "10e399", True),
        "other numbers beyond doubles": ("1e400", "1e401", False),
        "true is not 1": ("true", "1", False),
        "false is not 0": ("[0]", "[false]", False),
        "null is not false": ("null", "false", False),
        "null is not a missing key": ('{"a":null}', "{}", False),
        "a missing key": ("{}", '{"a":null}', False),
        "a number is not its text": ('"1"', "1", False),
        "an empty array is no object": ("[]", "{}", False),
        "an element more": ("[1,2,3]", "[1,2]", False),
        "an element less": ("[1]", "[1,2]", False),
        "one level too many": ("[[1]]", "[1]", False),
        "escapes": (r'"\u00e9\u20ac\/"', '"é€/"', True),
        "a pair of surrogates": (r'"\ud83d\ude00"', '"😀"', True),
        "half a pair": (r'"\ud83d"', r'"\uD83D"', True),
        "half another pair": (r'"\ud83d"', r'"\ud83e"', False),
        "composed and decomposed": ('"é"', '"e\u0301"', False),
        "spaces in strings": ('"a "', '"a"', False),
        "a byte order mark before it": ('\ufeff{"a":1}', '{"a":1}', True),
        "a key twice": ('{"a":1,"a":1}', '{"a":1}', False),
        "no JSON": ("{'a': 1}", '{"a":1}', False),
        "nothing": ("", "null", False),
        "a comma at the end": ("[1,]", "[1]", False),
        "text after it": ("[1] ok", "[1]", False),
        "NaN": ("NaN", "0", False),
        "leading zeros": ("01", "1", False),
        "a plus": ("+1", "1", False),
        "a newline in a string": ('"\n"', r'"\n"', False),
        "no UTF-8": (b'"\xff"', b'"?"', False),
        "UTF-16": ('{"a":1}'.encode("utf-16"), b'{"a":1}', False),
        "nothing but an expected text that is no JSON": ("x", "x", False),
    },
}  # fmt: skip


def encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


@pytest.mark.parametrize(
    ("comparison", "case"),
    [
        pytest.param(comparison, case, id=f"{comparison}: {name}")
        for comparison, table in TABLES.items()
        for name, case in table.items()
    ],
)
def test_specification(comparison: Comparison, case: tuple[str | bytes, str | bytes, bool]) -> None:
    actual, expected, is_match = case
    assert matches(comparison, encoded(actual), encoded(expected)) is is_match


NEAR = Tolerance(absolute=0.01, relative=0)
RATIO = Tolerance(absolute=0, relative=0.01)


@pytest.mark.parametrize(
    ("comparison", "tolerance", "actual", "expected", "is_match"),
    [
        (FLOATS, NEAR, "1.009", "1", True),
        (FLOATS, NEAR, "1.011", "1", False),
        (FLOATS, NEAR, "100.02", "100", False),
        (FLOATS, RATIO, "100.99", "100", True),
        (FLOATS, RATIO, "98.9", "100", False),
        (FLOATS, RATIO, "-100.5", "-100", True),
        # To the expected number: 1% of 100 is 1, 1% of 101.005 is more.
        (FLOATS, RATIO, "101.005", "100", False),
        (FLOATS, RATIO, "100", "101.005", True),
        (FLOATS, RATIO, "1e-300", "0", False),
        (FLOATS, Tolerance(absolute=0, relative=0), "1.0", "1", True),
        (FLOATS, Tolerance(absolute=1e9, relative=1e9), "inf", "1", False),
        (JSON, NEAR, '{"a":[1.005,{"b":2}]}', '{"a":[1,{"b":2.001}]}', True),
        (JSON, NEAR, '{"a":[1.02]}', '{"a":[1]}', False),
        (JSON, NEAR, "true", "1", False),
        (JSON, NEAR, '"1.001"', '"1"', False),
        (JSON, NEAR, "1e400", "1e401", False),
        (JSON, NEAR, "1e400", "10e399", True),
        (JSON, Tolerance(), "0.30000000000000004", "0.3", True),
        (TOKENS, NEAR, "1.005", "1", False),
    ],
)
def test_a_tolerance_is_for_numbers(
    comparison: Comparison, tolerance: Tolerance, actual: str, expected: str, *, is_match: bool
) -> None:
    assert matches(comparison, actual.encode(), expected.encode(), tolerance) is is_match


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON: Expecting value"),
        ("NaN", "not JSON: it has no NaN"),
        ("[Infinity]", "it has no Infinity"),
        ('{"a":1,"b":2,"a":1}', 'the key "a" twice'),
        (b"\xff", "byte 1 is not UTF-8"),
        ("[" * 401 + "]" * 401, "deeper than 400 levels"),
        ('{"a":' * 401 + "1" + "}" * 401, "deeper than 400 levels"),
        ("1e99999999999999999999", "a number out of all bounds"),
        ("1e-99999999999999999999", "a number out of all bounds"),
    ],
    ids=lambda each: str(each)[:30],
)
def test_what_is_not_proper_json_is_refused(text: str | bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text)


def test_brackets_within_strings_are_not_deep() -> None:
    text = '["' + "[{" * 500 + r"\"" + "[" * 500 + '"]'
    assert parse(text) == ["[{" * 500 + '"' + "[" * 500]
    assert isinstance(parse("[" * 400 + "]" * 400), list)
    assert isinstance(parse("[" + "[]," * 1000 + "[]]"), list)


def test_values_of_json_are_equal_as_json_has_it() -> None:
    assert equal_values(parse('{"a":[1,2.50]}'), parse(b'{"a":[1.0,25e-1]}'))
    assert not equal_values(parse("[true]"), parse("[1]"))
    assert equal_values(parse("[1.1]"), parse("[1]"), Tolerance(absolute=0.2))
