"""Tests that a program is run against: what it is given, and what is expected of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from app.domain.comparison import Comparison, Tolerance
from app.domain.limits import Limits

if TYPE_CHECKING:
    from app.domain.execution import File


class Verdict(StrEnum):
    """What a test says of a program, and what all of them say together."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    """It came to its end, with something else than was expected."""
    ERROR = "ERROR"
    """It did not come to its end, or could not be run at all."""
    SKIPPED = "SKIPPED"
    """It was not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a function that a program defines, instead of running it as a script."""

    function: str
    arguments: tuple[Any, ...] = ()
    """JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test."""

    name: str
    limits: Limits
    stdin: bytes | None = None
    """None: that of the program."""
    args: tuple[str, ...] | None = None
    """Likewise."""
    files: "tuple[File, ...]" = ()
    """Beside those of the program."""
    call: Call | None = None
    """None: the program is run as it is."""
    expected: bytes | None = None
    """What it must write to standard output, or return, as JSON; None: whatever it likes."""
    comparison: Comparison = Comparison.TRIMMED
    tolerance: Tolerance | None = None
    is_hidden: bool = False
    """Whether candidates see nothing of it but its verdict."""
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Tests in their order."""

    cases: tuple[Case, ...]
    stops_on_failure: bool = False
    """Whether what follows the first that is not passed is not run."""

    @property
    def hidden(self) -> int:
        """How many are hidden."""
        return sum(case.is_hidden for case in self.cases)
