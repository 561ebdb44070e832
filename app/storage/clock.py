"""The database's own clock: the one clock that every process on every host shares."""

from typing import Any

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from app.storage.rows import UTCDateTime


class from_now(FunctionElement[Any]):  # noqa: N801 - a function of SQL
    """So many seconds from now; by the clock, not by the beginning of the transaction."""

    name = "from_now"
    type = UTCDateTime()
    inherit_cache = True


@compiles(from_now, "postgresql")
def _in_postgresql(element: from_now, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"clock_timestamp() + make_interval(secs => {seconds})"


@compiles(from_now, "sqlite")
def _in_sqlite(element: from_now, compiler: SQLCompiler, **options: Any) -> str:
    # In the form in which SQLAlchemy writes a datetime there: six digits after the point.
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', {seconds} || ' seconds') || '000'"
