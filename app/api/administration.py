"""The part of the public API for whoever runs the service: keys, the audit log, the server."""

import re
from datetime import UTC, datetime, timedelta
from enum import Enum
from uuid import UUID

import strawberry
from strawberry import enum_value

from app.access.keys import make_key
from app.access.tokens import OWNER
from app.api.context import Context
from app.api.errors import (
    BadArgumentError,
    UserError,
    invalid_input,
    no_such,
)
from app.api.filters import require_text
from app.api.history import MAX_PAGE, PageInfo
from app.api.ids import decode_cursor, encode_cursor
from app.api.viewer import CallerRole
from app.domain import access as domain
from app.domain.access import Action, Role
from app.version import VERSION

_NAME = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,100}")
_MOST_DAYS = 3650


@strawberry.type(description="An API key, without its secret.")
class ApiKey:
    id: strawberry.ID = strawberry.field(description="To revoke it by.")
    owner: str = strawberry.field(description="The tenant that it belongs to.")
    name: str = strawberry.field(description="What it is for, in its maker's words.")
    role: CallerRole = strawberry.field(description="What it may do.")
    prefix: str = strawberry.field(description="How it begins.")
    created_at: datetime = strawberry.field(description="When it was made.")
    expires_at: datetime | None = strawberry.field(description="When it ends by itself.")
    revoked_at: datetime | None = strawberry.field(description="When it was revoked.")

    @classmethod
    def of(cls, key: domain.ApiKey) -> "ApiKey":
        """Translate."""
        return cls(
            id=strawberry.ID(str(key.id)),
            owner=key.owner,
            name=key.name,
            role=CallerRole(key.role),
            prefix=key.prefix,
            created_at=key.created_at,
            expires_at=key.expires_at,
            revoked_at=key.revoked_at,
        )


@strawberry.input(description="A key to be made.")
class CreateApiKeyInput:
    owner: str = strawberry.field(
        description="The tenant: 1 to 100 letters, digits and `._:@-`, beginning with one of the "
        "first two."
    )
    name: str = strawberry.field(description="What it is for: 1 to 100 characters.")
    role: CallerRole = strawberry.field(description="SERVICE or ADMIN.")
    expires_in_days: int | None = strawberry.field(
        default=None, description="When it ends by itself; left out: never."
    )


@strawberry.type(description="The answer to `createApiKey`.")
class CreateApiKeyPayload:
    api_key: ApiKey | None = strawberry.field(description="The key, without its secret.")
    secret: str | None = strawberry.field(
        description="The whole key. This is the only time that it is shown."
    )
    errors: list[UserError] = strawberry.field(description="Why there is none.")


@strawberry.input(description="A key to be revoked.")
class RevokeApiKeyInput:
    id: strawberry.ID = strawberry.field(description="The key's id.")


@strawberry.type(description="The answer to `revokeApiKey`.")
class RevokeApiKeyPayload:
    api_key: ApiKey | None = strawberry.field(description="The key as it is now.")
    errors: list[UserError] = strawberry.field(description="Why it could not be revoked.")


@strawberry.type(description="This server.")
class ServerInfo:
    version: str = strawberry.field(description="Of Greenroom.")
    executor: str = strawberry.field(description="Where programs run.")
    is_guarded: bool = strawberry.field(description="Whether callers must say who they are.")
    can_create_tokens: bool = strawberry.field(description="Whether it can make access tokens.")
    reads_tokens: bool = strawberry.field(description="Whether access tokens can be valid here.")


@strawberry.enum(description="What was done.")
class AuditAction(Enum):
    EXECUTE = enum_value(Action.EXECUTE, description="A program was accepted.")
    READ = enum_value(
        Action.READ,
        description="The program, its input or its output of somebody else's execution was read.",
    )
    TYPE = enum_value(Action.TYPE, description="Input was sent to a program.")
    CANCEL = enum_value(Action.CANCEL, description="An execution was to be stopped.")
    ERASE = enum_value(Action.ERASE, description="Executions were to be erased.")
    CREATE_TOKEN = enum_value(Action.CREATE_TOKEN, description="An access token was made.")
    CREATE_KEY = enum_value(Action.CREATE_KEY, description="An API key was made.")
    REVOKE_KEY = enum_value(Action.REVOKE_KEY, description="An API key was revoked.")


@strawberry.type(description="An entry of the audit log, which nobody can change.")
class AuditEntry:
    at: datetime = strawberry.field(description="When it was done.")
    owner: str = strawberry.field(description="The tenant whose caller it was.")
    action: AuditAction = strawberry.field(description="What was done.")
    target: str = strawberry.field(
        description="To what: the UUID of an execution or a key, whom a token is for, or what was "
        "chosen."
    )
    role: CallerRole = strawberry.field(description="As whom.")
    key_id: strawberry.ID | None = strawberry.field(description="By which key, if by one.")
    subject: str | None = strawberry.field(description="By whom; null for an API key.")
    session_id: str | None = strawberry.field(description="In which session.")

    @classmethod
    def of(cls, entry: domain.AuditEntry) -> "AuditEntry":
        """Translate."""
        return cls(
            at=entry.at,
            owner=entry.owner,
            action=AuditAction(entry.action),
            target=entry.target,
            role=CallerRole(entry.role),
            key_id=None if entry.key_id is None else strawberry.ID(str(entry.key_id)),
            subject=entry.subject,
            session_id=entry.session_id,
        )


