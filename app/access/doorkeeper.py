"""Lets callers in by their key or token, and shows them out when it is over.

Theory of operation. Whoever asks is known anew with each request: a key is looked up by its prefix,
and a token that was made with a key here is good while that key is. A socket or a stream goes on
for hours, so while one is open `keep` asks every second whether its key still opens something, and
a token ends it by itself when it expires. Asking again and again works on both databases and for a
key that is revoked on the command line; a bell would not.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import anyio
from limits.aio.storage import Storage

from app.access.keys import MARK, is_proved, prefix_of
from app.access.rates import Rates, Turnstile
from app.access.tokens import Tokens
from app.domain.access import LOCAL, Caller
from app.domain.errors import Unknown
from app.storage.errors import StorageError
from app.storage.registry import Registry

log = logging.getLogger(__name__)

_EVERY = 1.0  # s between looks at the keys of who is connected
_FORGET_EVERY = 60  # looks; of windows of time that are over
_FORGOTTEN_AFTER = 60.0  # s
_MISSING = (
    "This server asks who you are: send `Authorization: Bearer` with a key or an access token."
)
_WRONG_KEY = "The API key is not valid here."


class Doorkeeper:
    """Knows callers; made by `open_doorkeeper`.

    Args:
        is_guarding: whether one must say who one is; otherwise everybody is `LOCAL`.
    """

    def __init__(  # noqa: PLR0913 - all that decides who comes in
        self,
        registry: Registry,
        tokens: Tokens,
        *,
        requests: Rates,
        executions: Rates,
        storage: Storage,
        is_guarding: bool,
    ) -> None:
        self.tokens, self.is_guarding = tokens, is_guarding
        self.executions = Turnstile("executions", executions if is_guarding else Rates(), storage)
        self.requests = Turnstile("requests", requests if is_guarding else Rates(), storage)
        self._registry = registry
        self._present: Counter[UUID] = Counter()
        self._shut: dict[UUID, anyio.Event] = {}

    async def admit(self, credential: str | None, address: str) -> Caller:
        """Return who comes from an address with a key or a token.

        Raises:
            NotAdmitted: nobody we know, or there come too many.
        """
        if not self.is_guarding:
            return LOCAL
        # First: who guesses keeps the database busy.
        await self.requests.count_address(address)
        return await self._know(credential)

    async def until_shut_out(self, caller: Caller) -> str:
        """Wait until a caller may stay no longer; return why."""
        with anyio.CancelScope(deadline=_deadline(caller.expires_at)):
            if caller.key_id is None:
                await anyio.sleep_forever()
            else:
                await self._until_revoked(caller.key_id)
                return "API key revoked"
        return "Key or access token expired"

    async def keep(self) -> None:
        """Look after the keys of who is connected, until cancelled."""
        looks = 0
        while True:
            await anyio.sleep(_EVERY)
            looks += 1
            try:
                if self._present:
                    await self._look()
                if looks % _FORGET_EVERY == 0:
                    await self._registry.forget_windows(_FORGOTTEN_AFTER)
            except StorageError as error:
                log.warning("keys not looked at", extra={"reason": str(error)})
            except Exception:
                # Whatever it was, somebody must go on to look.
                log.exception("keys not looked at")

    async def _know(self, credential: str | None) -> Caller:
        if not credential:
            raise Unknown(_MISSING)
        if credential.startswith(MARK):
            return await self._know_key(credential)
        caller = await self.tokens.read(credential)
        if caller.key_id is not None and not await self._is_good(caller):
            raise Unknown(_WRONG_KEY)
        return caller

    async def _know_key(self, text: str) -> Caller:
        prefix = prefix_of(text)
        stored = await self._registry.find_key(prefix) if prefix else None
        if stored is None or not is_proved(stored, text):
            raise Unknown(_WRONG_KEY)
        if not stored.key.is_valid(datetime.now(UTC)):
            raise Unknown("The API key has been revoked, or has expired.")
        key = stored.key
        return Caller(owner=key.owner, role=key.role, key_id=key.id, expires_at=key.expires_at)

    async def _is_good(self, caller: Caller) -> bool:
        """Whether the key that a token was made with is there, is its owner's, and valid."""
        assert caller.key_id is not None  # noqa: S101 - who calls has asked
        key = await self._registry.key(caller.key_id)
        return key is not None and key.owner == caller.owner and key.is_valid(datetime.now(UTC))

    async def _until_revoked(self, key_id: UUID) -> None:
        shut = self._shut.setdefault(key_id, anyio.Event())
        self._present[key_id] += 1
        try:
            await shut.wait()
        finally:
            self._present[key_id] -= 1
            if not self._present[key_id]:
                del self._present[key_id]
                self._shut.pop(key_id, None)

    async def _look(self) -> None:
        for id in await self._registry.dead_keys(list(self._present), datetime.now(UTC)):
            if shut := self._shut.pop(id, None):
                shut.set()


def _deadline(moment: datetime | None) -> float:
    """Return a moment by the event loop's clock."""
    if moment is None:
        return float("inf")
    return anyio.current_time() + (moment - datetime.now(UTC)).total_seconds()


@asynccontextmanager
async def open_doorkeeper(doorkeeper: Doorkeeper) -> AsyncIterator[Doorkeeper]:
    """Keep the doors until the end of the block."""
    async with anyio.create_task_group() as tasks:
        if doorkeeper.is_guarding:
            tasks.start_soon(doorkeeper.keep)
        yield doorkeeper
        tasks.cancel_scope.cancel()
