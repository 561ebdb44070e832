"""How often somebody may ask: fixed windows, counted with the `limits` library.

On SQLite, which is for one process, the windows are in its memory. On PostgreSQL they are rows, so
that all processes together let through what one would.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b

from limits import RateLimitItem
from limits.aio.storage import MemoryStorage, Storage

from app.domain.access import Caller
from app.domain.errors import TooFast
from app.storage.registry import Registry

_MOST_KNOWN = 10_000  # windows that are remembered, to be told of without asking again


@dataclass(frozen=True, slots=True)
class Rates:
    """How often each may do one thing; None is without bound."""

    of_key: RateLimitItem | None = None
    of_subject: RateLimitItem | None = None
    of_address: RateLimitItem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What is left of a window of time."""

    limit: int
    remaining: int
    reset_at: datetime


class RegistryStorage(Storage):
    """Windows as rows, for the `limits` library."""

    STORAGE_SCHEME = None

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry
        self._ends: dict[str, float] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        """Name what is not wrapped here."""
        return OSError

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, and return how many there were in the window."""
        count, ends_at = await self._registry.hit(key, expiry, amount)
        if len(self._ends) >= _MOST_KNOWN:
            self._ends.clear()
        self._ends[key] = ends_at.timestamp()
        return count

    async def get(self, key: str) -> int:
        """Return how many there were in the window."""
        window = await self._registry.window(key)
        return window[0] if window else 0

    async def get_expiry(self, key: str) -> float:
        """Return when the window ends, as a time of Unix."""
        if self._ends.get(key, 0.0) > time.time():
            return self._ends[key]
        window = await self._registry.window(key)
        return window[1].timestamp() if window else time.time()

    async def check(self) -> bool:
        """Say that it is there; the pulse asks the database."""
        return True

    async def reset(self) -> int | None:
        """Forget what is over."""
        await self._registry.forget_windows(0.0)
        return None

    async def clear(self, key: str) -> None:
        """Leave a window to its end: nobody may make somebody's place free."""


class Turnstile:
    """Counts one thing that callers do."""

    def __init__(self, name: str, rates: Rates, storage: Storage) -> None:
        self._name, self._rates, self._storage = name, rates, storage
        self._full: dict[str, Window] = {}

    async def count(self, caller: Caller, number: int = 1) -> Window | None:
        """Count for a caller, and return what it has left.

        Raises:
            TooFast: it must wait.
        """
        item, who = self._own(caller)
        return await self._hit(item, who, number) if item else None

    async def look(self, caller: Caller) -> Window | None:
        """Return what the caller has left."""
        item, who = self._own(caller)
        if item is None:
            return None
        key = self._key(item, who)
        return await self._window(item, key, await self._storage.get(key))

    async def count_address(self, address: str, number: int = 1) -> None:
        """Count for an address.

        Raises:
            TooFast: it must wait.
        """
        if self._rates.of_address:
            await self._hit(self._rates.of_address, ("address", address), number)

    def _own(self, caller: Caller) -> tuple[RateLimitItem | None, tuple[str, ...]]:
        if caller.subject is None:
            return self._rates.of_key, ("key", str(caller.key_id))
        return self._rates.of_subject, ("subject", caller.owner, caller.subject)

    async def _hit(self, item: RateLimitItem, who: tuple[str, ...], number: int) -> Window:
        key = self._key(item, who)
        window = self._full.get(key)
        if window is None or window.reset_at <= datetime.now(UTC):
            # Of several, all or none: where they do not fit, they take nothing from the others.
            before = await self._storage.get(key) if number > 1 else 0
            if before + number <= item.amount:
                count = await self._storage.incr(key, item.get_expiry(), number)
                window = await self._window(item, key, count)
                if count <= item.amount:
                    return window
                self._remember(key, window)
            else:
                window = await self._window(item, key, before)
        message = f"Too many {self._name}: at most {item} from one {who[0]}."
        raise TooFast(message, limit=item.amount, until=window.reset_at)

    def _remember(self, key: str, window: Window) -> None:
        """Refuse from now on without a question: who is refused keeps no database busy."""
        if len(self._full) >= _MOST_KNOWN:
            self._full.clear()
        self._full[key] = window

    async def _window(self, item: RateLimitItem, key: str, count: int) -> Window:
        ends = await self._storage.get_expiry(key)
        return Window(
            limit=item.amount,
            remaining=max(item.amount - count, 0),
            reset_at=datetime.fromtimestamp(ends, UTC),
        )

    def _key(self, item: RateLimitItem, who: tuple[str, ...]) -> str:
        # As a digest: of any length, and the table names nobody.
        name = "\0".join((self._name, *who, *item.key_for()))
        return blake2b(name.encode(), digest_size=16).hexdigest()


def storage_for(registry: Registry, *, is_shared: bool) -> Storage:
    """Return where windows are kept: where other processes see them, or here."""
    return RegistryStorage(registry) if is_shared else MemoryStorage()
