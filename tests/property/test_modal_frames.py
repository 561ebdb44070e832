"""However the bytes of a supervisor arrive, they are the same frames or a clear error."""

import struct
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import ExecutorError
from app.executors.modal.frames import Decoder, Frame, Kind

frames = st.lists(
    st.builds(Frame, kind=st.sampled_from(Kind), data=st.binary(max_size=300)), max_size=8
)


def encode(sent: list[Frame]) -> bytes:
    return b"".join(
        struct.pack(">cI", frame.kind.value, len(frame.data)) + frame.data for frame in sent
    )


@given(sent=frames, cuts=st.lists(st.integers(min_value=0, max_value=2500), max_size=10))
def test_any_split_into_chunks_gives_the_same_frames(sent: list[Frame], cuts: list[int]) -> None:
    data = encode(sent)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    decoder = Decoder()
    received = [frame for start, end in pairwise(edges) for frame in decoder.feed(data[start:end])]
    assert received == sent


@given(data=st.binary(max_size=400))
def test_any_bytes_are_frames_or_a_clear_error(data: bytes) -> None:
    with suppress(ExecutorError):
        for frame in Decoder().feed(data):
            assert frame.kind in Kind


def test_a_frame_that_claims_to_be_huge_is_refused_before_it_is_kept() -> None:
    with pytest.raises(ExecutorError, match="announced a frame of"):
        list(Decoder().feed(struct.pack(">cI", b"O", 1 << 31)))


@given(data=st.binary(max_size=100))
def test_details_are_an_object_or_a_clear_error(data: bytes) -> None:
    with suppress(ExecutorError):
        assert isinstance(Frame(kind=Kind.ENDED, data=data).details(), dict)
