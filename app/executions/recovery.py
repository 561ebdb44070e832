"""What becomes of executions whose process has died, or has been silent for too long.

its program goes on elsewhere   we follow it from where its log ends (`Executor.reattach`)
somebody has cancelled it       CANCELLED
nothing of it was stored        it runs again, once, as its second try
otherwise                       INFRASTRUCTURE_ERROR, with its output so far
"""

import logging
from datetime import UTC, datetime

import anyio
import anyio.to_thread

from app.executions.figures import Figures
from app.executions.holder import has_died
from app.executions.live import CANCELLED, LOST
from app.executions.runner import Runner
from app.storage.store import Heir, Store

log = logging.getLogger(__name__)

BEATS = 3  # to a lease: two may fail before it is gone


class House:
    """Keeps the leases of this process, and gives away those of the dead.

    Args:
        runner: None in a process that runs nothing.
        figures: what counts the ends that are decided here.
    """

    def __init__(self, store: Store, holder: str, runner: Runner | None, figures: Figures) -> None:
        self._store, self._holder, self._runner = store, holder, runner
        self._figures = figures
        # Until then only the known dead: a database that was away let everybody's leases expire,
        # and whoever comes back first must not take what the others are about to renew.
        self._patient_until = anyio.current_time() + store.lease_time

    async def beat(self) -> None:
        """Renew our leases, then look for those of the dead."""
        try:
            if self._runner:
                await self._runner.renew()
            await self._recover()
        except Exception:
            # Whatever it was, the next beat must come: without it all our leases are lost.
            log.exception("leases not renewed")
            self._patient_until = anyio.current_time() + self._store.lease_time

    async def _recover(self) -> None:
        """Decide about what dead processes have left."""
        is_patient = anyio.current_time() < self._patient_until
        for lease in await self._store.leases():
            # What we look after was renewed just now. Another row of ours is one that we were
            # given without hearing of it, because the database went away with its answer.
            is_dead = lease.holder != self._holder and await anyio.to_thread.run_sync(
                has_died, lease.holder
            )
            if is_dead or (lease.is_expired and not is_patient):
                await self._inherit(lease.holder, is_dead=is_dead)

    async def keep(self) -> None:
        """Go on for as long as the process lives."""
        while True:
            await anyio.sleep(self._store.lease_time / BEATS)
            await self.beat()

    async def _inherit(self, holder: str, *, is_dead: bool) -> None:
        heir = Heir(
            holder=self._holder,
            executor=self._runner.executor if self._runner else None,
            at=datetime.now(UTC),
            lost=LOST,
            cancelled=CANCELLED,
        )
        left = await self._store.recover(holder, heir, is_dead=is_dead)
        for adopted in left.adopted:
            if self._runner:
                self._runner.adopt(adopted)
        for ended in left.ended:
            self._figures.ended(ended)
        counts = {"adopted": len(left.adopted), "queued": left.queued, "ended": len(left.ended)}
        log.warning("executions of a dead process recovered", extra=counts)