@strawberry.type(description="Entries of the audit log, the newest first.")
class AuditConnection:
    nodes: list[AuditEntry] = strawberry.field(description="The entries.")
    page_info: PageInfo = strawberry.field(description="Where the page ends.")


@strawberry.input(description="Which entries; what is left out or null does not restrict.")
class AuditFilter:
    owner: str | None = strawberry.field(default=None, description="Of this tenant.")
    action: AuditAction | None = strawberry.field(default=None, description="Of this kind.")
    subject: str | None = strawberry.field(default=None, description="By this person.")
    session_id: str | None = strawberry.field(default=None, description="In this session.")

    def domain(self) -> domain.AuditFilter:
        """Return the filter in the domain's words.

        Raises:
            BadArgumentError: a text that no database can hold.
        """
        texts = {"owner": self.owner, "subject": self.subject, "sessionId": self.session_id}
        for name, text in texts.items():
            require_text(name, text)
        return domain.AuditFilter(
            owner=self.owner,
            action=Action(self.action.name) if self.action else None,
            subject=self.subject,
            session_id=self.session_id,
        )


def server_info(context: Context) -> ServerInfo:
    """Say what an administrator may know of this server."""
    doorkeeper = context.doorkeeper
    return ServerInfo(
        version=VERSION,
        executor=context.executions.executor.name,
        is_guarded=doorkeeper.is_guarding,
        can_create_tokens=doorkeeper.tokens.can_make,
        reads_tokens=doorkeeper.tokens.can_read,
    )


async def create_api_key(context: Context, input: CreateApiKeyInput) -> CreateApiKeyPayload:
    """Make a key, and show it once."""
    if errors := _problems(input):
        return CreateApiKeyPayload(api_key=None, secret=None, errors=errors)
    now, days = datetime.now(UTC), input.expires_in_days
    made = make_key(
        owner=input.owner,
        name=input.name,
        role=Role(input.role.name),
        created_at=now,
        expires_at=None if days is None else now + timedelta(days=days),
    )
    await context.auditor.note(context.caller, Action.CREATE_KEY, str(made.key.id))
    await context.registry.add_key(made.key, made.digest)
    return CreateApiKeyPayload(
        api_key=ApiKey.of(made.key), secret=made.text.get_secret_value(), errors=[]
    )


async def revoke_api_key(context: Context, input: RevokeApiKeyInput) -> RevokeApiKeyPayload:
    """Make a key open nothing any more: requests at once, sockets within a second."""
    id = _uuid(input.id)
    key = await context.registry.key(id) if id else None
    if id is None or key is None:
        return RevokeApiKeyPayload(api_key=None, errors=[no_such("key")])
    await context.auditor.note(context.caller, Action.REVOKE_KEY, str(id))
    await context.registry.revoke_key(id, datetime.now(UTC))
    key = await context.registry.key(id)
    return RevokeApiKeyPayload(api_key=ApiKey.of(key) if key else None, errors=[])


async def audit_log(
    context: Context, filter: AuditFilter | None, first: int, after: str | None
) -> AuditConnection:
    """Return a page of the audit log.

    Raises:
        BadArgumentError: the arguments make no sense.
    """
    if not 0 < first <= MAX_PAGE:
        message = f"`first` must be 1 to {MAX_PAGE}, not {first}."
        raise BadArgumentError(message)
    before = None if after is None else decode_cursor(after)
    if after is not None and before is None:
        message = "`after` is not a cursor of this connection."
        raise BadArgumentError(message)
    wanted = filter.domain() if filter else domain.AuditFilter()
    entries = await context.registry.audit(wanted, before=before, limit=first + 1)
    shown = entries[:first]
    return AuditConnection(
        nodes=[AuditEntry.of(entry) for entry in shown],
        page_info=PageInfo(
            has_next_page=len(entries) > first,
            has_previous_page=before is not None,
            start_cursor=encode_cursor(shown[0].id) if shown else None,
            end_cursor=encode_cursor(shown[-1].id) if shown else None,
        ),
    )


def _problems(input: CreateApiKeyInput) -> list[UserError]:
    found: list[UserError] = []
    if not OWNER.fullmatch(input.owner):
        found.append(invalid_input("`owner` cannot be that; see its description.", "owner"))
    if not _NAME.fullmatch(input.name):
        found.append(invalid_input("`name` must be 1 to 100 printable characters.", "name"))
    if Role(input.role.name).is_of_a_session:
        message = "A key is for SERVICE or ADMIN; for people, use `createAccessToken`."
        found.append(invalid_input(message, "role"))
    days = input.expires_in_days
    if days is not None and not 0 < days <= _MOST_DAYS:
        message = f"`expiresInDays` must be 1 to {_MOST_DAYS}, not {days}."
        found.append(invalid_input(message, "expiresInDays"))
    return found


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
