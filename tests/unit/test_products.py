"""Products are kept within bounds, and what cannot be read is not there."""

from collections.abc import Iterator

import pytest

from app.domain.execution import File
from app.executions.compiling import Said
from app.executions.products import Products, key_of

PRODUCT = (File(path=".build/main", data=b"\x7fELF", is_executable=True),)


@pytest.fixture
def products() -> Iterator[Products]:
    products = Products(1000)
    yield products
    products.close()


def test_what_was_put_is_there_with_what_was_said(products: Products) -> None:
    products.put("key", (PRODUCT, b"out", b"a warning"))
    assert products.get("key") == (PRODUCT, b"out", b"a warning")
    assert products.get("other") is None


def test_what_was_used_longest_ago_goes_first(products: Products) -> None:
    large = (File(path=".build/main", data=bytes(400)),)
    products.put("one", (large, b"", b""))
    products.put("two", (large, b"", b""))
    assert products.get("one")
    products.put("three", (large, b"", b""))
    assert products.get("two") is None
    assert products.get("one")
    assert products.get("three")


def test_what_is_larger_than_the_room_is_not_kept(products: Products) -> None:
    products.put("key", ((File(path=".build/main", data=bytes(2000)),), b"", b""))
    assert products.get("key") is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"i\0\0\0\0"])
def test_a_file_that_is_damaged_is_not_there(products: Products, content: bytes) -> None:
    products.put("key", (PRODUCT, b"", b""))
    (products._folder / "key").write_bytes(content)
    assert products.get("key") is None
    assert products.get("key") is None


def test_only_we_may_look_and_nothing_is_left(products: Products) -> None:
    products.put("key", (PRODUCT, b"", b""))
    folder = products._folder
    assert folder.stat().st_mode & 0o777 == 0o700
    products.close()
    assert not folder.exists()


def test_a_key_depends_on_each_part_and_its_place() -> None:
    assert key_of("ab", "c") != key_of("a", "bc")
    assert key_of("a", ("b",)) != key_of("a", "b")
    assert key_of("a", None) == key_of("a", None)


def test_what_a_compiler_says_keeps_its_beginning_and_its_end() -> None:
    said = Said(10)
    for piece in (b"first", b"", b"middle", b"and", b" last"):
        said.add(piece)
    assert bytes(said) == b"first\n... 9 bytes left out ...\n last"


def test_what_fits_is_kept_whole() -> None:
    said = Said(10)
    said.add(b"12345")
    said.add(b"67890")
    assert bytes(said) == b"1234567890"
