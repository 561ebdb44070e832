"""Ends what dead servers have left at Modal, and nothing else.

Theory of operation. A box says by a tag which replica of the service made it. A replica writes
down, in the database of its installation, until when it lives, before it makes its first box. So
of each owner that a box names we know one of three things: it lives; it has died, because we know
it and its time is over by more than a grace; or we do not know it, because it belongs to another
installation that shares the token. Boxes of the dead are ended, unless an execution that has not
ended is in one: another server takes that over. Whatever cannot be found out ends nothing.
A box that nobody reaps ends with its lifetime.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import uuid4

import anyio
import modal

from app.domain.ports import Placement
from app.executors.modal.account import Account, end
from app.executors.modal.errors import ModalError

log = logging.getLogger(__name__)

SERVICE = "greenroom"
_LIFE = timedelta(seconds=60)
_BEAT = 15.0  # s; three may fail before the life is over
_GRACE = timedelta(seconds=60)  # for clocks that differ, and for a server that was only held up
_MEMORY = timedelta(hours=25)  # Modal ends every box after a day
_PATIENCE = 10.0  # s for the database
ROUND = 60.0  # s between two looks at what there is


class Registry(Protocol):
    """Where the replicas of one installation know each other from."""

    async def keep_replica(self, name: str, *, until: datetime) -> None:
        """Say that a replica lives until then."""

    async def dead_replicas(self, *, after: datetime, before: datetime) -> frozenset[str]:
        """Name the replicas that were to live until some time in between."""

    async def placements(self) -> tuple[Placement, ...]:
        """Say where the executions are that have not ended."""


class Replica:
    """This server among those that share a database."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.name = uuid4().hex

    @property
    def tags(self) -> Mapping[str, str]:
        """What the boxes of this replica say of themselves."""
        return {"service": SERVICE, "owner": self.name}

    async def live(self) -> None:
        """Say that we live; a failure is logged, and tried again with the next beat."""
        await self._say(datetime.now(UTC) + _LIFE)

    async def leave(self) -> None:
        """Say that we have ended: what is left of us may go soon."""
        await self._say(datetime.now(UTC))

    async def beat(self) -> None:
        """Go on living, until cancelled."""
        while True:
            await anyio.sleep(_BEAT)
            await self.live()

    async def reap(self, account: Account) -> int:
        """End the boxes that nobody owns any more; return how many."""
        count = 0
        try:
            for owner in await self._dead():
                tags = {"service": SERVICE, "owner": owner}
                for box in await account.boxes(tags):
                    count += await self._end(box)
        except Exception:
            # Whatever it was: who is not known to be dead may live.
            log.exception("modal: sandboxes of dead servers not looked for")
        if count:
            log.warning("modal: sandboxes of dead servers ended", extra={"count": count})
        return count

    async def _dead(self) -> frozenset[str]:
        until = datetime.now(UTC) - _GRACE
        with anyio.fail_after(_PATIENCE):
            return await self._registry.dead_replicas(after=until - _MEMORY, before=until)

    async def _end(self, box: modal.Sandbox) -> bool:
        # Asked for each, and last: a run that is being taken over right now is in there.
        with anyio.fail_after(_PATIENCE):
            placements = await self._registry.placements()
        if any(placement.get("sandbox") == box.object_id for placement in placements):
            return False
        try:
            await end(box)
        except ModalError as error:
            # It may have ended by itself; the others are to be ended all the same.
            log.warning("modal: a sandbox not ended", extra={"reason": str(error)})
            return False
        return True

    async def _say(self, until: datetime) -> None:
        try:
            with anyio.fail_after(_PATIENCE):
                await self._registry.keep_replica(self.name, until=until)
        except Exception:
            # A box of an owner that nobody knows is left alone, so this does no harm.
            log.exception("modal: this server is not known to live")
