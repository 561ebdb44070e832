"""The tests that a caller sends."""

import json

import strawberry

from app.api.enums import Comparison
from app.api.parts import FileInput, LimitsInput, bytes_of, files_of, invalid, within
from app.api.scalars import Json
from app.domain import comparison as domain
from app.domain.errors import Problem, Rejected
from app.domain.limits import Limits
from app.domain.testing import Call, Case, Suite
from app.executions.rules import MOST_PROBLEMS


@strawberry.input(description="A call of a function that the program defines.")
class CallInput:
    function: str | None = strawberry.field(
        default=None,
        description="Its name, `solve` if left out; in Python also that of a method of `Solution`.",
    )
    arguments: list[Json | None] | None = strawberry.field(
        default=None, description="Its arguments in their order: none if left out."
    )

    def call(self) -> Call:
        """Return the call."""
        function = "solve" if self.function is None else self.function
        return Call(function=function, arguments=tuple(self.arguments or ()))


@strawberry.input(description="One test of a program: what it is given, and what is expected.")
class TestInput:
    name: str | None = strawberry.field(
        default=None, description="`Test 1`, `Test 2` and so on if left out. Never hidden."
    )
    stdin: str | None = strawberry.field(
        default=None,
        description="Standard input as text; that of the execution if left out. Not together with "
        "`stdinBase64`.",
    )
    stdin_base64: str | None = strawberry.field(
        default=None, description="Standard input as bytes."
    )
    args: list[str] | None = strawberry.field(
        default=None, description="Command-line arguments; those of the execution if left out."
    )
    files: list[FileInput] | None = strawberry.field(
        default=None, description="Files beside those of the program, for this test alone."
    )
    call: CallInput | None = strawberry.field(
        default=None,
        description="Call this function instead of running the program as it is, and compare what "
        "it returns with `expectedValue`; for languages with `hasFunctionTests`.",
    )
    expected_value: Json | None = strawberry.field(
        default=strawberry.UNSET,
        description="What the function must return; if it is left out, whatever it likes. Numbers "
        "may differ by the tolerances.",
    )
    expected_stdout: str | None = strawberry.field(
        default=None,
        description="What the program must write; if it is left out, it must only end well. It "
        "never comes near the sandbox.",
    )
    expected_stdout_base64: str | None = strawberry.field(
        default=None, description="The same as bytes."
    )
    comparison: Comparison | None = strawberry.field(
        default=None, description="How its output is compared with that: TRIMMED if left out."
    )
    absolute_tolerance: float | None = strawberry.field(
        default=None,
        description="By how much numbers may differ: 1e-9 under FLOATS if both tolerances are left "
        "out, and not at all under JSON.",
    )
    relative_tolerance: float | None = strawberry.field(
        default=None, description="Likewise, as a share of the expected number; either suffices."
    )
    limits: LimitsInput | None = strawberry.field(
        default=None, description="Over the limits of the execution."
    )
    hidden: bool | None = strawberry.field(
        default=None,
        description="Whether candidates see nothing of it but its name and its verdict. Give it an "
        "input of its own: that of the execution is there for all to see.",
    )
    weight: float | None = strawberry.field(
        default=None, description="What it counts in the summary: 1 if left out."
    )

    def case(self, position: int, limits: Limits) -> Case:
        """Return the test.

        Raises:
            Rejected: a part of it cannot be read.
        """
        return Case(
            name=f"Test {position + 1}" if self.name is None else self.name,
            limits=self.limits.over(limits) if self.limits else limits,
            stdin=bytes_of("stdin", self.stdin, "stdinBase64", self.stdin_base64),
            args=None if self.args is None else tuple(self.args),
            files=files_of(self.files),
            call=self.call.call() if self.call else None,
            expected=self._expected(),
            comparison=self._comparison(),
            tolerance=self._tolerance(),
            is_hidden=bool(self.hidden),
            weight=1.0 if self.weight is None else self.weight,
        )

    def _expected(self) -> bytes | None:
        output = bytes_of(
            "expectedStdout",
            self.expected_stdout,
            "expectedStdoutBase64",
            self.expected_stdout_base64,
        )
        is_given = self.expected_value is not strawberry.UNSET
        if self.call is None:
            if is_given:
                raise invalid("expectedValue", "Only a `call` has an `expectedValue`.")
            return output
        if output is not None:
            message = "What a `call` returns is compared with `expectedValue`; leave this out."
            raise invalid("expectedStdout", message)
        return _as_json(self.expected_value) if is_given else None

    def _comparison(self) -> domain.Comparison:
        if self.comparison is not None:
            return domain.Comparison[self.comparison.name]
        return domain.Comparison.JSON if self.call else domain.Comparison.TRIMMED

    def _tolerance(self) -> domain.Tolerance | None:
        absolute, relative = self.absolute_tolerance, self.relative_tolerance
        if absolute is None and relative is None:
            return None
        return domain.Tolerance(absolute=absolute or 0.0, relative=relative or 0.0)


def _as_json(value: object) -> bytes:
    """Write a value that is expected.

    Raises:
        Rejected: it cannot be written.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        message = "`expectedValue` must be JSON, not nested too deep, without lone surrogates."
        raise invalid("expectedValue", message) from error


def suite_of(inputs: list[TestInput] | None, limits: Limits, *, stops: bool) -> Suite | None:
    """Return the tests, if there are any.

    Raises:
        Rejected: some cannot be read.
    """
    cases: list[Case] = []
    problems: list[Problem] = []
    for position, each in enumerate(inputs or ()):
        try:
            cases.append(each.case(position, limits))
        except Rejected as rejected:
            problems += within(rejected, "tests", str(position))
    if problems:
        raise Rejected(*problems[:MOST_PROBLEMS])
    return Suite(cases=tuple(cases), stops_on_failure=stops) if cases else None
