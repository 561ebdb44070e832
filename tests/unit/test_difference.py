"""How it is said where two outputs differ, whatever a program has written."""

import inspect
import sys

import pytest

from app.domain.comparison import MOST_SHOWN, Comparison, difference, matches
from app.domain.limits import MIB

EXACT, TRIMMED, TOKENS, FLOATS, SORTED_LINES, JSON = Comparison


def encoded(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


def lines(*text: str) -> str:
    return "\n".join(text)


@pytest.mark.parametrize(
    ("comparison", "actual", "expected", "said"),
    [
        (TRIMMED, "1\n2\n3\nfour\n5", "1\n2\n3\n4\n5", lines(
            "line 4 differs (- expected, + got)",
            '     2 "2"',
            '     3 "3"',
            '-    4 "4"',
            '+    4 "four"',
        )),
        (TRIMMED, "a\tb", "a b", lines(
            "line 1 differs (- expected, + got)", '-    1 "a b"', r'+    1 "a\tb"',
        )),
        (TRIMMED, "a\u00a0b", "a b", lines(
            "line 1 differs (- expected, + got)", '-    1 "a b"', r'+    1 "a\xa0b"',
        )),
        (TRIMMED, "a", "a\nb", lines(
            "line 2 differs (- expected, + got)", '     1 "a"', '-    2 "b"', "+ nothing",
        )),
        (TRIMMED, "a\nb", "a", lines(
            "line 2 differs (- expected, + got)", '     1 "a"', "- nothing", '+    2 "b"',
        )),
        (TRIMMED, "x" * 5000 + "b", "x" * 5000 + "a", lines(
            "line 1 differs (- expected, + got)",
            f'-    1 "…{"x" * 119}a"',
            f'+    1 "…{"x" * 119}b"',
        )),
        (EXACT, "a\r\n", "a\n", lines(
            "line 1 differs (- expected, + got)", r'-    1 "a\n"', r'+    1 "a\r\n"',
        )),
        (EXACT, "a\n", "a", lines(
            "line 1 differs (- expected, + got)", '-    1 "a"', r'+    1 "a\n"',
        )),
        (EXACT, "é", "e\u0301", lines(
            "line 1 differs (- expected, + got)", r'-    1 "e\u0301"', r'+    1 "\xe9"',
        )),
        (EXACT, b"\xff", b"\xfe", lines(
            "line 1 differs (- expected, + got)", r'-    1 "\\xfe"', r'+    1 "\\xff"',
        )),
        (SORTED_LINES, "c\na\nx", "a\nb\nc", lines(
            "lines differ, whatever their order (- expected, + got)", '-    2 "b"', '+    3 "x"',
        )),
        (SORTED_LINES, "b\na\na", "a\nb", lines(
            "lines differ, whatever their order (- expected, + got)", "- nothing", '+    3 "a"',
        )),
        (TOKENS, "1 2\n\n3 5", "1 2 3 4", "token 4 (line 3): expected 4, got 5"),
        (TOKENS, "1", "1 2", "token 2: expected 2, got the end"),
        (TOKENS, "1\n2", "1", "token 2 (line 2): expected the end, got 2"),
        (TOKENS, "\ufeff1", "1", r"token 1 (line 1): expected 1, got \ufeff1"),
        (FLOATS, "x 1\n1.6", "x 1 1.5", "token 3 (line 2): expected 1.5, got 1.6"),
        (JSON, '{"a":[0,1,2,{"b":2}]}', '{"a":[0,1,2,{"b":1}]}', "$.a[3].b: expected 1, got 2"),
        (JSON, '{"b":1}', '{"a":1}', "$.a: expected 1, got nothing"),
        (JSON, '{"a":1,"b":[]}', '{"a":1}', "$.b: expected nothing, got an array"),
        (JSON, "[1,2]", "[1]", "$[1]: expected nothing, got 2"),
        (JSON, '"1"', "1", '$: expected 1, got "1"'),
        (JSON, "[true]", "[1]", "$[0]: expected 1, got true"),
        (JSON, '{"a b":null}', '{"a b":{}}', '$["a b"]: expected an object, got null'),
        (JSON, '["a "]', '["a"]', '$[0]: expected "a", got "a "'),
        (JSON, r'"\ud800"', '"a"', r'$: expected "a", got "\ud800"'),
        (JSON, "", "[1]", "the output is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (JSON, "-Infinity", "1", "the output is not JSON: it has no -Infinity"),
        (JSON, b'"\xff"', '"a"', "the output is not JSON: byte 2 is not UTF-8"),
        (JSON, '{"a":1,"a":2}', "{}", 'the output is JSON with the key "a" twice in one object'),
        (JSON, "1", "NaN", "the expected output is not JSON: it has no NaN"),
    ],
)  # fmt: skip
def test_a_difference_is_shown_where_it_begins(
    comparison: Comparison, actual: str | bytes, expected: str | bytes, said: str
) -> None:
    assert difference(comparison, encoded(actual), encoded(expected)) == said


# What a program may write to hurt its judge: 8 MiB each.
HOSTILE = {
    "one line": b"x" * (8 * MIB),
    "blank lines": b"\n" * (8 * MIB),
    "spaces, then text": b" " * (8 * MIB) + b"x",
    "tokens": b"1 " * (4 * MIB),
    "lines": b"1\n" * (4 * MIB),
    "digits": b"1" * (8 * MIB),
    "digits of a fraction": b"0." + b"1" * (8 * MIB),
    "a long exponent": b"1e" + b"9" * (8 * MIB),
    "hexadecimal digits": b"0x" + b"f" * (8 * MIB),
    "arrays in arrays": b"[" * (8 * MIB),
    "objects in objects": b'{"a":' * (8 * MIB // 5),
    "closed arrays in arrays": b"[" * (4 * MIB) + b"]" * (4 * MIB),
    "empty arrays": b"[" + b"[]," * (8 * MIB // 3) + b"[]]",
    "small objects": b"[" + b'{"":0},' * (8 * MIB // 7) + b"0]",
    "small fractions": b"[" + b"1.5," * (2 * MIB) + b"0]",
    "a long string": b'"' + b"a" * (8 * MIB) + b'"',
    "escaped quotation marks": b'"' + rb"\"" * (4 * MIB),
    "backslashes and quotation marks": rb"\"" * (4 * MIB) + b"[" * 500,
    "NUL": b"\0" * (8 * MIB),
    "no UTF-8": b"\xff" * (8 * MIB),
    "a JSON of huge exponents": b"[1e999999999,-1e999999999]",
    "a JSON beyond all exponents": b"1e" + b"9" * 100,
    "a long key twice": b'{"' + b"k" * MIB + b'":1,"' + b"k" * MIB + b'":2}',
    "a long key": b'{"' + b"k" * (8 * MIB) + b'":1}',
    "half pairs of surrogates": b'"' + rb"\ud800" * MIB + b'"',
}


@pytest.mark.parametrize("comparison", Comparison)
@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_was_written_gets_an_answer(comparison: Comparison, name: str) -> None:
    said = difference(comparison, HOSTILE[name], b'{"a":[1]}')
    assert 0 < len(said) <= MOST_SHOWN
    assert said.encode()


def test_a_long_path_keeps_its_end() -> None:
    deep = '{"a long name of a key, with spaces":' * 399
    end = "}" * 399
    said = difference(JSON, f"{deep}1{end}".encode(), f"{deep}2{end}".encode())
    assert len(said) <= MOST_SHOWN
    assert said.endswith('"]: expected 2, got 1')


def test_there_is_an_answer_however_little_of_the_stack_is_left() -> None:
    one, other = (b"[" * 400 + each + b"]" * 400 for each in (b"1", b"2"))

    def below(frames: int) -> str:
        return below(frames - 1) if frames else difference(JSON, one, other)

    assert below(0).endswith("expected 2, got 1")
    for frames in range(0, sys.getrecursionlimit() - len(inspect.stack(0)) - 50, 25):
        assert below(frames).endswith(("expected 2, got 1", "is JSON that is nested too deep"))


def test_many_values_are_read_where_as_many_are_expected() -> None:
    text = b"[" + b"1," * 200_000 + b"1]"
    assert matches(JSON, text, text)
    assert matches(JSON, text + b"\n", text)
    assert "more than 100000 values" in difference(JSON, text, b"[1]")
    commas = b'["' + b"," * 200_000 + b'"]'
    assert "expected 1, got" in difference(JSON, commas, b"[1]")
