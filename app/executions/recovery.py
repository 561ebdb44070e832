"""Leases prove that a process still looks after its executions; the others are ended here."""

import logging
from datetime import UTC, datetime, timedelta

import anyio
import anyio.to_thread

from app.domain.execution import Outcome, Status
from app.executions.holder import has_died
from app.storage.store import Lease, Store

log = logging.getLogger(__name__)

LEASE_TIME = timedelta(seconds=15)
HEARTBEAT = 5.0  # s; two may fail before the lease is gone
LOST = Outcome(
    status=Status.INFRASTRUCTURE_ERROR,
    message="The server that ran this program stopped unexpectedly; what it had written by "
    "then is kept. Run it again.",
)


def lease(holder: str) -> Lease:
    """Return a lease from now on."""
    return Lease(holder=holder, expires_at=datetime.now(UTC) + LEASE_TIME)


async def recover(store: Store, holder: str) -> None:
    """End what dead processes have left: at once where the death is known, else by the lease."""
    now = datetime.now(UTC)
    for held in await store.leases():
        if held.holder == holder:
            continue
        is_dead = await anyio.to_thread.run_sync(has_died, held.holder)
        if is_dead or held.expires_at < now:
            expired_before = None if is_dead else now
            count = await store.abandon(held.holder, LOST, at=now, expired_before=expired_before)
            log.warning("executions of a dead server ended", extra={"count": count})


async def keep_house(store: Store, holder: str, *, pause: float = HEARTBEAT) -> None:
    """Renew our leases and end those of the dead, until cancelled."""
    while True:
        await anyio.sleep(pause)
        try:
            await store.renew(lease(holder))
            await recover(store, holder)
        except Exception:
            # Whatever it was, the next beat must come: without it all our leases are lost.
            log.exception("leases not renewed")
