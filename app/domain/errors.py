"""What can go wrong, by whose fault.

    Rejected         the caller's mistake, or no room: carries problems, each a value
    NotAdmitted      the caller is not let in: it says not who it is, or asks too often
    NoSuchExecution  the caller asks for what is not there, or not theirs
    InputRefused     a program takes no input, or no more for now
    ExecutorError    ours or the provider's: no valid result from a sandbox, or no sandbox
    Unavailable      the executor cannot run at all here, with what is missing and the remedy

A program's own failure is no error at all: it is an `Outcome`. Everything else is a bug.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from app.domain.execution import Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidInput:
    """An input that breaks a rule; `path` leads to it by the domain's names."""

    path: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitTooHigh:
    """A limit above what the operator allows; seconds, bytes or a count as the limit has it."""

    path: tuple[str, ...]
    message: str
    limit: str
    requested: float
    maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageUnavailable:
    """A language that this host cannot run now."""

    path: tuple[str, ...]
    message: str
    available: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionUnavailable:
    """A version of a language that this host does not have."""

    path: tuple[str, ...]
    message: str
    available: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentUnavailable:
    """Packages that a program of this language cannot have here."""

    path: tuple[str, ...]
    message: str
    available: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBusy:
    """Every slot is taken and the queue is full."""

    path: tuple[str, ...]
    message: str
    retry_after: float
    """Seconds: an estimate from how long recent runs took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyConflict:
    """A key that was used for something else."""

    path: tuple[str, ...]
    message: str
    earlier: Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimited:
    """Too many, too fast: of requests, or of executions at one time."""

    path: tuple[str, ...]
    message: str
    retry_after: float
    """Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaExceeded:
    """The owner has had what a day has for it."""

    path: tuple[str, ...]
    message: str
    retry_after: float
    """Seconds, until the next day begins in UTC."""


Problem = (
    InvalidInput
    | LimitTooHigh
    | LanguageUnavailable
    | VersionUnavailable
    | EnvironmentUnavailable
    | ServerBusy
    | RateLimited
    | QuotaExceeded
    | IdempotencyConflict
)


class Rejected(Exception):
    """A submission was refused and nothing was recorded."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


class NotAdmitted(Exception):
    """Somebody is not let in; the message may be shown."""


class Unknown(NotAdmitted):
    """It has no key and no token, or one that opens nothing."""


class TooFast(NotAdmitted):
    """It asks too often."""

    def __init__(self, message: str, *, limit: int, until: datetime) -> None:
        super().__init__(message)
        self.limit, self.until = limit, until

    @property
    def retry_after(self) -> float:
        """Seconds from now until it may ask again."""
        return max((self.until - datetime.now(UTC)).total_seconds(), 0.0)


class NoSuchExecution(Exception):
    """The owner has no execution with this id."""


class InputRefusal(StrEnum):
    """Why a program is not given any input."""

    NOT_INTERACTIVE = "NOT_INTERACTIVE"
    """It was not submitted as interactive: its input was closed when it began."""
    CLOSED = "CLOSED"
    """Somebody has closed its input."""
    ENDED = "ENDED"
    """It has ended."""
    FULL = "FULL"
    """It has not read what was sent before."""


class InputRefused(Exception):
    """Input was not taken, not even a part of it."""

    def __init__(self, reason: InputRefusal) -> None:
        super().__init__(_REFUSALS[reason])
        self.reason = reason


_REFUSALS = {
    InputRefusal.NOT_INTERACTIVE: "This execution is not interactive; submit it as such.",
    InputRefusal.CLOSED: "The input of this execution is closed.",
    InputRefusal.ENDED: "This execution has ended.",
    InputRefusal.FULL: "The program has not read what was sent before; send less, or later.",
}


class ExecutorError(Exception):
    """The sandbox gave no valid result; the message may be shown to the caller."""


class NoSandbox(ExecutorError):
    """None could be had in time, so nothing of the program has run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that a host must give, what was found, and what to do where it lacks."""

    name: str
    passed: bool
    detail: str
    remedy: str = ""
    required: bool = True


class Unavailable(Exception):
    """An executor refuses to run on this host; `checks` say why and what to do."""

    def __init__(self, *checks: Check) -> None:
        super().__init__("; ".join(f"{check.name}: {check.detail}" for check in checks))
        self.checks = checks
