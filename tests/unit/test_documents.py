"""Documents are bounded in one walk, whatever fragments make of them, and kept within bytes."""

import gc
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio
import pytest
import strawberry
from graphql import GraphQLSchema, get_introspection_query
from hypothesis import given
from hypothesis import strategies as some

from app.api.bounds import Bounds
from app.api.documents import Documents, Prepared, read
from app.api.lane import Lane
from app.api.refusals import RefusedError
from app.api.schema import schema as served
from app.main import bounds_of
from app.settings import Settings

SCHEMA: GraphQLSchema = served._schema
BOUNDS = bounds_of(Settings(_env_file=None))
BOMB = "".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }} " for n in range(60))
INTROSPECTION = get_introspection_query(
    specified_by_url=True,
    directive_is_repeatable=True,
    schema_description=True,
    input_value_deprecation=True,
)


def prepare(text: str, **changes: Any) -> Prepared:
    return read(text, SCHEMA, replace(BOUNDS, **changes))


def refusal(text: str, **changes: Any) -> dict[str, Any]:
    with pytest.raises(RefusedError) as refused:
        prepare(text, **changes)
    [error] = refused.value.errors
    assert error.extensions
    return error.extensions


def codes(refused: RefusedError) -> list[str]:
    return [(error.extensions or {})["code"] for error in refused.errors]


def cost(text: str, **variables: Any) -> int:
    prepared = prepare(text)
    assert not prepared.errors
    return prepared.choose(None).cost(variables)


@pytest.mark.parametrize(
    ("bound", "most", "fits", "code"),
    [
        ("tokens", 5, "{ a b c", "TOO_MANY_TOKENS"),
        ("depth", 3, "{ health { load { slots", "TOO_DEEP"),
        ("aliases", 2, "{ a: __typename b: __typename", "TOO_MANY_ALIASES"),
        ("aliases", 2, "{ __typename __typename __typename", "TOO_MANY_ALIASES"),
        (
            "root_fields",
            2,
            "{ __typename b: __typename",
            "TOO_MANY_ROOT_FIELDS",
        ),
        (
            "directives",
            2,
            "{ __typename @skip(if: false) @include(if: true)",
            "TOO_MANY_DIRECTIVES",
        ),
        (
            "fragments",
            2,
            "fragment a on Query { ...b } fragment b on Query { __typename } { ...a",
            "TOO_MANY_FRAGMENTS",
        ),
    ],
)
def test_a_document_may_have_so_much_and_no_more(
    bound: str, most: int, fits: str, code: str
) -> None:
    text = fits + "}" * (fits.count("{") - fits.count("}"))
    prepare(text, **{bound: most})
    assert refusal(text, **{bound: most - 1}) == {"code": code, "maximum": most - 1}


@pytest.mark.parametrize(
    ("bound", "code"),
    [
        ("aliases", "TOO_MANY_ALIASES"),
        ("root_fields", "TOO_MANY_ROOT_FIELDS"),
        ("directives", "TOO_MANY_DIRECTIVES"),
    ],
)
@pytest.mark.parametrize("most", [0, 10**15])
def test_a_fragment_counts_wherever_it_is_spread(bound: str, code: str, most: int) -> None:
    loose = dict.fromkeys(("aliases", "root_fields", "directives", "fragments"), 10**30)
    last = "fragment f60 on Query { a: __typename @skip(if: false) }"
    text = f"{{ ...f0 }} {BOMB} {last}"
    prepare(text, **loose)
    assert refusal(text, **{**loose, bound: most}) == {"code": code, "maximum": most}


def test_depth_goes_through_fragments() -> None:
    text = (
        "{ ...A } fragment A on Query { health { ...B } } fragment B on Health { load { slots } }"
    )
    prepare(text, depth=3)
    assert refusal(text, depth=2)["code"] == "TOO_DEEP"
    assert refusal(f"{{ __typename }} {text[8:]}", depth=2)["code"] == "TOO_DEEP"  # though unused


