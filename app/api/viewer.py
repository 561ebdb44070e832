"""The part of the public API in which callers see who they are, and let others in."""

from datetime import UTC, datetime, timedelta
from enum import Enum

import strawberry
from strawberry import enum_value

from app.access.rates import Window
from app.access.tokens import MOST_NAME, is_name
from app.api.context import Context, Info
from app.api.errors import UserError, invalid_input
from app.domain.access import Action, Caller, Role, Spent

DEFAULT_LIFETIME = 3600  # s


@strawberry.enum(description="What a caller may do; the documentation has a table.")
class CallerRole(Enum):
    CANDIDATE = enum_value(Role.CANDIDATE, description="Runs and reads in one session.")
    INTERVIEWER = enum_value(Role.INTERVIEWER, description="Reads one session, live and past.")
    SERVICE = enum_value(Role.SERVICE, description="Runs and reads all of its owner.")
    ADMIN = enum_value(
        Role.ADMIN, description="A service that also manages keys and sees the server."
    )


@strawberry.type(description="How often one may ask, in a window of time.")
class RateLimit:
    limit: int = strawberry.field(description="So many in the window.")
    remaining: int = strawberry.field(description="So many are left.")
    reset_at: datetime = strawberry.field(description="When the next window begins.")

    @classmethod
    def of(cls, window: Window) -> "RateLimit":
        """Translate."""
        return cls(limit=window.limit, remaining=window.remaining, reset_at=window.reset_at)


@strawberry.type(description="What the owner may have of a day.")
class Quota:
    executions_limit: int | None = strawberry.field(description="Executions; null: any number.")
    executions_used: int = strawberry.field(description="How many were accepted today.")
    submissions_limit: int | None = strawberry.field(
        description="Executions of the kind SUBMIT; null: any number."
    )
    submissions_used: int = strawberry.field(description="How many of these were accepted today.")
    cpu_seconds_limit: float | None = strawberry.field(description="CPU time; null: any.")
    cpu_seconds_used: float = strawberry.field(description="What those that ended have used.")
    reset_at: datetime = strawberry.field(description="When the next day begins in UTC.")


@strawberry.type(description="Who asks.")
class Viewer:
    caller: strawberry.Private[Caller]
    owner: str = strawberry.field(description="The tenant, to whom executions belong.")
    role: CallerRole = strawberry.field(description="What you may do.")
    subject: str | None = strawberry.field(description="Who you are; null for an API key.")
    session_id: str | None = strawberry.field(
        description="The one session that you may see; null when you may see all of the owner's."
    )
    expires_at: datetime | None = strawberry.field(description="When your key or token ends.")

    @classmethod
    def of(cls, caller: Caller) -> "Viewer":
        """Translate."""
        return cls(
            caller=caller,
            owner=caller.owner,
            role=CallerRole(caller.role),
            subject=caller.subject,
            session_id=caller.session_id,
            expires_at=caller.expires_at,
        )

    @strawberry.field(description="How often you may ask; null: as often as you like.")
    async def rate_limit(self, info: Info) -> RateLimit | None:
        window = await info.context.doorkeeper.requests.look(self.caller)
        return RateLimit.of(window) if window else None

    @strawberry.field(description="How often you may run something; null: as often as you like.")
    async def execution_rate_limit(self, info: Info) -> RateLimit | None:
        window = await info.context.doorkeeper.executions.look(self.caller)
        return RateLimit.of(window) if window else None

    @strawberry.field(description="What your owner has had today; null where nobody counts.")
    async def quota(self, info: Info) -> Quota | None:
        shares, now = info.context.history.shares, datetime.now(UTC)
        if shares is None:
            return None
        spent: Spent = await info.context.registry.spent(self.caller.owner, now)
        tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return Quota(
            executions_limit=shares.executions_a_day,
            executions_used=spent.executions,
            submissions_limit=shares.submissions_a_day,
            submissions_used=spent.submissions,
            cpu_seconds_limit=shares.cpu_seconds_a_day,
            cpu_seconds_used=round(spent.cpu_seconds, 3),
            reset_at=tomorrow,
        )


@strawberry.enum(description="Whom an access token can be for.")
class TokenRole(Enum):
    CANDIDATE = enum_value(Role.CANDIDATE, description="Runs and reads in its session.")
    INTERVIEWER = enum_value(Role.INTERVIEWER, description="Reads its session, live and past.")


@strawberry.input(description="A token for a browser.")
class CreateAccessTokenInput:
    role: TokenRole = strawberry.field(description="Whom it is for.")
    session_id: str = strawberry.field(description="The one session that it opens.")
    subject: str = strawberry.field(
        description="Who it is for, in your own words: 1 to 200 printable characters."
    )
    expires_in_seconds: int | None = strawberry.field(
        default=None, description=f"How long it is good for: {DEFAULT_LIFETIME} if left out."
    )


@strawberry.type(description="The answer to `createAccessToken`.")
class CreateAccessTokenPayload:
    access_token: str | None = strawberry.field(
        description="A JWT; send it as `Authorization: Bearer`. Keep it nowhere."
    )
    expires_at: datetime | None = strawberry.field(description="When it ends.")
    errors: list[UserError] = strawberry.field(description="Why there is none.")


async def create_access_token(
    context: Context, input: CreateAccessTokenInput
) -> CreateAccessTokenPayload:
    """Make a token for somebody in one of the caller's sessions."""
    tokens = context.doorkeeper.tokens
    longest = tokens.rules.longest
    lifetime = timedelta(seconds=input.expires_in_seconds or min(DEFAULT_LIFETIME, longest))
    if (ends := context.caller.expires_at) is not None:
        # Nobody hands on what it does not have itself.
        lifetime = min(lifetime, ends - datetime.now(UTC))
    errors = _problems(input, longest)
    if not tokens.can_make:
        message = "This server has no secret to make tokens with; see GREENROOM_JWT_SECRET."
        errors.append(invalid_input(message))
    if errors:
        return CreateAccessTokenPayload(access_token=None, expires_at=None, errors=errors)
    bearer = Caller(
        owner=context.owner,
        role=Role(input.role.name),
        subject=input.subject,
        session_id=input.session_id,
        key_id=context.caller.key_id,
    )
    target = f"{bearer.role} {bearer.subject} in {bearer.session_id}"
    await context.auditor.note(context.caller, Action.CREATE_TOKEN, target)
    token, ends = tokens.make(bearer, lifetime=lifetime)
    return CreateAccessTokenPayload(
        access_token=token.get_secret_value(), expires_at=ends, errors=[]
    )


def _problems(input: CreateAccessTokenInput, longest: float) -> list[UserError]:
    found: list[UserError] = []
    for name, text in (("sessionId", input.session_id), ("subject", input.subject)):
        if not is_name(text):
            message = f"`{name}` must be 1 to {MOST_NAME} printable characters."
            found.append(invalid_input(message, name))
    seconds = input.expires_in_seconds
    if seconds is not None and not 0 < seconds <= longest:
        message = f"`expiresInSeconds` must be 1 to {longest:g}, not {seconds}."
        found.append(invalid_input(message, "expiresInSeconds"))
    return found
