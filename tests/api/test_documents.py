"""What is written down about the API is true."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphql import (
    FieldNode,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    is_enum_type,
    is_specified_scalar_type,
    parse,
    validate,
)

from app.api.schema import schema
from app.languages import LanguageId
from app.settings_text import as_env_file, as_markdown

from .client import Api, Json

ROOT = Path(__file__).parents[2]
OPERATIONS = sorted((ROOT / "web/graphiql/operations").glob("*.graphql"))
SELF_EXPLAINING = {f"LanguageId.{id}" for id in LanguageId}


@pytest.fixture(scope="session")
def committed() -> str:
    return (ROOT / "schema.graphql").read_text()


def test_the_committed_schema_is_the_one_that_is_served(committed: str) -> None:
    assert committed == schema.as_str() + "\n", "run `make schema`"


def test_the_example_of_settings_is_what_the_settings_say() -> None:
    assert (ROOT / ".env.example").read_text() == as_env_file()


def test_the_table_of_settings_names_each_once() -> None:
    lines = as_markdown().splitlines()
    names = [line.split("`")[1] for line in lines[2:]]
    assert len(set(names)) == len(names) > 30
    assert all(line.count("|") == 4 for line in lines)


def test_everything_in_the_schema_has_a_description(committed: str) -> None:
    missing = set(undescribed(build_schema(committed)))
    assert missing == SELF_EXPLAINING


def undescribed(schema: GraphQLSchema) -> Iterator[str]:
    for name, type in schema.type_map.items():
        if name.startswith("__") or is_specified_scalar_type(type):
            continue
        values = type.values if is_enum_type(type) else {}
        members = {**getattr(type, "fields", {}), **values}
        parts = {name: type, **{f"{name}.{member}": each for member, each in members.items()}}
        for member, field in members.items():
            arguments = getattr(field, "args", {})
            parts |= {f"{name}.{member}.{each}": arguments[each] for each in arguments}
        yield from (part for part, what in parts.items() if not what.description)


def read(operation: Path) -> tuple[str, Json]:
    variables = operation.with_suffix(".json")
    return operation.read_text(), json.loads(variables.read_text()) if variables.exists() else {}


def test_there_is_a_sample_for_each_thing_that_one_can_do(committed: str) -> None:
    served, used = build_schema(committed), set[str]()
    for operation in OPERATIONS:
        [definition] = parse(operation.read_text()).definitions
        assert isinstance(definition, OperationDefinitionNode)
        fields = definition.selection_set.selections
        used |= {each.name.value for each in fields if isinstance(each, FieldNode)}
    roots = (served.query_type, served.mutation_type, served.subscription_type)
    assert used == {name for root in roots if root for name in root.fields}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda path: path.stem)
def test_a_sample_is_valid(operation: Path, committed: str) -> None:
    assert validate(build_schema(committed), parse(operation.read_text())) == []


@pytest.mark.parametrize(
    "operation",
    [each for each in OPERATIONS if "subscription" not in each.read_text()],
    ids=lambda path: path.stem,
)
async def test_a_sample_runs(operation: Path, api: Api) -> None:
    query, variables = read(operation)
    data = await api.ask(query, **variables)
    if "executeCode" in data:
        assert data["executeCode"]["errors"] == []
        id = data["executeCode"]["execution"]["id"]
        await api.cancel(id)


async def test_the_javascript_sample_greets(api: Api) -> None:
    operation = next(path for path in OPERATIONS if "javascript" in path.stem)
    query, variables = read(operation)
    data = await api.ask(query, **variables)
    assert data["executeCode"]["execution"]["stdout"] == (
        "Hello Ada and welcome\nHello Grace and welcome\n"
    )


async def test_the_first_query_works_as_it_stands(api: Api) -> None:
    data = await api.ask(
        """
mutation { executeCode(input: { language: PYTHON, source: "print(6 * 7)" }) {
  execution { id status stdout stderr exitCode usage { wallTimeMs cpuTimeMs peakMemoryBytes } }
  errors { code message path } } }"""
    )
    payload = data["executeCode"]
    assert payload["errors"] == []
    assert payload["execution"]["stdout"] == "42\n"
    assert payload["execution"]["status"] == "SUCCEEDED"


async def test_the_examples_of_languages_say_hello(api: Api) -> None:
    query = "{ languages { id name version isAvailable unavailableReason fileExtension example } }"
    languages = (await api.ask(query))["languages"]
    assert [language["id"] for language in languages] == sorted(LanguageId)
    for language in languages:
        if not language["isAvailable"]:
            assert "apt install" in language["unavailableReason"]
            continue
        assert language["unavailableReason"] is None
        assert any(letter.isdigit() for letter in language["version"])
        execution = await api.run(language["example"], language["id"])
        assert execution["stdout"] == "Hello, world!\n", (language, execution)


async def test_the_limits_are_those_of_the_settings(api: Api) -> None:
    limits = (
        await api.ask(
            """{ limits {
              defaults { wallTimeMs memoryBytes } maximums { wallTimeMs memoryBytes }
              sourceBytes stdinBytes args argsBytes metadataBytes metadataDepth textLength
              defaultWaitMs maxWaitMs pageSize
            } }"""
        )
    )["limits"]
    assert limits == {
        "defaults": {"wallTimeMs": 10_000, "memoryBytes": 256 << 20},
        "maximums": {"wallTimeMs": 60_000, "memoryBytes": 2 << 30},
        "sourceBytes": 256 << 10,
        "stdinBytes": 1 << 20,
        "args": 64,
        "argsBytes": 64 << 10,
        "metadataBytes": 16 << 10,
        "metadataDepth": 8,
        "textLength": 200,
        "defaultWaitMs": 15_000,
        "maxWaitMs": 60_000,
        "pageSize": 100,
    }


async def test_health_names_every_part(api: Api) -> None:
    health = (
        await api.ask(
            """{ health { version status executor { name status memory cpuTime }
                 database { status } load { slots running queueSize queued } } }"""
        )
    )["health"]
    assert health["status"] == "OK"
    assert health["database"] == {"status": "OK"}
    assert health["executor"]["name"] == "local"
    assert health["executor"]["memory"] in {"EXACT", "APPROXIMATE"}
    assert health["load"]["running"] == health["load"]["queued"] == 0
    assert health["version"][0].isdigit()
