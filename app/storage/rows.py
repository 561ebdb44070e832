"""The tables.

What is asked for often and is small comes first in a row, what is big comes last: SQLite walks
through a long value to reach the column behind it.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON as SQLJSON
from sqlalchemy import DateTime, Dialect, Double, ForeignKey, Index, LargeBinary, MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

# Plain JSON also on PostgreSQL: JSONB refuses NUL in a string, loses the order of keys and turns
# 1.0 into 1, and we never look inside. None is SQL's NULL, not JSON's.
JSON = SQLJSON(none_as_null=True)


class UTCDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC, to the microsecond, on both databases."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse what says no zone: a guess would be wrong by hours."""
        del dialect
        if value is not None and value.tzinfo is None:
            message = f"{value!r} has no time zone; use datetime.now(UTC)"
            raise ValueError(message)
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Say that it is UTC; SQLite keeps no zone."""
        del dialect
        return value and value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """All tables. Every constraint has a name, or SQLite could never change it."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - as SQLAlchemy spells it
        datetime: UTCDateTime,
        dict[str, Any]: JSON,
        list[str]: JSON,
        float: Double,
    }


class ExecutionRow(Base):
    """One execution.

    Who waits has a turn and no holder, who runs has a holder and no turn, and a final one has
    neither. A row that runs is written by the holder of its lease only, and its end takes the
    lease away: so whoever is not the holder changes nothing.
    """

    __tablename__ = "executions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str]
    # A plain string: a new status needs no migration.
    status: Mapped[str]
    language: Mapped[str]
    language_version: Mapped[str | None]
    executor: Mapped[str]
    attempt: Mapped[int]
    interactive: Mapped[bool]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    kind: Mapped[str]
    # What its tests say together, when it has ended; of how many, and of how many hidden ones.
    verdict: Mapped[str | None]
    tests: Mapped[int]
    hidden_tests: Mapped[int]
    subject: Mapped[str | None]
    session_id: Mapped[str | None]
    label: Mapped[str | None]
    # Which execution this one repeats; the link goes when that one is erased.
    origin_id: Mapped[UUID | None] = mapped_column(ForeignKey("executions.id", ondelete="SET NULL"))
    idempotency_key: Mapped[str | None]
    fingerprint: Mapped[bytes | None] = mapped_column(LargeBinary)
    turn_at: Mapped[datetime | None]
    cancel_requested: Mapped[bool]
    lease_holder: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    placement: Mapped[dict[str, Any] | None]
    wall_time: Mapped[float | None]
    limits: Mapped[dict[str, Any]]
    outcome: Mapped[dict[str, Any] | None]
    # Apart from the outcome, which lists load: it has all that the compiler said.
    compilation: Mapped[dict[str, Any] | None]
    metadata_: Mapped[dict[str, Any] | None] = mapped_column("metadata")
    args: Mapped[list[str]]
    entry_point: Mapped[str | None]
    wanted_version: Mapped[str | None]
    environment: Mapped[str | None]
    stops_on_failure: Mapped[bool]
    # Bytes: PostgreSQL's text refuses NUL.
    stdin: Mapped[bytes] = mapped_column(LargeBinary)
    source: Mapped[bytes] = mapped_column(LargeBinary)
    # Pairs of a path and what is in the file, in base64.
    files: Mapped[list[Any]] = mapped_column(JSON)


