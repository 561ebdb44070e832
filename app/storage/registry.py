"""Keys, shares and the audit log, on SQLite and on PostgreSQL."""

from collections.abc import Collection
from datetime import datetime
from functools import partial
from uuid import UUID

from app.domain.access import ApiKey, AuditEntry, AuditFilter, Spent
from app.storage import audit, keys, usage
from app.storage.engine import Database
from app.storage.keys import StoredKey


class Registry:
    """Who may come in, and what they have had. Each method is one short transaction.

    Any method raises `StorageError` when the database cannot be used as it is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_key(self, key: ApiKey, digest: bytes) -> None:
        """Keep a key, by the digest of its secret."""
        await self._database.write(partial(keys.add, key=key, digest=digest))

    async def find_key(self, prefix: str) -> StoredKey | None:
        """Return the key that begins so."""
        return await self._database.read(partial(keys.find, prefix=prefix))

    async def key(self, id: UUID) -> ApiKey | None:
        """Return the key with this id."""
        return (await self._database.read(partial(keys.named, ids=[id]))).get(id)

    async def keys(self) -> tuple[ApiKey, ...]:
        """Return every key, the oldest first."""
        return await self._database.read(keys.all_keys)

    async def has_keys(self) -> bool:
        """Whether there has ever been a key."""
        return await self._database.read(keys.are_there)

    async def revoke_key(self, id: UUID, at: datetime) -> bool:
        """Make a key open nothing any more; False when it did not before."""
        return await self._database.write(partial(keys.revoke, id=id, at=at))

    async def dead_keys(self, ids: Collection[UUID], at: datetime) -> frozenset[UUID]:
        """Say which of these keys open nothing at a moment."""
        return await self._database.read(partial(keys.dead, ids=ids, at=at))

    async def spent(self, owner: str, at: datetime) -> Spent:
        """Return what an owner has had of the day of a moment."""
        return await self._database.read(partial(usage.spent, owner=owner, on=usage.day_of(at)))

    async def hit(self, key: str, seconds: float, amount: int) -> tuple[int, datetime]:
        """Count in a window of time, on PostgreSQL; return the count and the window's end."""
        return await self._database.write(
            partial(usage.hit, key=key, seconds=seconds, amount=amount)
        )

    async def window(self, key: str) -> tuple[int, datetime] | None:
        """Return the count and the end of a window, unless it is over."""
        return await self._database.read(partial(usage.window, key=key))

    async def forget_windows(self, ago: float) -> None:
        """Forget the windows that were over so many seconds ago."""
        await self._database.write(partial(usage.forget_windows, ago=ago))

    async def note(self, *entries: AuditEntry) -> None:
        """Write into the audit log."""
        await self._database.write(partial(audit.add, entries=entries))

    async def audit(
        self, wanted: AuditFilter, *, before: UUID | None, limit: int
    ) -> tuple[AuditEntry, ...]:
        """Return entries of the audit log, the newest first, that are older than one."""
        return await self._database.read(
            partial(audit.page, wanted=wanted, before=before, limit=limit)
        )
