"""Subscription: what can be watched."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

import strawberry

from app.api.context import Info
from app.api.errors import ForbiddenError
from app.api.events import AfterEvent, ExecutionEvent, follow
from app.api.filters import require_text
from app.api.types import Execution

Watched = Annotated[strawberry.ID, strawberry.argument(description="The execution's id.")]
Session = Annotated[str, strawberry.argument(description="As it was given to `executeCode`.")]


@strawberry.type(
    description="What can be watched: over WebSocket (graphql-transport-ws), over Server-Sent "
    "Events, or as `multipart/mixed`."
)
class Subscription:
    @strawberry.subscription(
        description="Everything that happens to one execution, in order, each event once: what has "
        "happened after the event `after`, then what happens, to the end. Who was cut off comes "
        "back with the last `sequence` that arrived."
    )
    async def execution_events(
        self, info: Info, id: Watched, after: AfterEvent = 0
    ) -> AsyncGenerator[ExecutionEvent, None]:
        async with aclosing(follow(info, id, after)) as events:
            async for event in events:
                yield event

    @strawberry.subscription(
        description="The executions of a session: first those that have not ended, then each that "
        "is created or whose status changes. Changes that come faster than they are read are "
        "joined."
    )
    async def session_executions(
        self, info: Info, session_id: Session
    ) -> AsyncGenerator[Execution, None]:
        context = info.context
        require_text("sessionId", session_id)
        if context.caller.session_id not in {None, session_id}:
            raise ForbiddenError(f"You are in the session `{context.caller.session_id}` alone.")
        changes = context.executions.follow_session(context.owner, session_id)
        async with aclosing(changes):
            async for execution in changes:
                context.renew()
                yield Execution.of(execution)
