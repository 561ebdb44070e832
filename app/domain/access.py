"""Who asks, and how much each may have."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.domain.execution import Execution
from app.domain.history import Filter


class Role(StrEnum):
    """What a caller is to the executions of its owner; `app/api/access.py` says what each may."""

    CANDIDATE = "CANDIDATE"
    INTERVIEWER = "INTERVIEWER"
    SERVICE = "SERVICE"
    ADMIN = "ADMIN"

    @property
    def is_of_a_session(self) -> bool:
        """Whether whoever has it belongs to one session of the owner's."""
        return self in {Role.CANDIDATE, Role.INTERVIEWER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody who may ask, until it expires or its key is revoked."""

    owner: str
    """The tenant, to whom executions belong."""
    role: Role
    subject: str | None = None
    """Who it is among the owner's people; None for a key, which is the owner's own."""
    session_id: str | None = None
    """The one session that it may see; None when it may see all of the owner's."""
    key_id: UUID | None = None
    """The key that it came with, or that its token was made with."""
    expires_at: datetime | None = None

    @property
    def sees_hidden(self) -> bool:
        """Whether it sees more of hidden tests than their verdicts."""
        return self.role is not Role.CANDIDATE

    def may_see(self, execution: Execution) -> bool:
        """Whether an execution exists for this caller."""
        return execution.owner == self.owner and self.session_id in {None, execution.session_id}

    def narrowed(self, filter: Filter) -> Filter:
        """Return a filter that lets through nothing but what exists for this caller."""
        if self.session_id is None:
            return filter
        if filter.session_id in {None, self.session_id}:
            return replace(filter, session_id=self.session_id)
        return replace(filter, session_id=self.session_id, statuses=frozenset())

    def is_author_of(self, execution: Execution) -> bool:
        """Whether it was this caller who had an execution run."""
        return execution.subject == self.subject


LOCAL = Caller(owner="local", role=Role.ADMIN)
"""Whoever asks a server that has no doors: it listens to this machine alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key for a back end or an operator, without its secret, which nobody keeps."""

    id: UUID
    owner: str
    name: str
    role: Role
    prefix: str
    """How it begins: enough to recognise it by."""
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_valid(self, at: datetime) -> bool:
        """Whether it opens anything at a moment."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How much one owner may have run, and how much at one time; None is without bound."""

    executions_a_day: int | None = None
    cpu_seconds_a_day: float | None = None
    submissions_a_day: int | None = None
    """Executions of the kind SUBMIT."""
    submissions_of_session: int | None = None
    """Likewise, in one session a day."""
    at_once_of_owner: int | None = None
    """Executions that have not ended."""
    at_once_of_subject: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What an owner has had of a day, in UTC."""

    executions: int = 0
    submissions: int = 0
    cpu_seconds: float = 0.0


class Action(StrEnum):
    """What is written into the audit log."""

    EXECUTE = "EXECUTE"
    READ = "READ"
    """The program, its input or its output, of somebody else's execution."""
    TYPE = "TYPE"
    """Input for a running program."""
    CANCEL = "CANCEL"
    ERASE = "ERASE"
    CREATE_TOKEN = "CREATE_TOKEN"  # noqa: S105 - no password
    CREATE_KEY = "CREATE_KEY"
    REVOKE_KEY = "REVOKE_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who did what to whose; never with a program's text, an output or a secret."""

    id: UUID
    at: datetime
    owner: str
    """Of what it was done to."""
    action: Action
    target: str
    """An execution's, a key's or a token's id; a session; or a number of executions."""
    role: Role
    key_id: UUID | None = None
    subject: str | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries; a field that is None does not restrict."""

    owner: str | None = None
    action: Action | None = None
    subject: str | None = None
    session_id: str | None = None
