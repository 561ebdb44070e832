"""Query and Mutation: one resolver, one call."""

from typing import Annotated

import strawberry
from strawberry.schema.config import StrawberryConfig

from app.api import administration
from app.api.administration import (
    ApiKey,
    AuditConnection,
    AuditFilter,
    CreateApiKeyInput,
    CreateApiKeyPayload,
    RevokeApiKeyInput,
    RevokeApiKeyPayload,
    ServerInfo,
)
from app.api.context import Info
from app.api.enums import ExecutionOrder
from app.api.erasing import DeleteExecutionsInput, DeleteExecutionsPayload
from app.api.errors import (
    IMPLEMENTATIONS,
    NotRunning,
    UserError,
    UserErrorCode,
    not_found,
    user_errors,
)
from app.api.events import EVENTS
from app.api.filters import ExecutionFilter
from app.api.history import DEFAULT_PAGE, ExecutionConnection, ExecutionStats, window
from app.api.ids import decode_id
from app.api.inputs import (
    CancelExecutionInput,
    ExecuteCodeInput,
    RerunExecutionInput,
)
from app.api.languages import Language
from app.api.running import (
    ExecuteCodeBatchInput,
    ExecuteCodeBatchPayload,
    execute,
    execute_batch,
    execute_code,
)
from app.api.scalars import SCALARS
from app.api.service import Health, ServiceLimits, look_at_health
from app.api.subscription import Subscription
from app.api.types import CancelExecutionPayload, ExecuteCodePayload, Execution, Node
from app.api.typing_in import SendInputInput, SendInputPayload, send_input
from app.api.viewer import (
    CreateAccessTokenInput,
    CreateAccessTokenPayload,
    Viewer,
    create_access_token,
)
from app.domain import history
from app.domain.access import Action
from app.domain.errors import Rejected
from app.domain.execution import Execution as ExecutionRecord
from app.domain.execution import Status
from app.executions.again import again

_PAGE = "Executions sorted by the moment they were created, a page at a time (Relay connection)."

Id = Annotated[strawberry.ID, strawberry.argument(description="As this API has given it.")]
First = Annotated[
    int | None,
    strawberry.argument(description=f"How many from the start: {DEFAULT_PAGE} if left out."),
]
Last = Annotated[int | None, strawberry.argument(description="How many from the end instead.")]
After = Annotated[str | None, strawberry.argument(description="Only what follows this cursor.")]
Before = Annotated[str | None, strawberry.argument(description="Only what precedes this cursor.")]
Where = Annotated[ExecutionFilter | None, strawberry.argument(description="Which executions.")]
Sorted = Annotated[ExecutionOrder | None, strawberry.argument(description="How they are sorted.")]
Run = Annotated[ExecuteCodeInput, strawberry.argument(description="What to run, and how.")]
Batch = Annotated[ExecuteCodeBatchInput, strawberry.argument(description="What to run.")]
Repeat = Annotated[RerunExecutionInput, strawberry.argument(description="What to run again.")]
Stop = Annotated[CancelExecutionInput, strawberry.argument(description="What to stop.")]
Type = Annotated[SendInputInput, strawberry.argument(description="What to type, and where.")]
FirstEntries = Annotated[int, strawberry.argument(description="How many, 1 to 100.")]
Entries = Annotated[AuditFilter | None, strawberry.argument(description="Which entries.")]
Admit = Annotated[CreateAccessTokenInput, strawberry.argument(description="For whom.")]
MakeKey = Annotated[CreateApiKeyInput, strawberry.argument(description="For whom, and as what.")]
DropKey = Annotated[RevokeApiKeyInput, strawberry.argument(description="Which key.")]
Erase = Annotated[DeleteExecutionsInput, strawberry.argument(description="What to erase.")]


async def _find(info: Info, id: strawberry.ID) -> Execution | None:
    found = await info.context.find(decode_id(id))
    return Execution.of(found) if found else None


_ORDERS: dict[ExecutionOrder | None, history.Order] = {
    ExecutionOrder.CREATED_AT_DESC: history.Order.NEWEST_FIRST,
    ExecutionOrder.CREATED_AT_ASC: history.Order.OLDEST_FIRST,
    None: history.Order.NEWEST_FIRST,
}


@strawberry.type(description="What can be asked.")
class Query:
    @strawberry.field(description="Whatever has this id; null when nothing has.")
    async def node(self, info: Info, id: Id) -> Node | None:
        return await _find(info, id)

    @strawberry.field(description="One execution; null when there is none with this id.")
    async def execution(self, info: Info, id: Id) -> Execution | None:
        return await _find(info, id)

    @strawberry.field(description=_PAGE)
    async def executions(  # noqa: PLR0913 - the arguments of a connection
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Where = None,
        order_by: Sorted = ExecutionOrder.CREATED_AT_DESC,
    ) -> ExecutionConnection:
        wanted = _wanted(info, filter)
        slice = window(first=first, after=after, last=last, before=before, order=_ORDERS[order_by])
        page = await info.context.history.page(info.context.owner, wanted, slice)
        return ExecutionConnection(page=page, filter=wanted)

    @strawberry.field(description="Counts and durations of executions.")
    async def execution_stats(self, info: Info, filter: Where = None) -> ExecutionStats:
        wanted = _wanted(info, filter)
        return ExecutionStats.of(await info.context.history.stats(info.context.owner, wanted))

    @strawberry.field(description="Every language that Greenroom knows.")
    def languages(self, info: Info) -> list[Language]:
        supports = info.context.executions.executor.supports
        return [Language.of(each, supports(each)) for each in info.context.languages.values()]

    @strawberry.field(description="What this service accepts.")
    def limits(self, info: Info) -> ServiceLimits:
        return ServiceLimits.of(info.context.executions.rules)

    @strawberry.field(description="Whether the service can do its work.")
    async def health(self, info: Info) -> Health:
        return await look_at_health(info)

    @strawberry.field(description="Who you are, and what you may have.")
    def viewer(self, info: Info) -> Viewer:
        return Viewer.of(info.context.caller)

    @strawberry.field(description="What this server is; for administrators.")
    def server_info(self, info: Info) -> ServerInfo:
        return administration.server_info(info.context)

    @strawberry.field(description="Every API key, the oldest first; for administrators.")
    async def api_keys(self, info: Info) -> list[ApiKey]:
        return [ApiKey.of(key) for key in await info.context.registry.keys()]

    @strawberry.field(description="Who did what, the newest first; for administrators.")
    async def audit_log(
        self,
        info: Info,
        filter: Entries = None,
        first: FirstEntries = DEFAULT_PAGE,
        after: After = None,
    ) -> AuditConnection:
        return await administration.audit_log(info.context, filter, first, after)


