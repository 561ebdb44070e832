"""What Alembic runs: for `greenroom migrate`, and for the `alembic` command."""

import os
from logging.config import fileConfig
from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import URL, Connection

from app.storage.migrations import exclusively
from app.storage.rows import Base, UTCDateTime
from app.storage.urls import is_sqlite, normal

DEFAULT_URL = "sqlite+aiosqlite:///./greenroom.db"


def main() -> None:
    """Run the migrations that were asked for, or print them for `--sql`."""
    config = context.config
    if config.config_file_name is not None:
        fileConfig(config.config_file_name, disable_existing_loggers=False)
    url = normal(
        config.attributes.get("url") or os.environ.get("GREENROOM_DATABASE_URL", DEFAULT_URL)
    )
    if context.is_offline_mode():
        run(url, None)
    else:
        exclusively(url, lambda connection: run(url, connection))


def run(url: URL, connection: Connection | None) -> None:
    """Run them in the transaction of `connection`; without one, print them."""
    context.configure(
        url=url,
        connection=connection,
        literal_binds=connection is None,
        target_metadata=Base.metadata,
        compare_type=True,
        render_as_batch=is_sqlite(url),
        render_item=render_item,
    )
    with context.begin_transaction():
        context.run_migrations()


def render_item(kind: str, item: object, _: AutogenContext) -> str | Literal[False]:
    """Spell our own type as SQLAlchemy's: a migration must not change with the code."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    return False


main()
