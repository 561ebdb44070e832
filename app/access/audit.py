"""The audit log: who ran, read, stopped and erased what, and who made keys.

Who looks at somebody else's execution again within the hour leaves one entry: a page that asks
every second is one reader.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from uuid6 import uuid7

from app.domain.access import Action, AuditEntry, Caller
from app.domain.execution import Execution
from app.storage.registry import Registry

_SAME_READER = 3600.0  # s
_MOST_KNOWN = 10_000  # readings that are remembered


class Auditor:
    """Writes the audit log; where nobody says who it is, there is nothing to write."""

    def __init__(self, registry: Registry, *, is_on: bool) -> None:
        self._registry, self.is_on = registry, is_on
        self._known: OrderedDict[tuple[UUID | None, str | None, UUID], float] = OrderedDict()

    def of_execution(self, caller: Caller) -> Callable[[Execution], AuditEntry] | None:
        """Return what makes the entry of an execution that is accepted."""
        if not self.is_on:
            return None

        def entry(execution: Execution) -> AuditEntry:
            made = _entry(caller, Action.EXECUTE, str(execution.id))
            return replace(made, session_id=execution.session_id)

        return entry

    async def note(self, caller: Caller, action: Action, target: str) -> None:
        """Write that a caller is about to do something."""
        if self.is_on:
            await self._registry.note(_entry(caller, action, target))

    async def note_reading(self, caller: Caller, executions: Iterable[Execution]) -> None:
        """Write that a caller reads these, as far as they are others' and that is news."""
        if not self.is_on:
            return
        read = [
            each
            for each in executions
            if not caller.is_author_of(each) and self._is_news(caller, each.id)
        ]
        if read:
            await self._registry.note(
                *(
                    replace(_entry(caller, Action.READ, str(each.id)), session_id=each.session_id)
                    for each in read
                )
            )
            self._remember(caller, read)

    def _is_news(self, caller: Caller, id: UUID) -> bool:
        last = self._known.get((caller.key_id, caller.subject, id))
        return last is None or time.monotonic() - last >= _SAME_READER

    def _remember(self, caller: Caller, read: Iterable[Execution]) -> None:
        """Take note of what stands in the log, and not before it does."""
        for each in read:
            key = (caller.key_id, caller.subject, each.id)
            self._known[key] = time.monotonic()
            self._known.move_to_end(key)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)


def _entry(caller: Caller, action: Action, target: str) -> AuditEntry:
    return AuditEntry(
        id=uuid7(),
        at=datetime.now(UTC),
        owner=caller.owner,
        action=action,
        target=target,
        role=caller.role,
        key_id=caller.key_id,
        subject=caller.subject,
        session_id=caller.session_id,
    )
