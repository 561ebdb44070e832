"""Running something again as it was."""

from dataclasses import replace

from app.domain.access import Caller
from app.domain.execution import Execution, Submission
from app.storage.store import Store


async def again(store: Store, caller: Caller, origin: Execution) -> Submission | None:
    """Return what leads to the same run as an execution, unless it is gone meanwhile."""
    program = (await store.programs(origin.owner, [origin.id])).get(origin.id)
    if program is None:
        return None
    if origin.tests:
        program = replace(program, suite=await store.suite(origin.owner, origin.id))
    return Submission(
        owner=origin.owner,
        program=program,
        limits=origin.limits,
        kind=origin.kind,
        subject=caller.subject,
        session_id=origin.session_id,
        label=origin.label,
        metadata=origin.metadata,
        interactive=origin.interactive,
        origin_id=origin.id,
    )
