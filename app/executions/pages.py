"""Events that are read once, for all who follow.

Theory of operation. Followers of one execution want the same events at the same moment, and a
flood has many of them. Who comes first reads a page and leaves it here for the others, for a short
time and within a bound. A follower holds the one event that it is about to send, whatever it still
has to read: so five hundred that do not read cost little, and a slow one comes back to the rows.

An event never changes, so an old copy is as good as a new one; that nothing follows can change
every moment. That is believed only of a read which began after the bell that one was woken by.
A few reads go on at one time: the rest of the database's readers is there for everybody else.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple
from uuid import UUID
from weakref import WeakValueDictionary

import anyio

from app.domain.errors import NoSuchExecution
from app.domain.events import Event, EventPage, OutputWritten
from app.domain.limits import MIB
from app.storage.store import Store

PAGE = 64  # events read at once, and about 1 MiB of output
MOST_KEPT = 32 * MIB  # of events that somebody may want soon
KEPT_FOR = 5.0  # s; what was erased meanwhile is not shown for longer
READERS = 2  # at one time, of the database's four on SQLite and ten on PostgreSQL
_EVENT_SIZE = 1024  # bytes, beside what a program wrote
_MOST_TAILS = 1000  # executions of which it is known where they stand


class Key(NamedTuple):
    """Whose events, and in whose eyes."""

    owner: str
    id: UUID
    sees_hidden: bool = True


class Silence(Enum):
    """That no event follows."""

    YET = auto()
    FOR_EVER = auto()


@dataclass(frozen=True, slots=True)
class _Tail:
    """Where the events of an execution ended, for a read that began then."""

    began: float
    number: int
    silence: Silence


class Pages:
    """The events that were read last."""

    def __init__(self, store: Store, most: int = MOST_KEPT) -> None:
        self.feed = store.feed
        self._store, self._most = store, most
        self._events: OrderedDict[tuple[Key, int], tuple[float, Event]] = OrderedDict()
        self._size = 0
        self._tails: OrderedDict[Key, _Tail] = OrderedDict()
        self._turns: WeakValueDictionary[Key, anyio.Lock] = WeakValueDictionary()
        self._readers = anyio.CapacityLimiter(READERS)

    async def next(
        self, key: Key, after: int, *, since: float, is_first: bool = False
    ) -> Event | Silence:
        """Return what follows an event.

        Args:
            key: whose execution, which, and in whose eyes.
            after: the number of the event.
            since: the moment of the last ring; what is said of the end must be newer.
            is_first: whether it was not asked for before, so that it must still be there.

        Raises:
            NoSuchExecution: there is none, or it was deleted.
        """
        oldest = since if is_first else time.monotonic() - KEPT_FOR
        if (known := self._known(key, after, since, oldest)) is not None:
            return known
        turn = self._turns.setdefault(key, anyio.Lock())
        async with turn:
            known = self._known(key, after, since, oldest)
            return await self._read(key, after) if known is None else known

    def _known(self, key: Key, after: int, since: float, oldest: float) -> Event | Silence | None:
        place = (key, after + 1)
        if (kept := self._events.get(place)) and kept[0] > oldest:
            self._events.move_to_end(place)
            return kept[1]
        tail = self._tails.get(key)
        return tail.silence if tail and tail.began > since and tail.number == after else None

    async def _read(self, key: Key, after: int) -> Event | Silence:
        async with self._readers:
            began = time.monotonic()
            page = await self._store.events(
                key.owner, key.id, after=after, limit=PAGE, sees_hidden=key.sees_hidden
            )
        if page is None:
            raise NoSuchExecution
        self._keep(key, after, began, page)
        silence = Silence.FOR_EVER if page.is_over else Silence.YET
        return page.events[0] if page.events else silence

    def _keep(self, key: Key, after: int, began: float, page: EventPage) -> None:
        for event in page.events:
            place = (key, event.sequence)
            self._forget(place)
            self._events[place] = began, event
            self._size += _size(event)
        while self._size > self._most:
            self._forget(next(iter(self._events)))
        if not page.has_more:
            number = page.events[-1].sequence if page.events else after
            silence = Silence.FOR_EVER if page.is_over else Silence.YET
            self._tails[key] = _Tail(began, number, silence)
            self._tails.move_to_end(key)
        while len(self._tails) > _MOST_TAILS:
            self._tails.popitem(last=False)

    def _forget(self, place: tuple[Key, int]) -> None:
        if kept := self._events.pop(place, None):
            self._size -= _size(kept[1])


def _size(event: Event) -> int:
    return _EVENT_SIZE + (len(event.output.data) if isinstance(event, OutputWritten) else 0)
