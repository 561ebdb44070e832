"""What can go wrong, by whose fault.

    Rejected         the caller's mistake, or no room: carries problems, each a value
    ExecutorError    ours or the provider's: no valid result from a sandbox
    Unavailable      the executor cannot run at all here, with what is missing and the remedy

A program's own failure is no error at all: it is an `Outcome`. Everything else is a bug.
"""

from dataclasses import dataclass


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
class ServerBusy:
    """Every slot is taken and the queue is full."""

    path: tuple[str, ...]
    message: str
    retry_after: float
    """Seconds: an estimate from how long recent runs took."""


Problem = InvalidInput | LimitTooHigh | LanguageUnavailable | ServerBusy


class Rejected(Exception):
    """A submission was refused and nothing was recorded."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


class ExecutorError(Exception):
    """The sandbox gave no valid result; the message may be shown to the caller."""


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
