"""An id is written in one way only, and says what it is an id of."""

import base64
from uuid import UUID

import pytest

from app.api.ids import decode_cursor, decode_id, encode_cursor, encode_id

SOME = UUID("01a20543-7aa6-7a2a-886a-2eb58a4b18a7")


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def test_an_id_leads_back() -> None:
    assert decode_id(encode_id(SOME)) == SOME
    assert decode_cursor(encode_cursor(SOME)) == SOME


def test_an_id_is_as_relay_writes_it() -> None:
    assert encode_id(SOME) == encoded(f"Execution:{SOME}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "é",
        "\ud800",
        "nonsense",
        str(SOME),
        encoded(f"User:{SOME}"),
        encoded(f"execution:{SOME}"),
        encoded("Execution:"),
        encoded("Execution:1"),
        encoded(f"Execution:{SOME}").rstrip("="),
        encoded(f"Execution:{SOME}") + "\n",
        encoded(f"Execution:{SOME} "),
        encoded(f"Execution:{{{SOME}}}"),
        encoded(f"Execution:urn:uuid:{SOME}"),
        encoded(f"Execution:{SOME.hex}"),
        encoded(f"Execution:{str(SOME).upper()}"),
        base64.b64encode(b"Execution:\xff\xfe").decode(),
        encode_cursor(SOME),
    ],
)
def test_everything_else_is_no_id(text: str) -> None:
    assert decode_id(text) is None


def test_an_id_is_no_cursor() -> None:
    assert decode_cursor(encode_id(SOME)) is None
