"""Tests of executions, what executions are for, their packages, and shares of submissions."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_HISTORY = ("owner", "id", "status", "language", "created_at")
# With defaults for the rows that are there; who inserts a row says each.
_COLUMNS: tuple[sa.Column[Any], ...] = (
    sa.Column("kind", sa.String(), nullable=False, server_default="RUN"),
    sa.Column("verdict", sa.String(), nullable=True),
    sa.Column("tests", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("hidden_tests", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("environment", sa.String(), nullable=True),
    sa.Column("stops_on_failure", sa.Boolean(), nullable=False, server_default=sa.false()),
)


def upgrade() -> None:
    # Where the small columns are, so SQLite has to make the table anew.
    is_sqlite = op.get_context().dialect.name == "sqlite"
    with op.batch_alter_table("executions", recreate="always" if is_sqlite else "never") as batch:
        for column in _COLUMNS:
            batch.add_column(column, insert_after="finished_at" if is_sqlite else None)
        batch.drop_index("ix_executions_owner_id_status_language_created_at")
        batch.create_index("ix_executions_owner_history", [*_HISTORY, "kind", "verdict"])
    op.add_column(
        "owner_usage",
        sa.Column("submissions", sa.Integer(), nullable=False, server_default="0"),
    )
    op.create_table(
        "execution_tests",
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("is_hidden", sa.Boolean(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status", sa.String(), nullable=True),
        sa.Column("outcome", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("spec", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("difference", sa.LargeBinary(), nullable=True),
        sa.Column("returned", sa.LargeBinary(), nullable=True),
        sa.Column("stdin", sa.LargeBinary(), nullable=True),
        sa.Column("expected", sa.LargeBinary(), nullable=True),
        sa.Column("stdout", sa.LargeBinary(), nullable=True),
        sa.Column("stderr", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
            name="fk_execution_tests_execution_id_executions",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("execution_id", "position", name="pk_execution_tests"),
    )
    op.create_table(
        "execution_artifacts",
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
            name="fk_execution_artifacts_execution_id_executions",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("execution_id", "path", name="pk_execution_artifacts"),
    )


def downgrade() -> None:
    op.drop_table("execution_artifacts")
    op.drop_table("execution_tests")
    op.drop_column("owner_usage", "submissions")
    with op.batch_alter_table("executions") as batch:
        batch.drop_index("ix_executions_owner_history")
        batch.create_index("ix_executions_owner_id_status_language_created_at", list(_HISTORY))
        for column in _COLUMNS:
            batch.drop_column(column.name)