@strawberry.type(description="What can be done.")
class Mutation:
    @strawberry.mutation(
        description="Run a program; answers when it ended, or with the running execution after "
        "`waitMs`. A program that fails, times out or runs out of memory is a successful mutation."
    )
    async def execute_code(self, info: Info, input: Run) -> ExecuteCodePayload:
        return await execute_code(info, input)

    @strawberry.mutation(
        description="Run several programs; each is answered as by `executeCode`. Whether there is "
        "room for them, by rates, quotas and the queue, is decided for all of them at once."
    )
    async def execute_code_batch(self, info: Info, input: Batch) -> ExecuteCodeBatchPayload:
        return await execute_batch(info, input)

    @strawberry.mutation(
        description="Run a program of the history again: the same program, input and limits, in "
        "the same session. Answers as `executeCode` does."
    )
    async def rerun_execution(self, info: Info, input: Repeat) -> ExecuteCodePayload:
        context = info.context
        # First what is cheap: how long a program takes to load tells of it.
        origin = await context.find(decode_id(input.id))
        submission = await again(context.history, context.caller, origin) if origin else None
        if origin is None or submission is None:
            return ExecuteCodePayload(execution=None, errors=[not_found()])
        # Whoever has a program run again can read it: the copy is its own.
        await context.auditor.note_reading(context.caller, [origin])
        try:
            return await execute(info, submission, input.wait())
        except Rejected as rejected:
            return ExecuteCodePayload(execution=None, errors=user_errors(rejected))

    @strawberry.mutation(
        description="Stop an execution; answers when no process of it is left. Its output is kept."
    )
    async def cancel_execution(self, info: Info, input: Stop) -> CancelExecutionPayload:
        context, id = info.context, decode_id(input.id)
        if id is None or not await context.may_touch(id, Action.CANCEL):
            return CancelExecutionPayload(execution=None, errors=[not_found()])
        found = await context.executions.cancel(context.owner, id)
        return CancelExecutionPayload(
            execution=Execution.of(found) if found else None, errors=_cancel_errors(found)
        )

    @strawberry.mutation(
        description="Type into a program that was submitted as interactive. Pieces arrive in the "
        "order in which they were accepted; one that is sent before it has begun waits for it."
    )
    async def send_input(self, info: Info, input: Type) -> SendInputPayload:
        return await send_input(info, input)

    @strawberry.mutation(
        description="Erase executions with their programs, input and output; what still runs is "
        "stopped first. Nothing of them is left in the database."
    )
    async def delete_executions(self, info: Info, input: Erase) -> DeleteExecutionsPayload:
        context = info.context
        try:
            chosen = input.chosen(context.owner)
        except Rejected as rejected:
            return DeleteExecutionsPayload.refused(rejected)
        await context.auditor.note(context.caller, Action.ERASE, input.described())
        return DeleteExecutionsPayload.of(await context.eraser.erase(chosen))

    @strawberry.mutation(
        description="Make a short-lived token for the browser of a candidate or an interviewer: it "
        "opens one session of yours."
    )
    async def create_access_token(self, info: Info, input: Admit) -> CreateAccessTokenPayload:
        return await create_access_token(info.context, input)

    @strawberry.mutation(description="Make an API key, and show it once; for administrators.")
    async def create_api_key(self, info: Info, input: MakeKey) -> CreateApiKeyPayload:
        return await administration.create_api_key(info.context, input)

    @strawberry.mutation(
        description="Revoke an API key, and with it the tokens that were made with it; for "
        "administrators. It opens nothing from now on, and who is connected by it is cut off."
    )
    async def revoke_api_key(self, info: Info, input: DropKey) -> RevokeApiKeyPayload:
        return await administration.revoke_api_key(info.context, input)


def _wanted(info: Info, filter: ExecutionFilter | None) -> history.Filter:
    wanted = filter.domain() if filter else history.Filter()
    return info.context.caller.narrowed(wanted)


def _cancel_errors(found: ExecutionRecord | None) -> list[UserError]:
    if found is None:
        return [not_found()]
    if found.status is Status.CANCELLED:
        return []
    message = f"The execution cannot be stopped here: it is {found.status}."
    return [NotRunning(code=UserErrorCode.NOT_RUNNING, message=message, path=["id"])]


schema = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    types=(*IMPLEMENTATIONS, *EVENTS),
    config=StrawberryConfig(scalar_map=SCALARS),
)
