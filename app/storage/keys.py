"""API keys: each function is the inside of one transaction."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, exists, insert, or_, select, update

from app.domain.access import ApiKey, Role
from app.storage.access_rows import KEYS
from app.storage.mapping import AnyRow, plain

_INSERT = insert(KEYS)
_FIND = select(KEYS).where(KEYS.c.prefix == bindparam("prefix"))
_ALL = select(KEYS).order_by(KEYS.c.id)
_ANY = select(exists(select(KEYS.c.id)))
_REVOKE = (
    update(KEYS)
    .where(KEYS.c.id == bindparam("this"), KEYS.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
)
_DEAD = select(KEYS.c.id).where(
    KEYS.c.id.in_(bindparam("ids", expanding=True)),
    or_(KEYS.c.revoked_at.is_not(None), KEYS.c.expires_at <= bindparam("at")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A key, and what its secret is proved with."""

    key: ApiKey
    digest: bytes


def add(connection: Connection, key: ApiKey, digest: bytes) -> None:
    """Keep a key."""
    connection.execute(
        _INSERT,
        {
            "id": key.id,
            "owner": key.owner,
            "name": key.name,
            "role": key.role.value,
            "prefix": key.prefix,
            "digest": digest,
            "created_at": key.created_at,
            "expires_at": key.expires_at,
        },
    )


def find(connection: Connection, prefix: str) -> StoredKey | None:
    """Return the key that begins so."""
    row = connection.execute(_FIND, {"prefix": prefix}).first()
    return None if row is None else StoredKey(key=_key_of(row), digest=row.digest)


def named(connection: Connection, ids: Collection[UUID]) -> dict[UUID, ApiKey]:
    """Return keys by their ids."""
    rows = connection.execute(select(KEYS).where(KEYS.c.id.in_(ids)))
    return {key.id: key for key in map(_key_of, rows)}


def all_keys(connection: Connection) -> tuple[ApiKey, ...]:
    """Return every key, the oldest first."""
    return tuple(map(_key_of, connection.execute(_ALL)))


def are_there(connection: Connection) -> bool:
    """Whether there has ever been a key."""
    return bool(connection.execute(_ANY).scalar_one())


def revoke(connection: Connection, id: UUID, at: datetime) -> bool:
    """Make a key open nothing any more; False when it did not before."""
    return connection.execute(_REVOKE, {"this": id, "at": at}).rowcount == 1


def dead(connection: Connection, ids: Collection[UUID], at: datetime) -> frozenset[UUID]:
    """Say which of these keys open nothing."""
    values: dict[str, Any] = {"ids": list(ids), "at": at}
    return frozenset(map(plain, connection.execute(_DEAD, values).scalars()))


def _key_of(row: AnyRow) -> ApiKey:
    return ApiKey(
        id=plain(row.id),
        owner=row.owner,
        name=row.name,
        role=Role(row.role),
        prefix=row.prefix,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
