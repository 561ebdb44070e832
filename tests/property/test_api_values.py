"""Whatever comes from outside is read, or refused; it never surprises us."""

import json
from typing import Any
from uuid import UUID

import pytest
from graphql import GraphQLError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from app.api.ids import decode_cursor, decode_id, encode_cursor, encode_id
from app.api.output import beginning
from app.api.requests import BadRequestError, acceptable, parse_json, wants_html
from app.api.scalars import SCALARS, BigInt
from app.domain.execution import Program, Submission
from app.domain.limits import DEFAULT_LIMITS
from app.executions.rules import Rules

ANY_TEXT = some.text(some.characters(codec=None, exclude_categories=()))
ANY_JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | ANY_TEXT,
    lambda inner: some.lists(inner) | some.dictionaries(ANY_TEXT, inner),
)
# The clock of a busy machine is no property of ours.
patient = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
MEDIA = some.sampled_from(
    ["application/json", "application/graphql-response+json", "*/*", "text/html", "q=", "0.5", "1"]
)


@patient
@given(some.uuids())
def test_every_id_leads_back(id: UUID) -> None:
    assert decode_id(encode_id(id)) == id
    assert decode_cursor(encode_cursor(id)) == id
    assert decode_id(encode_cursor(id)) is None


@patient
@given(ANY_TEXT | some.binary().map(lambda data: data.decode("latin-1")))
def test_a_text_is_the_only_way_to_write_an_id_or_no_id(text: str) -> None:
    id = decode_id(text)
    assert id is None or encode_id(id) == text


@patient
@given(some.text(), some.integers(min_value=0, max_value=50))
def test_a_cut_text_is_a_beginning_of_the_whole(text: str, most: int) -> None:
    cut = beginning(text.encode(), most)
    assert text.startswith(cut)
    assert most - 4 < len(cut.encode()) or cut == text
    assert len(cut.encode()) <= most


@patient
@given(some.binary(), some.integers(min_value=0, max_value=50))
def test_any_bytes_can_be_cut(data: bytes, most: int) -> None:
    assert data.decode(errors="replace").startswith(beginning(data, most).rstrip("�"))


@patient
@given(ANY_JSON)
def test_a_big_int_is_an_int_of_63_bits_or_an_error(value: Any) -> None:
    parse = SCALARS[BigInt].parse_value
    assert parse
    try:
        number = parse(value)
    except GraphQLError as error:
        assert len(error.message) < 200  # noqa: PT017 - either will do
    else:
        assert type(number) is int
        assert abs(number) < 2**63


@patient
@given(some.dictionaries(ANY_TEXT, ANY_JSON))
def test_accepted_metadata_can_be_stored_and_sent(metadata: dict[str, Any]) -> None:
    submission = Submission(
        owner="local",
        program=Program(language="PYTHON", source=""),
        limits=DEFAULT_LIMITS,
        metadata=metadata,
    )
    if not list(Rules().problems(submission)):
        text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
        assert json.loads(text.encode()) == metadata
        assert "\0" not in text


@patient
@given(some.binary() | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_json_or_a_bad_request(body: bytes) -> None:
    try:
        parse_json(body)
    except BadRequestError as error:
        assert error.status == 400  # noqa: PT017 - either will do


@patient
@given(some.text() | some.lists(MEDIA | some.sampled_from(",;=")).map("".join))
def test_any_accept_can_be_weighed(accept: str) -> None:
    ours = {"application/json", "application/graphql-response+json"}
    assert {*acceptable(accept)} <= ours | {"text/event-stream", "multipart/mixed"}
    assert wants_html(accept) in {True, False}


@pytest.mark.parametrize("weight", ["nan", "inf", "-1", "2", "1e400"])
def test_a_weight_out_of_range_counts_nothing(weight: str) -> None:
    assert acceptable(f"*/*;q={weight}") == []
