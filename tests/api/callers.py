"""Callers with tokens and keys of their own, before one guarded application."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from app.access.keys import NewKey, make_key
from app.domain.access import Role
from app.storage.store import Store

from .client import Api

SECRET = "a secret for tests that is long enough"


def token(
    owner: str = "acme",
    subject: str = "ada",
    role: str = "CANDIDATE",
    session_id: str | None = "interview-1",
    *,
    secret: str = SECRET,
    **claims: Any,
) -> str:
    """Mint a token as a platform's back end does; a claim that is None is left out."""
    stated: dict[str, Any] = {
        "owner": owner,
        "sub": subject,
        "role": role,
        "sessionId": session_id,
        "aud": "greenroom",
        "exp": datetime.now(UTC) + timedelta(minutes=5),
    }
    stated |= claims
    return jwt.encode({name: value for name, value in stated.items() if value is not None}, secret)


def with_token(api: Api, credential: str) -> Api:
    """Return a client of the same server that comes with a token or a key."""
    return Api(api.http, credential)


def candidate(api: Api, session_id: str = "interview-1", **claims: Any) -> Api:
    return with_token(api, token(session_id=session_id, **claims))


def interviewer(api: Api, session_id: str = "interview-1", **claims: Any) -> Api:
    claims = {"subject": "ivan"} | claims
    return with_token(api, token(role="INTERVIEWER", session_id=session_id, **claims))


def service(api: Api, owner: str = "acme", **claims: Any) -> Api:
    claims = {"subject": "back end"} | claims
    return with_token(api, token(owner, role="SERVICE", session_id=None, **claims))


async def new_key(
    store: Store, owner: str = "acme", role: Role = Role.SERVICE, **changes: Any
) -> NewKey:
    """Make a key and keep it."""
    now = datetime.now(UTC)
    wanted: dict[str, Any] = {"name": "test", "created_at": now, "expires_at": None} | changes
    made = make_key(owner=owner, role=role, **wanted)
    await store.registry.add_key(made.key, made.digest)
    return made