# History in its order. What filters look at is in the index to be looked at there: whatever the mix
# of filters, no plan sorts, and none reads a row that it does not return.
Index(
    "ix_executions_owner_history",
    ExecutionRow.owner,
    ExecutionRow.id,
    ExecutionRow.status,
    ExecutionRow.language,
    ExecutionRow.created_at,
    ExecutionRow.kind,
    ExecutionRow.verdict,
)
# One interview, one label: a few rows among all, so the way to them must be short. The rows that
# have neither cost nothing here.
Index(
    None,
    ExecutionRow.owner,
    ExecutionRow.session_id,
    ExecutionRow.id,
    sqlite_where=ExecutionRow.session_id.is_not(None),
    postgresql_where=ExecutionRow.session_id.is_not(None),
)
Index(
    None,
    ExecutionRow.owner,
    ExecutionRow.label,
    ExecutionRow.id,
    sqlite_where=ExecutionRow.label.is_not(None),
    postgresql_where=ExecutionRow.label.is_not(None),
)
# A key belongs to one execution of its owner: whoever comes second finds it taken.
Index(
    None,
    ExecutionRow.owner,
    ExecutionRow.idempotency_key,
    unique=True,
    sqlite_where=ExecutionRow.idempotency_key.is_not(None),
    postgresql_where=ExecutionRow.idempotency_key.is_not(None),
)
# What repeats an execution that is about to be erased.
Index(
    None,
    ExecutionRow.origin_id,
    sqlite_where=ExecutionRow.origin_id.is_not(None),
    postgresql_where=ExecutionRow.origin_id.is_not(None),
)
# The queue, and the unfinished: as long as the work in hand, however long the history.
Index(
    None,
    ExecutionRow.turn_at,
    sqlite_where=ExecutionRow.turn_at.is_not(None),
    postgresql_where=ExecutionRow.turn_at.is_not(None),
)
Index(
    None,
    ExecutionRow.lease_holder,
    sqlite_where=ExecutionRow.lease_holder.is_not(None),
    postgresql_where=ExecutionRow.lease_holder.is_not(None),
)


class OutputRow(Base):
    """A piece of output: the log of an execution, in the order of `seq`."""

    __tablename__ = "execution_output"

    execution_id: Mapped[UUID] = mapped_column(
        ForeignKey(ExecutionRow.id, ondelete="CASCADE"), primary_key=True
    )
    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    stream: Mapped[str]
    data: Mapped[bytes] = mapped_column(LargeBinary)


class TestRow(Base):
    """A test of an execution, and what came of it; written by whoever holds the execution."""

    __tablename__ = "execution_tests"

    execution_id: Mapped[UUID] = mapped_column(
        ForeignKey(ExecutionRow.id, ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    is_hidden: Mapped[bool]
    weight: Mapped[float]
    verdict: Mapped[str | None]
    # 1 for the one that ended first; none for what was not run.
    rank: Mapped[int | None]
    ended_at: Mapped[datetime | None]
    status: Mapped[str | None]
    outcome: Mapped[dict[str, Any] | None]
    # All that it asks for beside what it is given to read, and what it expects.
    spec: Mapped[dict[str, Any]]
    difference: Mapped[bytes | None] = mapped_column(LargeBinary)
    returned: Mapped[bytes | None] = mapped_column(LargeBinary)
    stdin: Mapped[bytes | None] = mapped_column(LargeBinary)
    expected: Mapped[bytes | None] = mapped_column(LargeBinary)
    stdout: Mapped[bytes | None] = mapped_column(LargeBinary)
    stderr: Mapped[bytes | None] = mapped_column(LargeBinary)


class ArtifactRow(Base):
    """A file that a program has left in `out/`; written with its end."""

    __tablename__ = "execution_artifacts"

    execution_id: Mapped[UUID] = mapped_column(
        ForeignKey(ExecutionRow.id, ondelete="CASCADE"), primary_key=True
    )
    path: Mapped[str] = mapped_column(primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class InputRow(Base):
    """A piece of input that was sent while the program ran, in the order of `seq`."""

    __tablename__ = "execution_input"

    execution_id: Mapped[UUID] = mapped_column(
        ForeignKey(ExecutionRow.id, ondelete="CASCADE"), primary_key=True
    )
    seq: Mapped[int] = mapped_column(primary_key=True)
    is_read: Mapped[bool]
    is_last: Mapped[bool]
    data: Mapped[bytes] = mapped_column(LargeBinary)


class ReplicaRow(Base):
    """A server that keeps something outside of itself, such as sandboxes; kept when it has died.

    Whoever is not here is nobody that this installation knows anything about.
    """

    __tablename__ = "replicas"

    name: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime]


EXECUTIONS = Base.metadata.tables[ExecutionRow.__tablename__]
OUTPUT = Base.metadata.tables[OutputRow.__tablename__]
TESTS = Base.metadata.tables[TestRow.__tablename__]
ARTIFACTS = Base.metadata.tables[ArtifactRow.__tablename__]
INPUT = Base.metadata.tables[InputRow.__tablename__]
REPLICAS = Base.metadata.tables[ReplicaRow.__tablename__]
