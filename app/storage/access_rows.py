"""The tables of keys, shares and the audit log."""

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from app.storage.rows import Base


class ApiKeyRow(Base):
    """A key; never deleted, so that the audit log goes on to say whose it was."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner: Mapped[str]
    name: Mapped[str]
    role: Mapped[str]
    prefix: Mapped[str] = mapped_column(unique=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class UsageRow(Base):
    """What an owner has had of one day."""

    __tablename__ = "owner_usage"

    owner: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    executions: Mapped[int]
    submissions: Mapped[int]
    cpu_seconds: Mapped[float]


class RateRow(Base):
    """How often somebody has asked in a window of time; who it is, is in the key as a digest."""

    __tablename__ = "rate_windows"

    key: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    ends_at: Mapped[datetime]


class AuditRow(Base):
    """An entry of the audit log: triggers keep it from being changed or deleted."""

    __tablename__ = "audit_log"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    owner: Mapped[str]
    action: Mapped[str]
    target: Mapped[str]
    role: Mapped[str]
    key_id: Mapped[UUID | None]
    subject: Mapped[str | None]
    session_id: Mapped[str | None]


Index(None, AuditRow.owner, AuditRow.id)

KEYS = Base.metadata.tables[ApiKeyRow.__tablename__]
USAGE = Base.metadata.tables[UsageRow.__tablename__]
RATES = Base.metadata.tables[RateRow.__tablename__]
AUDIT = Base.metadata.tables[AuditRow.__tablename__]
