"""What came of the tests of an execution."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.domain.execution import Outcome, Status
from app.domain.testing import Case, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What came of one test, as it is written down."""

    position: int
    """Of the test in its suite, from 0."""
    rank: int
    """1 for the test that ended first, and so on."""
    at: datetime
    verdict: Verdict
    outcome: Outcome
    stdout: bytes
    """Its beginning."""
    returned: bytes | None
    """What the function returned, as JSON, if it did and that is not long."""
    stderr: bytes
    difference: str
    """Where what it wrote is not what was expected, for people; empty if it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRun:
    """A test and how it stands, without what it reads and writes."""

    execution_id: UUID
    position: int
    name: str
    is_hidden: bool
    weight: float
    verdict: Verdict | None
    """None: it has not ended."""
    outcome: Outcome | None
    """None: it has not ended, or was not run."""
    ended_at: datetime | None


def told(verdict: Verdict | None, status: Status) -> Verdict | None:
    """Return what whoever may not see hidden tests is told of one, by the status of its execution.

    Where they were not carried out to the end, it is not told which of them had ended by then.
    """
    if not status.is_final:
        return None
    return verdict if status is Status.SUCCEEDED else Verdict.SKIPPED


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseDetails:
    """What a test reads, and what the program wrote."""

    case: Case
    returned: bytes | None
    stdout: bytes
    stderr: bytes
    difference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Tests of an execution that stand alike."""

    is_hidden: bool
    verdict: Verdict | None
    count: int
    weight: float
    """Of all of them together."""
