"""Which executions of the history are meant."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum, StrEnum
from typing import TypeVar

import strawberry

from app.api.enums import ExecutionKind, ExecutionStatus, LanguageId, TestVerdict
from app.api.errors import BadArgumentError
from app.domain import history
from app.domain.execution import Kind, Status
from app.domain.testing import Verdict
from app.executions.rules import is_encodable

T = TypeVar("T", bound=StrEnum)


@strawberry.input(description="Which executions; what is left out or null does not restrict.")
class ExecutionFilter:
    status_in: list[ExecutionStatus] | None = strawberry.field(
        default=None, description="With one of these statuses."
    )
    language_in: list[LanguageId] | None = strawberry.field(
        default=None, description="In one of these languages."
    )
    kind_in: list[ExecutionKind] | None = strawberry.field(
        default=None, description="Of one of these kinds."
    )
    verdict_in: list[TestVerdict] | None = strawberry.field(
        default=None, description="With tests that together say one of these."
    )
    session_id: str | None = strawberry.field(default=None, description="Of this session.")
    label: str | None = strawberry.field(default=None, description="With exactly this label.")
    created_after: datetime | None = strawberry.field(
        default=None, description="Created after this moment."
    )
    created_before: datetime | None = strawberry.field(
        default=None, description="Created before this moment."
    )

    def domain(self) -> history.Filter:
        """Return the filter in the domain's words."""
        for name, text in (("sessionId", self.session_id), ("label", self.label)):
            require_text(name, text)
        return history.Filter(
            statuses=_named(Status, self.status_in),
            languages=None
            if self.language_in is None
            else frozenset(each.value for each in self.language_in),
            kinds=_named(Kind, self.kind_in),
            verdicts=_named(Verdict, self.verdict_in),
            session_id=self.session_id,
            label=self.label,
            created_after=self.created_after,
            created_before=self.created_before,
        )


def _named(kind: type[T], members: Sequence[Enum] | None) -> frozenset[T] | None:
    """Return the members of a closed set of the domain that have these names."""
    return None if members is None else frozenset(kind[each.name] for each in members)


def require_text(name: str, text: str | None) -> None:
    """Make sure that a text can be looked for.

    Raises:
        BadArgumentError: it cannot.
    """
    if text is not None and ("\0" in text or not is_encodable(text)):
        message = f"`{name}` must be Unicode text without NUL or lone surrogates."
        raise BadArgumentError(message)
