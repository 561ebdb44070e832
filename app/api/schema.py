"""Query and Mutation: one resolver, one call."""

from typing import Annotated

import strawberry
from strawberry.schema.config import StrawberryConfig

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
from app.api.history import DEFAULT_PAGE, ExecutionConnection, ExecutionStats, window
from app.api.ids import decode_id
from app.api.inputs import (
    CancelExecutionInput,
    ExecuteCodeInput,
    ExecutionFilter,
    RerunExecutionInput,
)
from app.api.scalars import SCALARS
from app.api.service import Health, ServiceLimits, look_at_health
from app.api.subscription import Subscription
from app.api.types import CancelExecutionPayload, ExecuteCodePayload, Execution, Language, Node
from app.api.typing_in import SendInputInput, SendInputPayload, send_input
from app.domain import history
from app.domain.errors import Rejected
from app.domain.execution import Execution as ExecutionRecord
from app.domain.execution import Status, Submission
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
Repeat = Annotated[RerunExecutionInput, strawberry.argument(description="What to run again.")]
Stop = Annotated[CancelExecutionInput, strawberry.argument(description="What to stop.")]
Type = Annotated[SendInputInput, strawberry.argument(description="What to type, and where.")]
Erase = Annotated[DeleteExecutionsInput, strawberry.argument(description="What to erase.")]


async def _find(info: Info, id: strawberry.ID) -> Execution | None:
    decoded = decode_id(id)
    if decoded is None:
        return None
    found = await info.context.history.executions(info.context.owner, [decoded])
    return Execution.of(found[decoded]) if decoded in found else None


async def _execute(info: Info, submission: Submission, wait: float) -> ExecuteCodePayload:
    executions = info.context.executions
    accepted = await executions.submit(submission)
    return ExecuteCodePayload(
        execution=Execution.of(await executions.wait(accepted, wait)), errors=[]
    )


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
        wanted = filter.domain() if filter else history.Filter()
        slice = window(first=first, after=after, last=last, before=before, order=_ORDERS[order_by])
        page = await info.context.history.page(info.context.owner, wanted, slice)
        return ExecutionConnection(page=page, filter=wanted)

    @strawberry.field(description="Counts and durations of executions.")
    async def execution_stats(self, info: Info, filter: Where = None) -> ExecutionStats:
        wanted = filter.domain() if filter else history.Filter()
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


@strawberry.type(description="What can be done.")
class Mutation:
    @strawberry.mutation(
        description="Run a program; answers when it ended, or with the running execution after "
        "`waitMs`. A program that fails, times out or runs out of memory is a successful mutation."
    )
    async def execute_code(self, info: Info, input: Run) -> ExecuteCodePayload:
        executions = info.context.executions
        try:
            wait = input.wait()
            language = info.context.languages[input.language.value]
            submission = input.submission(info.context.owner, language, executions.rules)
            return await _execute(info, submission, wait)
        except Rejected as rejected:
            return ExecuteCodePayload(execution=None, errors=user_errors(rejected))

    @strawberry.mutation(
        description="Run a program of the history again: the same program, input and limits, in "
        "the same session. Answers as `executeCode` does."
    )
    async def rerun_execution(self, info: Info, input: Repeat) -> ExecuteCodePayload:
        context, id = info.context, decode_id(input.id)
        submission = await again(context.history, context.owner, id) if id else None
        if submission is None:
            return ExecuteCodePayload(execution=None, errors=[not_found()])
        try:
            return await _execute(info, submission, input.wait())
        except Rejected as rejected:
            return ExecuteCodePayload(execution=None, errors=user_errors(rejected))

    @strawberry.mutation(
        description="Stop an execution; answers when no process of it is left. Its output is kept."
    )
    async def cancel_execution(self, info: Info, input: Stop) -> CancelExecutionPayload:
        id = decode_id(input.id)
        found = await info.context.executions.cancel(info.context.owner, id) if id else None
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
        try:
            chosen = input.chosen(info.context.owner)
        except Rejected as rejected:
            return DeleteExecutionsPayload.refused(rejected)
        return DeleteExecutionsPayload.of(await info.context.eraser.erase(chosen))


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
