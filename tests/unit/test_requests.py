"""What a client accepts, chosen by weight and then by order."""

import pytest

from app.api.requests import (
    EVENT_STREAM_TYPE,
    JSON_TYPE,
    MULTIPART_TYPE,
    RESPONSE_TYPE,
    acceptable,
    wants_html,
)

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, JSON_TYPE),
        ("", JSON_TYPE),
        ("*/*", JSON_TYPE),
        (RESPONSE_TYPE, RESPONSE_TYPE),
        (f"{JSON_TYPE}, {RESPONSE_TYPE}", JSON_TYPE),
        (f"{JSON_TYPE};q=0.1, {RESPONSE_TYPE};q=0.2", RESPONSE_TYPE),
        (f"{JSON_TYPE} ; Q=0.1 , */*;q=0.5", JSON_TYPE),
        (f"{RESPONSE_TYPE};q=0, {JSON_TYPE}", JSON_TYPE),
        (BROWSER, JSON_TYPE),
        ("image/png", None),
        ("text/*", None),
        (f"{JSON_TYPE};q=0", None),
        (f"{JSON_TYPE};q=nan", None),
        (f"{JSON_TYPE};q=x", None),
        (";;,,", None),
    ],
)
def test_the_answer_is_of_the_kind_that_is_wanted(accept: str | None, kind: str | None) -> None:
    assert next(iter(acceptable(accept)), None) == kind


URQL = f"{RESPONSE_TYPE}, {JSON_TYPE}, {EVENT_STREAM_TYPE}, multipart/mixed"
APOLLO = f"{MULTIPART_TYPE};boundary=graphql;subscriptionSpec=1.0,{JSON_TYPE}"


@pytest.mark.parametrize(
    ("accept", "kinds"),
    [
        (URQL, [RESPONSE_TYPE, JSON_TYPE, EVENT_STREAM_TYPE]),
        (APOLLO, [MULTIPART_TYPE, JSON_TYPE]),
        (EVENT_STREAM_TYPE, [EVENT_STREAM_TYPE]),
        (f"{EVENT_STREAM_TYPE};q=0.5, {JSON_TYPE}", [JSON_TYPE, EVENT_STREAM_TYPE]),
        (f"{EVENT_STREAM_TYPE};q=0, {JSON_TYPE}", [JSON_TYPE]),
        (MULTIPART_TYPE, []),
    ],
)
def test_ways_to_stream_stand_where_the_client_put_them(accept: str, kinds: list[str]) -> None:
    assert acceptable(accept) == kinds


@pytest.mark.parametrize(
    ("accept", "wants"),
    [
        (BROWSER, True),
        ("text/html", True),
        (f"text/html;q=0.5, {JSON_TYPE}", False),
        (f"{JSON_TYPE}, text/html", False),
        ("text/html;q=0", False),
        ("*/*", False),
        (None, False),
    ],
)
def test_a_browser_wants_a_page(accept: str | None, wants: bool) -> None:  # noqa: FBT001
    assert wants_html(accept) is wants
