"""Running something again as it was."""

from uuid import UUID

from app.domain.execution import Submission
from app.storage.store import Store


async def again(store: Store, owner: str, id: UUID) -> Submission | None:
    """Return what leads to the same run as one of the owner's executions, if it is there."""
    origin = (await store.executions(owner, [id])).get(id)
    program = (await store.programs(owner, [id])).get(id)
    if origin is None or program is None:
        return None
    return Submission(
        owner=owner,
        program=program,
        limits=origin.limits,
        session_id=origin.session_id,
        label=origin.label,
        metadata=origin.metadata,
        interactive=origin.interactive,
        origin_id=id,
    )
