"""Whatever a supervisor says of files is what was asked for, or an error of ours."""

import json
import posixpath
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import ExecutorError
from app.domain.paths import is_tame
from app.domain.ports import Collect
from app.executors.collecting import Collected
from app.executors.modal.frames import Frame, Kind
from app.executors.modal.product import Product

COLLECT = Collect(folder="out", files=3, size=100, keeps_first=True)
TAME = ["out/a", "out/b c/ü€.png", "out/...", "out/" + "n" * 196]
STRANGE = [
    *(
        "",
        "out",
        "out/",
        "out//a",
        "/out/a",
        "./out/a",
        "out/./a",
        "out/../a",
        "out/a/..",
        "outer/a",
    ),
    *("../out/a", "out/a/", "out/a\n", "out/\x1b[0m", "out/\u202ea", "out/\ud800", "out/\0"),
    *("out/\u2028", "out/" + "n" * 197, "out/" + "ü" * 99, "main.py"),
]

paths = st.one_of(st.sampled_from(TAME + STRANGE), st.text(max_size=9).map("out/".__add__))
heads = st.fixed_dictionaries(
    {},
    optional={
        "path": st.one_of(paths, st.none(), st.integers()),
        "size": st.one_of(st.integers(-1, 120), st.integers(), st.floats(), st.none()),
        "executable": st.one_of(st.booleans(), st.none()),
    },
)
honest = st.builds(
    lambda path, data: [({"path": path, "size": len(data)}, None), (None, data)],
    paths,
    st.binary(min_size=1, max_size=40),
)
pieces = st.one_of(
    honest,
    heads.map(lambda head: [(head, None)]),
    st.binary(max_size=120).map(lambda data: [(None, data)]),
)


def frame(head: object, data: bytes | None) -> Frame:
    if data is None:
        return Frame(kind=Kind.FILE, data=json.dumps(head).encode())
    return Frame(kind=Kind.CONTENT, data=data)


@given(sent=st.lists(pieces, max_size=6), left_out=st.one_of(st.integers(), st.none(), st.text()))
def test_no_more_than_was_asked_for(
    sent: list[list[tuple[object, bytes | None]]], left_out: object
) -> None:
    product, collected = Product(COLLECT), Collected(COLLECT)
    with suppress(ExecutorError):
        for head, data in (each for piece in sent for each in piece):
            product.take(frame(head, data))
            assert len(product._data) <= COLLECT.size
        collected = product.end(left_out)
    assert len({each.path for each in collected.files}) == len(collected.files) <= COLLECT.files
    assert sum(len(each.data) for each in collected.files) <= COLLECT.size
    assert collected.left_out >= 0
    for each in collected.files:
        assert each.path.startswith("out/")
        assert posixpath.normpath(each.path) == each.path
        assert each.path.isprintable()


@given(contents=st.lists(st.binary(max_size=30), max_size=3), cut=st.integers(1, 40))
def test_files_arrive_whole_in_any_pieces(contents: list[bytes], cut: int) -> None:
    product = Product(COLLECT)
    for at, data in enumerate(contents):
        product.take(frame({"path": f"out/{at}", "size": len(data), "executable": True}, None))
        for begin in range(0, len(data), cut):
            product.take(frame(None, data[begin : begin + cut]))
    collected = product.end(7)
    assert [each.data for each in collected.files] == contents
    assert collected.left_out == 7


@pytest.mark.parametrize("path", TAME)
def test_a_path_below_the_folder_is_taken(path: str) -> None:
    assert is_tame(path, "out")


@pytest.mark.parametrize("path", STRANGE)
def test_a_path_that_is_or_looks_like_another_is_not(path: str) -> None:
    assert not is_tame(path, "out")
