"""The table of roles says something about every field, and nothing about others."""

from contextlib import nullcontext

import pytest
from graphql import GraphQLInterfaceType, GraphQLObjectType, parse

from app.api.access import RULES, TABLE, reachable, require
from app.api.refusals import RefusedError
from app.api.schema import schema
from app.domain.access import Role

TYPES = {
    name: kind
    for name, kind in schema._schema.type_map.items()
    if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) and not name.startswith("__")
}


def test_every_field_has_a_rule_and_every_rule_a_field() -> None:
    fields = {f"{name}.{field}" for name, kind in TYPES.items() for field in kind.fields}
    assert RULES.keys() == fields


def test_no_field_has_two_rules() -> None:
    fields = [
        f"{type}.{field}"
        for type, rules in TABLE.items()
        for names in rules.values()
        for field in names.split()
    ]
    assert len(fields) == len(set(fields))


def test_an_administrator_may_use_everything() -> None:
    assert all(Role.ADMIN in roles for roles in RULES.values())


def test_what_an_interface_lets_through_its_types_do_too() -> None:
    for kind in TYPES.values():
        for interface in kind.interfaces:
            for field in interface.fields:
                allowed = RULES[f"{interface.name}.{field}"]
                assert RULES[f"{kind.name}.{field}"] >= allowed


def test_who_may_use_a_field_may_look_at_its_answer() -> None:
    for name, kind in TYPES.items():
        for field, definition in kind.fields.items():
            answer = getattr(definition.type, "of_type", definition.type)
            while hasattr(answer, "of_type"):
                answer = answer.of_type
            if answer.name in TYPES:
                usable = [RULES[f"{answer.name}.{each}"] for each in TYPES[answer.name].fields]
                for role in RULES[f"{name}.{field}"]:
                    assert any(role in roles for roles in usable), (name, field, role)


@pytest.mark.parametrize("role", Role)
def test_every_field_is_open_to_exactly_whom_the_table_says(role: Role) -> None:
    for field, roles in RULES.items():
        kind, _, name = field.partition(".")
        document = parse(f"query {{ ...Part }} fragment Part on {kind} {{ {name} }}")
        fields = reachable(schema._schema, document)[None]
        assert fields == {field}
        with nullcontext() if role in roles else pytest.raises(RefusedError, match="is not for"):
            require(role, fields)


DOCUMENT = """
query One { execution(id: "x") { ...Deep } }
query Two { health { load { slots } } ... on Query { viewer { role } } }
fragment Deep on Execution { id ...Deeper }
fragment Deeper on Execution { stdout events { sequence ... on ExecutionOutput { text } } }
"""


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (
            "One",
            """Query.execution Execution.id Execution.stdout Execution.events
            ExecutionEvent.sequence ExecutionOutput.text""",
        ),
        ("Two", "Query.health Health.load Load.slots Query.viewer Viewer.role"),
    ],
)
def test_an_operation_is_known_by_its_fields_through_fragments(name: str, fields: str) -> None:
    assert reachable(schema._schema, parse(DOCUMENT))[name] == set(fields.split())
