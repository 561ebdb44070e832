"""The part of the public API that types into a running program."""

import base64
import binascii
from uuid import UUID

import strawberry

from app.api.context import Info
from app.api.errors import (
    ExecutionType,
    InputBufferFull,
    InputClosed,
    NotInteractive,
    NotRunning,
    UserError,
    UserErrorCode,
    not_found,
    user_errors,
)
from app.api.ids import decode_id
from app.domain.access import Action
from app.domain.errors import (
    InputRefusal,
    InputRefused,
    InvalidInput,
    NoSuchExecution,
    Rejected,
)
from app.domain.execution import Execution as Record


@strawberry.input(description="Input for a program that runs, or is about to.")
class SendInputInput:
    id: strawberry.ID = strawberry.field(description="The execution's id.")
    text: str | None = strawberry.field(
        default=None,
        description="The input as text, taken as it is: most programs wait for a newline at its "
        "end. Not together with `base64`.",
    )
    base64: str | None = strawberry.field(default=None, description="The input as bytes.")
    eof: bool | None = strawberry.field(
        default=None, description="Whether this is the end of the input: nothing more may follow."
    )

    def data(self) -> bytes:
        """Return the input's bytes.

        Raises:
            Rejected: it cannot be read, or there is nothing to send.
        """
        if self.text is not None and self.base64 is not None:
            raise _invalid("base64", "Give `text` or `base64`, not both.")
        data = self._decoded() if self.base64 is not None else self._encoded()
        if not data and not self.eof:
            message = "There is nothing to send: give `text`, `base64` or `eof: true`."
            raise _invalid("text", message)
        return data

    def _decoded(self) -> bytes:
        try:
            return base64.b64decode(self.base64 or "", validate=True)
        except (binascii.Error, ValueError) as error:
            raise _invalid("base64", "`base64` is not valid base64.") from error

    def _encoded(self) -> bytes:
        try:
            return (self.text or "").encode()
        except UnicodeEncodeError as error:
            message = "`text` must be Unicode text without lone surrogates; use `base64`."
            raise _invalid("text", message) from error


@strawberry.type(description="The answer to `sendInput`.")
class SendInputPayload:
    record: strawberry.Private[Record | None]
    errors: list[UserError] = strawberry.field(
        description="Why it was not taken; then the program gets no part of it."
    )

    @strawberry.field(description="The execution as it is now; null when there is none.")
    def execution(self) -> ExecutionType | None:
        from app.api.types import Execution  # noqa: PLC0415 - it knows our errors

        return Execution.of(self.record) if self.record else None


async def send_input(info: Info, input: SendInputInput) -> SendInputPayload:
    """Hand the input over."""
    id = decode_id(input.id)
    if id is None or not await info.context.may_touch(id, Action.TYPE):
        return SendInputPayload(record=None, errors=[not_found()])
    errors = await _try(info, id, input)
    record = await info.context.find(id)
    return SendInputPayload(record=record, errors=errors)


async def _try(info: Info, id: UUID, input: SendInputInput) -> list[UserError]:
    executions, owner = info.context.executions, info.context.owner
    try:
        await executions.send_input(owner, id, input.data(), eof=bool(input.eof))
    except Rejected as rejected:
        return user_errors(rejected)
    except NoSuchExecution:
        return [not_found()]
    except InputRefused as refused:
        return [_refusal(refused)]
    return []


_REFUSALS: dict[InputRefusal, tuple[type[UserError], UserErrorCode]] = {
    InputRefusal.NOT_INTERACTIVE: (NotInteractive, UserErrorCode.NOT_INTERACTIVE),
    InputRefusal.CLOSED: (InputClosed, UserErrorCode.INPUT_CLOSED),
    InputRefusal.ENDED: (NotRunning, UserErrorCode.NOT_RUNNING),
    InputRefusal.FULL: (InputBufferFull, UserErrorCode.INPUT_BUFFER_FULL),
}


def _refusal(refused: InputRefused) -> UserError:
    kind, code = _REFUSALS[refused.reason]
    return kind(code=code, message=str(refused), path=["id"])


def _invalid(name: str, message: str) -> Rejected:
    return Rejected(InvalidInput(path=(name,), message=message))
