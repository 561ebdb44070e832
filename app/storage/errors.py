"""What can be wrong with a database, and what to do about it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

MIGRATE = "run `greenroom migrate`"

_SQLITE = {
    sqlite3.SQLITE_BUSY: "is locked by another process for too long: let it end, or end it",
    sqlite3.SQLITE_CANTOPEN: f"cannot be opened: if it is not there yet, {MIGRATE}; if it is, "
    "check that this user may read and write it and its folder",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore a copy",
    sqlite3.SQLITE_FULL: "has no room left on its disk: free some",
    sqlite3.SQLITE_IOERR: "cannot be read or written: check its disk and the system's log",
    sqlite3.SQLITE_NOTADB: "is no SQLite database: set GREENROOM_DATABASE_URL to another file",
    sqlite3.SQLITE_READONLY: "is read-only: let this user write the file and its folder",
}
_SQLITE_NOT_MADE = "cannot be made: make its folder, and let this user write there"
_SQLITE_SCHEMA = ("no such table", "no such column", "has no column")

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES = {
    "25006": "is read-only: set GREENROOM_DATABASE_URL to the primary server",
    "28000": "refuses this user: check GREENROOM_DATABASE_URL and pg_hba.conf",
    "28P01": "refuses this user's password: check GREENROOM_DATABASE_URL",
    "3D000": "does not exist: create it, or check GREENROOM_DATABASE_URL",
    "40P01": "had two of us wait for each other: try again",
    "42501": "denies this user a right: grant it, or use the owner of the tables",
    "42703": f"has older tables than this version of Greenroom: {MIGRATE}",
    "42P01": f"has no tables of Greenroom yet: {MIGRATE}",
    "53100": "has no room left on its disk: free some",
    "53300": "has no connection left: raise its max_connections, or run fewer processes",
    "55P03": "is locked by another process for too long: let it end, or end it",
    "57P01": "is being shut down: start it again",
    "57P03": "is just starting or stopping: try again",
}
_POSTGRES_LOST = "closed the connection: check that the server is up"
_POSTGRES_UNREACHABLE = "cannot be reached: check that the server is up and GREENROOM_DATABASE_URL"


class StorageError(Exception):
    """The database cannot be used as it is; the message says what to do."""


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Turn what an operator can mend into a `StorageError`; a bug stays what it is."""
    try:
        yield
    except (DBAPIError, sqlite3.Error, OSError) as error:
        advice = _advice(error, url)
        if advice is None:
            raise
        message = f"The database {place(url)} {advice}."
        raise StorageError(message) from error


def is_locked(error: StorageError) -> bool:
    """Tell whether another process had the file of SQLite to itself."""
    cause = error.__cause__
    if isinstance(cause, DBAPIError):
        cause = cause.orig
    return _kind(cause) == sqlite3.SQLITE_BUSY


def place(url: URL) -> str:
    """Name a database without the user and the secrets of its URL."""
    host = url.host or url.query.get("host")
    return f"`{url.database}` at {host}" if host else f"`{url.database}`"


def _advice(error: DBAPIError | sqlite3.Error | OSError, url: URL) -> str | None:
    cause = error.orig if isinstance(error, DBAPIError) else error
    match cause:
        case OSError() if url.get_backend_name() == "sqlite":
            return _SQLITE_NOT_MADE
        case OSError():
            return _POSTGRES_UNREACHABLE
        case sqlite3.Error():
            return _sqlite_advice(cause)
    advice = _POSTGRES.get(getattr(cause, "sqlstate", None) or "")
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    return advice or (_POSTGRES_LOST if lost else None)


def _sqlite_advice(error: sqlite3.Error) -> str | None:
    if any(sign in str(error) for sign in _SQLITE_SCHEMA):
        return f"does not have the tables of this version of Greenroom: {MIGRATE}"
    return _SQLITE.get(_kind(error))


def _kind(error: BaseException | None) -> int:
    # The low byte is the kind, the rest its detail.
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
