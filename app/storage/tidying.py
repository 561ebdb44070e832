"""What deleting leaves behind in the files of SQLite, and how it goes.

Theory of operation. A deleted row is at first a hole in its page, and its page stands in the
write-ahead log as it was before:

    the hole    is overwritten with zeros: `secure_delete` is on wherever we write, also where a
                row only grew and moved
    the log     is copied into the file and cut to nothing, which needs a moment without readers
    free pages  are given back to the file system, a few at a time (`auto_vacuum`)

What a disk keeps of blocks that no file has any more is not ours to overwrite.
"""

import sqlite3
from contextlib import closing
from typing import cast

from sqlalchemy import Engine

_MOST_PAGES = 2048  # given back at a time; 8 MiB
_SHORT_WAIT = 200  # ms; for readers to end: nobody can write meanwhile


def tidy(writer: Engine) -> bool:
    """Make what was deleted unreadable; False when there is more to do, or a reader in the way."""
    with closing(writer.raw_connection()) as connection:
        driver = cast("sqlite3.Connection", connection.driver_connection)
        (usual,) = driver.execute("PRAGMA busy_timeout").fetchone()
        driver.execute(f"PRAGMA busy_timeout = {_SHORT_WAIT}")
        try:
            # A step gives back one page, and `execute` would take one step only.
            driver.executescript(f"PRAGMA incremental_vacuum({_MOST_PAGES})")
            (is_busy, *_) = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            (free,) = driver.execute("PRAGMA freelist_count").fetchone()
        finally:
            driver.execute(f"PRAGMA busy_timeout = {usual}")
    return not is_busy and not free
