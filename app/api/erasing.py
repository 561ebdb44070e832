"""The part of the public API in which an owner erases executions."""

from dataclasses import asdict
from uuid import UUID

import strawberry

from app.api.errors import StillRunning, UserError, UserErrorCode, user_errors
from app.api.filters import ExecutionFilter
from app.api.ids import decode_id, encode_id
from app.domain.errors import InvalidInput, Rejected
from app.domain.history import Filter
from app.executions.retention import MOST_ERASED, Erasure
from app.storage.store import Chosen


@strawberry.input(one_of=True, description="Which executions to erase: say it in one way.")
class DeleteExecutionsInput:
    ids: list[strawberry.ID] | None = strawberry.field(
        default=strawberry.UNSET,
        description=f"Those with these ids, at most {MOST_ERASED}; what is not there is no error.",
    )
    filter: ExecutionFilter | None = strawberry.field(
        default=strawberry.UNSET, description="All that match; it must restrict something."
    )
    session_id: str | None = strawberry.field(
        default=strawberry.UNSET, description="All of this session."
    )

    def described(self) -> str:
        """Say what is meant, for the audit log."""
        if self.ids:
            return " ".join(str(id) for id in _decoded(self.ids))
        if self.filter:
            return f"filter {_described(self.filter.domain())}"
        return f"session {self.session_id}" if isinstance(self.session_id, str) else "nothing"

    def chosen(self, owner: str) -> Chosen:
        """Return what is meant.

        Raises:
            Rejected: it is too much, or everything.
        """
        if self.ids:
            return Chosen(owner=owner, ids=_decoded(self.ids))
        if self.filter:
            return Chosen(owner=owner, filter=_restricting(self.filter))
        if isinstance(self.session_id, str):
            of_session = ExecutionFilter(session_id=self.session_id)
            return Chosen(owner=owner, filter=of_session.domain())
        return Chosen(owner=owner, ids=())


def _decoded(ids: list[strawberry.ID]) -> tuple[UUID, ...]:
    if len(ids) > MOST_ERASED:
        message = f"`ids` may have at most {MOST_ERASED} items, not {len(ids)}."
        raise Rejected(InvalidInput(path=("ids",), message=message))
    return tuple(id for id in map(decode_id, ids) if id is not None)


def _restricting(filter: ExecutionFilter) -> Filter:
    wanted = filter.domain()
    if wanted == Filter():
        message = "`filter` must restrict something; for everything, use `createdBefore`."
        raise Rejected(InvalidInput(path=("filter",), message=message))
    return wanted


def _described(filter: Filter) -> str:
    chosen = {name: value for name, value in asdict(filter).items() if value is not None}
    return " ".join(
        f"{name}={','.join(sorted(value)) if isinstance(value, frozenset) else value}"
        for name, value in chosen.items()
    )


@strawberry.type(description="The answer to `deleteExecutions`.")
class DeleteExecutionsPayload:
    deleted_count: int = strawberry.field(description="How many were erased.")
    has_more: bool = strawberry.field(
        description=f"Whether more is left: one call erases about {MOST_ERASED}. Call it again."
    )
    errors: list[UserError] = strawberry.field(description="Why not all could be erased.")

    @classmethod
    def of(cls, erasure: Erasure) -> "DeleteExecutionsPayload":
        """Translate."""
        return cls(
            deleted_count=erasure.count, has_more=erasure.has_more, errors=_left(erasure.running)
        )

    @classmethod
    def refused(cls, rejected: Rejected) -> "DeleteExecutionsPayload":
        """Say why nothing was erased."""
        return cls(deleted_count=0, has_more=False, errors=user_errors(rejected))


def _left(running: tuple[UUID, ...]) -> list[UserError]:
    if not running:
        return []
    return [
        StillRunning(
            code=UserErrorCode.STILL_RUNNING,
            message="Some executions could not be stopped, and are still there. Try again later.",
            path=None,
            execution_ids=[strawberry.ID(encode_id(id)) for id in running],
        )
    ]