@pytest.mark.parametrize(
    "text",
    [
        "{a" * 5000 + "}" * 5000,
        "{a" * 150 + "}" * 150,
        "{" + "...{" * 150 + "a" + "}" * 151,
        "{ ...f0 }" + "".join(f"fragment f{n} on Query {{...f{n + 1}}}" for n in range(1500)),
        '{ execution(id: "x", a: ' + "[" * 250 + "]" * 250 + ") }",
    ],
)
def test_no_depth_is_too_deep_to_be_refused(text: str) -> None:
    try:
        assert prepare(text, tokens=20_000).errors
    except RefusedError as refused:
        assert codes(refused) == ["TOO_DEEP"]  # noqa: PT017 - or the line above


def test_a_fragment_of_itself_is_refused_and_not_followed() -> None:
    [error] = prepare("{ ...f } fragment f on Query { __typename ...f }").errors
    assert "Cannot spread fragment 'f' within itself" in error.message


@pytest.mark.parametrize(
    ("selected", "fields"),
    [
        ("health { status }", 2),
        ("executions { totalCount }", 2),
        ("executions { nodes { id } }", 1 + 20 * 1 + 1),
        ("executions(first: 100) { nodes { id status } pageInfo { endCursor } }", 204),
        ("executions(last: 7) { edges { node { id } } }", 1 + 1 + 7 * 2),
        ("executions(first: null, last: 3) { nodes { id } }", 5),
        ("executions(first: 0) { nodes { id } }", 2),
        ("executions(first: -5) { nodes { id } }", 2),
        ("executions(first: 2) { nodes { events(first: 3) { at } } }", 2 + 2 * (1 + 3)),
        ("executions(first: 2) { nodes { ...F } }", 2 + 2 * 2),
        ("executions(first: 2) { ...C }", 4),
        ("executions(first: 2) { ... on ExecutionConnection { ...C } }", 4),
        ("languages { id name }", 1 + 10 * 2),
    ],
)
def test_the_cost_is_what_an_answer_could_have_with_full_pages(selected: str, fields: int) -> None:
    text = f"{{ {selected} }}"
    if "...F" in text:
        text += " fragment F on Execution { id status }"
    if "...C" in text:
        text += " fragment C on ExecutionConnection { nodes { id } }"
    assert cost(text) == fields


@pytest.mark.parametrize(
    ("variables", "items"),
    [
        ({}, 5),
        ({"n": 3}, 3),
        ({"n": None}, 20),
        ({"n": True}, 20),
        ({"n": "x"}, 20),
        ({"n": -1}, 0),
    ],
)
def test_the_size_of_a_page_can_be_a_variable(variables: dict[str, Any], items: int) -> None:
    text = "query Q($n: Int = 5) { executions(first: $n) { nodes { id status } } }"
    assert cost(text, **variables) == 2 + 2 * items
    both = text.replace("status", "events(first: 7) { at }")
    assert cost(both, **variables) == 2 + items * (1 + 1 + 7)


def test_a_bomb_of_pages_is_worked_out_at_once() -> None:
    pages = "".join(
        f"fragment f{n} on Execution {{ events(first: 1000) {{ ... on ExecutionFinished {{"
        f" execution {{ ...f{n + 1} ...f{n + 1} }} }} }} }} "
        for n in range(12)
    )
    text = f"query($n: Int) {{ executions(first: $n) {{ nodes {{ ...f0 }} }} }} {pages}"
    text += "fragment f12 on Execution { id }"
    prepared = prepare(text, depth=100, aliases=10**9)
    assert prepared.choose(None).cost({"n": 1}) > 10**36


@some.composite
def documents(draw: some.DrawFn) -> tuple[str, str]:
    """Draw a selection twice: with fragments, and with each written out."""
    whole: dict[str, str] = {}
    spread: dict[str, str] = {}
    for name in ("A", "B", "C"):
        parts = draw(some.lists(some.sampled_from([*PARTS, *whole]), min_size=1, max_size=4))
        spread[name] = " ".join(f"...{part}" if part in whole else part for part in parts)
        whole[name] = " ".join(f"... on Query {{ {whole[p]} }}" if p in whole else p for p in parts)
    fragments = " ".join(f"fragment {name} on Query {{ {spread[name]} }}" for name in spread)
    return f"{{ ...C }} {fragments}", f"{{ {whole['C']} }}"


