"""What tests must look like to be accepted."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from app.domain.comparison import Comparison, parse
from app.domain.errors import InvalidInput, Problem
from app.domain.execution import Submission
from app.domain.language import Language
from app.domain.limits import MIB, describe_size
from app.domain.testing import Call, Case, Suite
from app.executions.files import file_problems
from app.executions.rules import MOST_PROBLEMS, Rules, is_deeper, is_encodable, text_problems

_DEEPEST = 100  # of arguments; interpreters read a few hundred
_HEAVIEST = 1e6
_LONGEST_JSON = MIB  # many small values take fifty times their text in memory


def suite_problems(rules: Rules, language: Language, submission: Submission) -> Iterator[Problem]:
    """Name what is wrong with the tests of a submission, for its caller to mend at once."""
    suite = submission.program.suite
    if suite is None:
        return
    if submission.interactive:
        message = "An interactive program has no tests: leave out `tests` or `interactive`."
        yield InvalidInput(path=("interactive",), message=message)
    if len(suite.cases) > rules.tests:
        message = f"`tests` may have at most {rules.tests} items, not {len(suite.cases)}."
        yield InvalidInput(path=("tests",), message=message)
        return
    if (size := _size(suite)) > rules.tests_size:
        sizes = f"at most {describe_size(rules.tests_size)}, not {describe_size(size)}"
        yield InvalidInput(path=("tests",), message=f"All tests together may be {sizes}.")
    found = (
        _in_test(position, problem)
        for position, case in enumerate(suite.cases)
        for problem in _case_problems(rules, language, submission, case)
    )
    yield from islice(found, MOST_PROBLEMS)


def _case_problems(
    rules: Rules, language: Language, submission: Submission, case: Case
) -> Iterator[Problem]:
    program, own = submission.program, len(submission.program.files)
    tried = replace(program, files=(*program.files, *case.files))
    yield from text_problems(("name",), case.name, rules.text_length)
    for problem in (
        *rules.input_problems(case.stdin or b"", case.args or (), tried.files),
        # Whatever is wrong with the program's own files has been said.
        *(file_problems(language, tried) if case.files else ()),
    ):
        yield _of_own_files(problem, own)
    if case.call:
        yield from _call_problems(rules, language, case, case.call)
    if case.limits != submission.limits:
        yield from rules.limit_problems(case.limits, rules.maximums, program)
    yield from _expectation_problems(case)


def _expectation_problems(case: Case) -> Iterator[Problem]:
    if not 0 <= case.weight <= _HEAVIEST:  # nor is NaN
        message = f"`weight` must be 0 to {_HEAVIEST:g}, not {case.weight:g}."
        yield InvalidInput(path=("weight",), message=message)
    bounds = case.tolerance
    if bounds and case.comparison not in {Comparison.FLOATS, Comparison.JSON}:
        message = "Only under FLOATS and JSON may numbers differ: leave the tolerances out."
        yield InvalidInput(path=("comparison",), message=message)
    for name in ("absolute", "relative") if bounds else ():
        if not 0 <= (bound := getattr(bounds, name)) < math.inf:
            message = f"`{name}Tolerance` must be 0 or more, not {bound:g}."
            yield InvalidInput(path=(f"{name}_tolerance",), message=message)
    if case.comparison is Comparison.JSON and case.expected is not None:
        yield from _json_problems(
            case.expected, "expected_value" if case.call else "expected_stdout"
        )


def _call_problems(rules: Rules, language: Language, case: Case, call: Call) -> Iterator[Problem]:
    path = ("call",)
    if language.harness is None:
        message = f"No function of a program in {language.name} can be called: leave out `call`."
        yield InvalidInput(path=path, message=message)
        return
    if not is_encodable(call.function) or not language.harness.is_name(call.function):
        message = "`function` must be a name that a function can have."
        yield InvalidInput(path=("call", "function"), message=message)
    elif len(call.function) > rules.text_length:
        message = f"`function` may have at most {rules.text_length} characters."
        yield InvalidInput(path=("call", "function"), message=message)
    if case.stdin is not None:
        message = "A function that is called has no standard input: leave out `stdin` or `call`."
        yield InvalidInput(path=("stdin",), message=message)
    if case.comparison is not Comparison.JSON:
        message = "What a function returns is compared as JSON: leave out `comparison`."
        yield InvalidInput(path=("comparison",), message=message)
    if _text_of(call) is None:
        message = (
            f"`arguments` must be JSON, nested at most {_DEEPEST} deep, without lone surrogates."
        )
        yield InvalidInput(path=("call", "arguments"), message=message)


def _text_of(call: Call) -> str | None:
    """Return the arguments as JSON, if they can be written as that."""
    if is_deeper(list(call.arguments), _DEEPEST):
        return None
    try:
        text = json.dumps(call.arguments, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return None
    return text if is_encodable(text) else None


def _json_problems(expected: bytes, name: str) -> Iterator[Problem]:
    path = (name,)
    if len(expected) > _LONGEST_JSON:
        sizes = f"at most {describe_size(_LONGEST_JSON)}, not {describe_size(len(expected))}"
        yield InvalidInput(path=path, message=f"What is expected, as JSON, may be {sizes}.")
        return
    try:
        parse(expected)
    except ValueError as error:
        message = f"What is expected is to be compared as JSON, but is {error}."
        yield InvalidInput(path=path, message=message)


def _of_own_files(problem: Problem, own: int) -> Problem:
    """Count the files of the test alone."""
    first, *rest = problem.path
    if first != "files" or not rest:
        return problem
    position, *more = rest
    return replace(problem, path=("files", str(max(int(position) - own, 0)), *more))


def _in_test(position: int, problem: Problem) -> Problem:
    return replace(problem, path=("tests", str(position), *problem.path))


def _size(suite: Suite) -> int:
    return sum(
        len(case.stdin or b"")
        + len(case.expected or b"")
        + sum(map(len, case.args or ()))
        + len((case.call and _text_of(case.call)) or "")
        + sum(len(file.data) for file in case.files)
        for case in suite.cases
    )
