"""Which servers live and which have died: each function is the inside of one transaction."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from app.domain.ports import Placement
from app.storage.rows import EXECUTIONS, REPLICAS

# Longer than anything lives that a dead server has left behind.
_REMEMBERED = timedelta(days=7)
_UPDATE = update(REPLICAS).where(REPLICAS.c.name == bindparam("this"))
_INSERT = insert(REPLICAS)
_FORGET = delete(REPLICAS).where(REPLICAS.c.expires_at < bindparam("moment"))
_DEAD = select(REPLICAS.c.name).where(
    REPLICAS.c.expires_at > bindparam("after"), REPLICAS.c.expires_at < bindparam("before")
)
_PLACEMENTS = select(EXECUTIONS.c.placement).where(
    EXECUTIONS.c.lease_holder.is_not(None), EXECUTIONS.c.placement.is_not(None)
)


def keep_alive(connection: Connection, name: str, until: datetime) -> None:
    """Say that a replica lives until then; forget those that died long ago."""
    if connection.execute(_UPDATE, {"this": name, "expires_at": until}).rowcount == 0:
        connection.execute(_FORGET, {"moment": until - _REMEMBERED})
        connection.execute(_INSERT, {"name": name, "expires_at": until})


def dead(connection: Connection, after: datetime, before: datetime) -> frozenset[str]:
    """Name the replicas that were kept alive until some time in between."""
    return frozenset(connection.execute(_DEAD, {"after": after, "before": before}).scalars())


def placements(connection: Connection) -> tuple[Placement, ...]:
    """Say where the executions are that have not ended."""
    return tuple(connection.execute(_PLACEMENTS).scalars())