PARTS = [
    "health { status }",
    "executions(first: 3) { nodes { id language { name } } totalCount }",
    "languages @skip(if: false) { id }",
    "x: __typename",
]


@given(documents())
def test_a_document_weighs_what_it_weighs_written_out(texts: tuple[str, str]) -> None:
    loose = dict.fromkeys(("aliases", "root_fields", "directives", "cost"), 10**9)
    spread, whole = (prepare(text, **loose).operations[None] for text in texts)
    assert spread.cost({}) == whole.cost({})
    for name in ("depth", "fields", "directives"):
        assert getattr(spread.weight, name) == getattr(whole.weight, name)


def test_tools_may_read_the_schema() -> None:
    prepared = prepare(INTROSPECTION)
    assert not prepared.errors
    assert prepared.choose(None).cost({}) <= BOUNDS.cost


@pytest.mark.parametrize(
    "text",
    [
        "{ __schema { queryType { name } } }",
        '{ a: __type(name: "Query") { name } }',
        "{ ...f } fragment f on Query { ... { __schema { queryType { name } } } }",
        "query A { __typename } query B { __schema { queryType { name } } }",
        "mutation { __schema { queryType { name } } }",
        "{ __typename } fragment unused on Query { __schema { queryType { name } } }",
    ],
)
def test_introspection_can_be_switched_off(text: str) -> None:
    assert refusal(text, introspection=False) == {"code": "INTROSPECTION_DISABLED"}
    prepare("{ __typename health { __typename } }", introspection=False)


def test_introspection_does_not_go_in_circles() -> None:
    inner = "type { fields { name } }"
    for text in (
        f"{{ __schema {{ types {{ fields {{ {inner} }} }} }} }}",
        f"{{ __schema {{ types {{ inputFields {{ {inner} }} }} }} }}",
        "{ __schema { types { possibleTypes { interfaces { name } } } } }",
        f'{{ __type(name: "Query") {{ ...A }} }} fragment A on __Type {{ fields {{ {inner} }} }}',
    ):
        assert refusal(text)["code"] == "TOO_DEEP"
    assert not prepare(INTROSPECTION).errors


@pytest.mark.parametrize(
    "text",
    [
        "{ healt { status } }",
        '{ execution(idd: "x") { id } }',
        "{ ... on Quer { health { status } } }",
        "query($id: IDD) { __typename }",
        "{ executions(filter: { statusIn: [FAILE] }) { totalCount } }",
        "{ executions(filter: { statuIn: [FAILED] }) { totalCount } }",
        "{ __typename @skipp(if: true) }",
        "{ __typename @skip(iff: true) }",
        "{ node { statu } }",
    ],
)
def test_suggestions_can_be_switched_off(text: str) -> None:
    errors = prepare(text, suggestions=False).errors
    assert errors
    assert not any("mean" in error.message for error in errors)


def test_errors_of_a_document_are_few() -> None:
    text = "{" + " ".join(f"a{n}" for n in range(20)) + "}"
    errors = prepare(text, errors=3).errors
    assert len(errors) == 3
    assert codes(RefusedError(errors)) == ["GRAPHQL_VALIDATION_FAILED"] * 3


def test_the_rules_of_strawberry_are_kept() -> None:
    @strawberry.input(one_of=True)
    class Either:
        a: strawberry.Maybe[str]
        b: strawberry.Maybe[str]

    @strawberry.type
    class Query:
        @strawberry.field
        def ask(self, either: Either) -> str:
            return str(either)

    schema = strawberry.Schema(Query)._schema
    assert not read('{ ask(either: { a: "x" }) }', schema, BOUNDS).errors
    assert read('{ ask(either: { a: "x", b: "y" }) }', schema, BOUNDS).errors
    assert read("{ ask(either: { a: null }) }", schema, BOUNDS).errors


# --- What is kept --------------------------------------------------------------------------------


def keeping(**changes: Any) -> Documents:
    return Documents(SCHEMA, replace(BOUNDS, **changes), Lane())


async def test_a_document_is_read_once() -> None:
    documents = keeping()
    first = await documents.prepare("{ __typename }")
    assert await documents.prepare("{ __typename }") is first
    assert await documents.prepare("{ __typename } ") is not first


