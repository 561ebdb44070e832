"""Paths of a program's files are normalised, and stay in its folder."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.paths import BadPath, normalized


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("file.txt", "file.txt"),
        ("./a.jpg", "a.jpg"),
        ("folder/../hm", "hm"),
        ("a//b", "a/b"),
        ("a/./b/../c", "a/c"),
        ("..a/b..", "..a/b.."),
        ("a b/grün €.txt", "a b/grün €.txt"),
        ("a\\b", "a\\b"),
        ("~/x", "~/x"),
    ],
)
def test_a_path_within_the_folder_passes(path: str, meant: str) -> None:
    assert normalized(path) == meant


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../x", "`../x` leads out"),
        ("dir/../../x", "`dir/../../x` leads out"),
        ("a/../../a/x", "leads out"),
        ("/", "`/` is absolute"),
        ("/box/main.py", "absolute"),
        ("//x", "absolute"),
        ("a\0b", "NUL"),
        ("", "names a folder"),
        (".", "names a folder"),
        ("a/..", "names a folder"),
        ("a/", "names a folder"),
        ("a/.", "names a folder"),
        ("x" * 256, "255 bytes"),
        ("x/" * 600 + "x", "1024 bytes"),
        ("\ud800", "surrogates"),
        (".build/main", "for compilers"),
        ("./.build/x", "for compilers"),
    ],
)
def test_any_other_is_refused_and_named(path: str, why: str) -> None:
    with pytest.raises(BadPath, match=why):
        normalized(path)


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b.c", "/"]), max_size=8).map("/".join))
def test_what_passes_has_no_step_up_and_stays_as_it_is(path: str) -> None:
    try:
        meant = normalized(path)
    except BadPath:
        return
    assert not meant.startswith("/")
    assert {"..", ".", ""}.isdisjoint(meant.split("/"))
    assert normalized(meant) == meant
