"""From what a caller wants to have run to the payload: one program, or several at once."""

from collections.abc import Mapping

import anyio
import strawberry

from app.api.context import Info
from app.api.errors import UserError, invalid_input, user_errors
from app.api.inputs import ExecuteCodeInput
from app.api.types import ExecuteCodePayload, Execution
from app.domain.errors import Rejected
from app.domain.execution import Execution as Record
from app.domain.execution import Submission
from app.executions.service import Waited

MOST_IN_BATCH = 20


@strawberry.input(description="Several programs to run.")
class ExecuteCodeBatchInput:
    executions: list[ExecuteCodeInput] = strawberry.field(
        description=f"1 to {MOST_IN_BATCH} programs, each as for `executeCode`, and waited for as "
        "long as it says."
    )


@strawberry.type(description="The answer to `executeCodeBatch`.")
class ExecuteCodeBatchPayload:
    payloads: list[ExecuteCodePayload] = strawberry.field(
        description="An answer to each, in the order in which they were given."
    )
    errors: list[UserError] = strawberry.field(
        description="Why the batch as a whole was refused; then there are no payloads."
    )


async def execute(info: Info, submission: Submission, wait: float) -> ExecuteCodePayload:
    """Run one program.

    Raises:
        Rejected: it is not accepted.
    """
    context = info.context
    await context.count_executions(1)
    noting = context.auditor.of_execution(context.caller)
    accepted = await context.executions.submit(submission, noting)
    waited = await context.executions.wait(accepted, wait)
    context.know(accepted.id, waited.transcript)
    return _answer(info, waited)


async def execute_code(info: Info, input: ExecuteCodeInput) -> ExecuteCodePayload:
    """Run one program, or say what is wrong with it."""
    try:
        wait, submission = _read(info, input)
        return await execute(info, submission, wait)
    except Rejected as rejected:
        return _refusal(rejected, input.names())


async def execute_batch(info: Info, batch: ExecuteCodeBatchInput) -> ExecuteCodeBatchPayload:
    """Run several programs: there is room for all of them that can be run, or for none."""
    if not 1 <= (number := len(batch.executions)) <= MOST_IN_BATCH:
        message = f"`executions` must have 1 to {MOST_IN_BATCH} items, not {number}."
        return ExecuteCodeBatchPayload(payloads=[], errors=[invalid_input(message, "executions")])
    payloads: dict[int, ExecuteCodePayload] = {}
    wanted: dict[int, tuple[float, Submission]] = {}
    for place, input in enumerate(batch.executions):
        try:
            wanted[place] = _read(info, input)
        except Rejected as rejected:
            payloads[place] = _refusal(rejected, input.names())
    accepted = await _submit_all(info, [submission for _, submission in wanted.values()])

    async def answer(place: int, found: Record | Rejected, wait: float) -> None:
        # What they have written is read when all are there: one may be erased meanwhile.
        payloads[place] = (
            _refusal(found, batch.executions[place].names())
            if isinstance(found, Rejected)
            else _answer(info, await info.context.executions.wait(found, wait))
        )

    async with anyio.create_task_group() as tasks:
        for (place, (wait, _)), found in zip(wanted.items(), accepted, strict=True):
            tasks.start_soon(answer, place, found, wait)
    return ExecuteCodeBatchPayload(payloads=[payloads[place] for place in range(number)], errors=[])


async def _submit_all(info: Info, submissions: list[Submission]) -> list[Record | Rejected]:
    context = info.context
    if not submissions:
        return []
    try:
        await context.count_executions(len(submissions))
    except Rejected as rejected:
        return [rejected] * len(submissions)
    noting = context.auditor.of_execution(context.caller)
    return await context.executions.submit_all(submissions, noting)


def _read(info: Info, input: ExecuteCodeInput) -> tuple[float, Submission]:
    """Return how long to wait, and for what.

    Raises:
        Rejected: a part of it cannot be read.
    """
    context = info.context
    wait, language = input.wait(), context.languages[input.language.value]
    return wait, input.submission(context.caller, language, context.executions.rules)


def _answer(info: Info, waited: Waited) -> ExecuteCodePayload:
    busy = info.context.executions.busy(waited.execution)
    errors = user_errors(Rejected(busy)) if busy else []
    return ExecuteCodePayload(execution=Execution.of(waited.execution), errors=errors)


def _refusal(rejected: Rejected, names: Mapping[str, str]) -> ExecuteCodePayload:
    return ExecuteCodePayload(execution=None, errors=user_errors(rejected, also_named=names))
