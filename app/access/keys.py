"""API keys: how they look, how one is made, and how one is known again.

A key is `grk_<prefix>_<secret>`. The prefix finds it and may be shown; of the secret only a digest
is kept. It has 256 bits of chance, so the digest needs neither salt nor many rounds.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr
from uuid6 import uuid7

from app.domain.access import ApiKey, Role
from app.storage.keys import StoredKey

MARK = "grk_"
_SHAPE = re.compile(r"(grk_[0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made: the only moment in which anybody has its text."""

    key: ApiKey
    text: SecretStr
    digest: bytes


def make_key(
    *, owner: str, name: str, role: Role, created_at: datetime, expires_at: datetime | None
) -> NewKey:
    """Make a key; nobody knows it yet."""
    prefix = f"{MARK}{secrets.token_hex(6)}"
    text = f"{prefix}_{secrets.token_urlsafe(32)}"
    key = ApiKey(
        id=uuid7(),
        owner=owner,
        name=name,
        role=role,
        prefix=prefix,
        created_at=created_at,
        expires_at=expires_at,
    )
    return NewKey(key=key, text=SecretStr(text), digest=_digest(text))


def prefix_of(text: str) -> str | None:
    """Return what a key can be found by, or None when it is no key."""
    match = _SHAPE.fullmatch(text)
    return match and match[1]


def is_proved(stored: StoredKey, text: str) -> bool:
    """Whether a text is the key."""
    return hmac.compare_digest(stored.digest, _digest(text))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
