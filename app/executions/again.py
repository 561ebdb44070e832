"""Running something again as it was."""

from uuid import UUID

from app.domain.access import Caller
from app.domain.execution import Submission
from app.storage.store import Store


async def again(store: Store, caller: Caller, id: UUID) -> Submission | None:
    """Return what leads to the same run as an execution that exists for a caller, if it does."""
    owner = caller.owner
    origin = (await store.executions(owner, [id])).get(id)
    if origin is None or not caller.may_see(origin):
        return None  # before its program is loaded, which takes time
    program = (await store.programs(owner, [id])).get(id)
    if program is None:
        return None
    return Submission(
        owner=owner,
        program=program,
        limits=origin.limits,
        subject=caller.subject,
        session_id=origin.session_id,
        label=origin.label,
        metadata=origin.metadata,
        interactive=origin.interactive,
        origin_id=id,
    )