@pytest.mark.parametrize("text", ["{", "{ nothing }", "{ " + "a: __typename " * 40 + "}"])
async def test_what_is_wrong_is_not_kept(text: str) -> None:
    documents = keeping()
    for _ in range(2):
        with suppress(RefusedError):
            assert (await documents.prepare(text)).errors
    assert documents.size == 0


LARGE = {
    "names": "query(%s) { __typename }",
    "comments": "# %s\n{ __typename }",
    "fields": "{ health { %s } }",
    "text": '{ execution(id: "%s") { id } }',
    "wide text": '{ execution(id: "%s") { id } }',
    "fragments": "{ ...f } fragment f on Query { executions(first: 1) { nodes { %s } } }",
    "statuses": "{ executions(filter: { statusIn: [%s] }) { totalCount } }",
}
FILL = {
    "names": "$a{n}: Int",
    "comments": "{n}\n# ",
    "fields": "... on Health {{ status }}",
    "text": "{n:08}",
    "wide text": "\U0001f600{n:08}",
    "fragments": "... on Execution {{ id }}",
    "statuses": "FAILED",
}


# Python remembers names that were made to look up methods: as many as it likes, not per document.
NAMES_OF_METHODS = [
    tracemalloc.Filter(inclusive=False, filename_pattern=f"*/graphql/{name}.py")
    for name in ("language/visitor", "utilities/type_info")
]


@pytest.mark.parametrize("kind", LARGE)
def test_a_document_takes_no_more_memory_than_is_counted(kind: str) -> None:
    amount = 25 if kind in {"fields", "fragments"} else 200
    text = LARGE[kind] % " ".join(FILL[kind].format(n=n) for n in range(amount))
    bounds = replace(BOUNDS, tokens=5000)
    read(text, SCHEMA, bounds)  # fills what is kept once and for all
    tracemalloc.start()
    try:
        kept = [replace(read(text[:-1] + text[-1:], SCHEMA, bounds), errors=()) for _ in range(10)]
        gc.collect()
        snapshot = tracemalloc.take_snapshot().filter_traces(NAMES_OF_METHODS)
    finally:
        tracemalloc.stop()
    taken = sum(trace.size for trace in snapshot.traces)
    assert taken <= sum(prepared.size for prepared in kept)


async def test_the_memory_of_documents_is_bounded() -> None:
    documents = keeping(kept=200_000)
    first = await documents.prepare("{ __typename }")
    for number in range(200):
        await documents.prepare(f"{{ a{number}: __typename }}")
        await documents.prepare("{ __typename }")
        assert documents.size <= 200_000
    assert documents.size > 150_000
    assert await documents.prepare("{ __typename }") is first  # it was in use
    assert (await documents.prepare("{ a0: __typename }")).size > 0
    huge = "{ health { " + "... { status } " * 25 + "} }"
    assert await documents.prepare(huge) is not await documents.prepare(huge)


async def test_known_documents_overtake_new_ones() -> None:
    documents = keeping()
    await documents.prepare("{ __typename }")
    done: list[int] = []

    async def flood(number: int) -> None:
        fields = " ".join(f"q{number}x{n}" for n in range(300))
        await documents.prepare(f"{{ health {{ {fields} }} }}")
        done.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(flood, number)
        await anyio.wait_all_tasks_blocked()
        before = len(done)
        await documents.prepare("{ __typename }")
        assert len(done) == before < 20


async def test_only_so_many_new_documents_wait() -> None:
    documents = keeping()
    refused: list[RefusedError] = []

    async def ask(number: int) -> None:
        try:
            await documents.prepare(f"{{ a{number}: __typename }}")
        except RefusedError as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        for number in range(150):
            tasks.start_soon(ask, number)
    assert refused
    assert all(codes(error) == ["UNAVAILABLE"] for error in refused)
    await documents.prepare("{ last: __typename }")


def test_bounds_are_those_of_the_settings() -> None:
    settings = Settings(_env_file=None, production=True, graphiql=True, introspection=True)
    bounds: Bounds = bounds_of(settings)
    assert not bounds.introspection
    assert not bounds.suggestions
