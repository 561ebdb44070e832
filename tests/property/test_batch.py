"""However output is cut on its way to us, it reads the same in the end."""

from collections.abc import Sequence

import anyio
from hypothesis import given
from hypothesis import strategies as st

from app.domain.execution import Output, Stream
from app.executions.batch import Batch
from app.storage.store import LogEntry

STEPS = st.lists(
    st.tuples(st.sampled_from(Stream), st.text() | st.characters(min_codepoint=0x80), st.booleans())
)


def cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [piece for piece in (*pieces, data) if piece]


@given(STEPS, st.lists(st.integers(1, 5)))
def test_any_cut_gives_the_same_text_in_whole_characters(
    steps: list[tuple[Stream, str, bool]], sizes: list[int]
) -> None:
    entries: list[LogEntry] = []
    written = dict.fromkeys(Stream, "")

    async def keep(more: Sequence[LogEntry]) -> None:
        entries.extend(more)

    async def emit_all() -> None:
        batch = Batch(keep)
        for stream, text, is_flushed in steps:
            written[stream] += text
            for piece in cut(text.encode(), sizes):
                await batch.emit(Output(stream=stream, data=piece))
                if is_flushed:
                    await batch.flush()
        entries.extend(batch.take())

    anyio.run(emit_all)
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    for stream, text in written.items():
        data = [entry.output.data for entry in entries if entry.output.stream is stream]
        assert "".join(piece.decode() for piece in data) == text
