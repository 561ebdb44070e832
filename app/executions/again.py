"""Running something again as it was."""

from app.domain.access import Caller
from app.domain.execution import Execution, Submission
from app.storage.store import Store


async def again(store: Store, caller: Caller, origin: Execution) -> Submission | None:
    """Return what leads to the same run as an execution, unless it is gone meanwhile."""
    program = (await store.programs(origin.owner, [origin.id])).get(origin.id)
    if program is None:
        return None
    return Submission(
        owner=origin.owner,
        program=program,
        limits=origin.limits,
        subject=caller.subject,
        session_id=origin.session_id,
        label=origin.label,
        metadata=origin.metadata,
        interactive=origin.interactive,
        origin_id=origin.id,
    )
