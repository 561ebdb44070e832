"""Where a database is, as people write it."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.storage.errors import StorageError

# What may follow the `?` of a PostgreSQL URL, with its values where these are few.
_OPTIONS: dict[str, tuple[str, ...]] = {
    "ssl": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": (
        "any",
        "primary",
        "standby",
        "read-write",
        "read-only",
        "prefer-standby",
    ),
    "host": (),
    "port": (),
    "passfile": (),
    "krbsrvname": (),
    "gsslib": (),
}


def normal(url: str | URL) -> URL:
    """Read a URL as people write it and name the driver that we use.

    Raises:
        StorageError: it is no URL of a database that we know.
    """
    try:
        url = make_url(url)
    except (ArgumentError, ValueError):
        # Without its text, which may hold a password.
        message = "GREENROOM_DATABASE_URL is no URL; it looks like sqlite:///./greenroom.db"
        raise StorageError(message) from None
    match url.drivername.partition("+")[0]:
        case "sqlite":
            return _normal_sqlite(url)
        case "postgresql" | "postgres":
            return _normal_postgres(url)
        case other:
            message = f"GREENROOM_DATABASE_URL names `{other}`; use sqlite or postgresql"
            raise StorageError(message)


def _normal_sqlite(url: URL) -> URL:
    if not url.database or url.database == ":memory:":
        message = "GREENROOM_DATABASE_URL names no file; it looks like sqlite:///./greenroom.db"
        raise StorageError(message)
    return url.set(drivername="sqlite+pysqlite", database=str(Path(url.database).absolute()))


def _normal_postgres(url: URL) -> URL:
    # libpq's word, which providers write; asyncpg knows it by another.
    query = {"ssl" if key == "sslmode" else key: value for key, value in url.query.items()}
    if url.port is not None and not 0 < url.port < 1 << 16:
        message = f"GREENROOM_DATABASE_URL names port {url.port}; ports end at 65535"
        raise StorageError(message)
    for key, value in query.items():
        _require_option(key, value)
    return url.set(drivername="postgresql+asyncpg", query=query)


def _require_option(key: str, value: object) -> None:
    """Let through what asyncpg takes, which would raise a bare TypeError for the rest."""
    choices = _OPTIONS.get(key)
    if choices is None:
        known = ", ".join(_OPTIONS)
        message = f"GREENROOM_DATABASE_URL has `{key}`, which is not known here; known is {known}"
        raise StorageError(message)
    if choices and value not in choices:
        message = f"GREENROOM_DATABASE_URL has a wrong `{key}`; it is one of {', '.join(choices)}"
        raise StorageError(message)


def is_sqlite(url: URL) -> bool:
    """Whether a normal URL is one of SQLite."""
    return url.get_backend_name() == "sqlite"
