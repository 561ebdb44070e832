"""What executions have written, joined to two streams; all of it, or the beginning of each."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Connection, Integer, Select, bindparam, case, cast, func, select

from app.domain.execution import Stream, Transcript
from app.storage.mapping import plain, transcript_of
from app.storage.reads import NAMED
from app.storage.rows import EXECUTIONS, OUTPUT

_ALL = 1 << 62  # bytes; no output is longer

# From the executions outwards: one without output has a transcript too, an empty one.
_WHOLE = (
    select(EXECUTIONS.c.id, OUTPUT.c.stream, OUTPUT.c.data)
    .outerjoin_from(EXECUTIONS, OUTPUT)
    .where(*NAMED)
    .order_by(EXECUTIONS.c.id, OUTPUT.c.seq)
)


def _beginning() -> Select[*tuple[Any, ...]]:
    """Select what lies before the byte `stdout` or `stderr` of its stream."""
    key = OUTPUT.c.execution_id, OUTPUT.c.seq
    # Sizes alone come first: to add them up, no database loads what it then leaves out.
    sizes = (
        select(*key, OUTPUT.c.stream, func.length(OUTPUT.c.data).label("size"))
        .where(OUTPUT.c.execution_id.in_(bindparam("ids", expanding=True)))
        .subquery()
    )
    begun = func.sum(sizes.c.size).over(
        partition_by=(sizes.c.execution_id, sizes.c.stream), order_by=sizes.c.seq
    )
    most = {stream: bindparam(stream.value.lower(), type_=BigInteger) for stream in Stream}
    pieces = select(
        sizes.c.execution_id,
        sizes.c.seq,
        sizes.c.size,
        case(
            (sizes.c.stream == Stream.STDOUT.value, most[Stream.STDOUT]),
            else_=most[Stream.STDERR],
        ).label("most"),
        (begun - sizes.c.size).label("start"),
    ).subquery()
    left = pieces.c.most - pieces.c.start
    cut = func.substr(OUTPUT.c.data, 1, cast(left, Integer), type_=OUTPUT.c.data.type)
    data = case((pieces.c.size <= left, OUTPUT.c.data), else_=cut)
    is_wanted = (pieces.c.execution_id == EXECUTIONS.c.id) & (left > 0)
    is_its_own = (OUTPUT.c.execution_id == pieces.c.execution_id) & (OUTPUT.c.seq == pieces.c.seq)
    return (
        select(EXECUTIONS.c.id, OUTPUT.c.stream, data.label("data"))
        .select_from(EXECUTIONS)
        .outerjoin(pieces, is_wanted)
        .outerjoin(OUTPUT, is_its_own)
        .where(*NAMED)
        .order_by(EXECUTIONS.c.id, pieces.c.seq)
    )


_BEGINNING = _beginning()


def transcripts(
    connection: Connection,
    owner: str,
    ids: Sequence[UUID],
    stdout: int | None = None,
    stderr: int | None = None,
) -> dict[UUID, Transcript]:
    """Return what was written so far, of each stream at most so many bytes."""
    values: dict[str, Any] = {"owner": owner, "ids": ids}
    if stdout is None and stderr is None:
        rows = connection.execute(_WHOLE, values)
    else:
        values["stdout"] = _ALL if stdout is None else stdout
        values["stderr"] = _ALL if stderr is None else stderr
        rows = connection.execute(_BEGINNING, values)
    pieces = groupby(rows, attrgetter("id"))
    return {plain(id): transcript_of(of_one) for id, of_one in pieces}
