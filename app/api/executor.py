"""Executes operations as graphql-core does, with a short way for plain fields.

Theory of operation. Most fields of an answer are attributes that stand ready, such as a status or a
time. For each of them graphql-core looks up the definition, makes a path and an info, calls the
resolver and finds out what it has returned. We look at a set of fields once for all objects that
are selected with it, and then read each such attribute and serialise it. Whatever is not plain, and
each value that is not as expected, goes graphql-core's way, from which all errors come.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from graphql import (
    GraphQLField,
    GraphQLObjectType,
    Undefined,
    get_nullable_type,
    is_leaf_type,
    is_non_null_type,
)
from graphql.execution.collect_fields import FieldDetailsList, GroupedFieldSet
from graphql.pyutils import Path, gather_with_cancel
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.types.field import StrawberryField

_MISSING = object()


class _Plain(NamedTuple):
    """A field that is an attribute; what it may be, and how it is written."""

    attribute: str
    serialize: Callable[[Any], Any]
    is_nullable: bool


class _Step(NamedTuple):
    name: str
    details: FieldDetailsList
    plain: _Plain | None


class Executor(StrawberryGraphQLCoreExecutionContext):
    """Executes one operation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # By identity; the fields are kept here as well, so that no other can get the same.
        self._plans: dict[int, tuple[GroupedFieldSet, list[_Step]]] = {}

    def build_per_event_executor(self, payload: Any) -> "Executor":
        """Return an executor for one event, which forgets what it has looked up when it ends."""
        executor = super().build_per_event_executor(payload)
        assert isinstance(executor, Executor)  # noqa: S101 - a copy of this one
        # Shared, they would grow with each event of a subscription, which can last for days.
        executor._plans = {}  # noqa: SLF001 - of our own kind
        executor._relevant_sub_fields = {}  # noqa: SLF001 - likewise
        return executor

    def execute_fields(
        self,
        parent_type: GraphQLObjectType,
        source_value: Any,
        path: Path | None,
        grouped_field_set: GroupedFieldSet,
        position_context: Any,
    ) -> Any:
        """Execute fields of one object beside each other."""
        results: dict[str, Any] = {}
        awaited: list[str] = []
        try:
            for name, details, plain in self._plan(parent_type, grouped_field_set):
                value = _read(plain, source_value) if plain else _MISSING
                if value is _MISSING:
                    field_path = Path(path, name, parent_type.name)
                    value = self.execute_field(
                        parent_type, source_value, details, field_path, position_context
                    )
                    if value is Undefined:
                        continue
                    if self.is_awaitable(value):
                        awaited.append(name)
                results[name] = value
        except Exception:
            if awaited:
                self.settle_in_background([results[name] for name in awaited])
            raise
        return _gathered(results, awaited) if awaited else results

    def _plan(self, parent: GraphQLObjectType, fields: GroupedFieldSet) -> list[_Step]:
        known = self._plans.get(id(fields))
        if known is None:
            steps = [
                _Step(name, details, self._plain(parent, details))
                for name, details in fields.items()
            ]
            known = self._plans[id(fields)] = fields, steps
        return known[1]

    def _plain(self, parent: GraphQLObjectType, details: FieldDetailsList) -> _Plain | None:
        node = details[0].node
        definition = self.schema.get_field(parent, node.name.value)
        return _as_plain(definition) if definition and not node.arguments else None


def _as_plain(definition: GraphQLField) -> _Plain | None:
    field = definition.extensions.get("strawberry-definition")
    kind = get_nullable_type(definition.type)
    if not isinstance(field, StrawberryField) or not field.is_basic_field:
        return None
    if definition.args or not is_leaf_type(kind):
        return None
    return _Plain(
        field.python_name, kind.coerce_output_value, not is_non_null_type(definition.type)
    )


def _read(plain: _Plain, source: Any) -> Any:
    """Return a value as it stands in the answer, or `_MISSING` to go the long way."""
    try:
        value = getattr(source, plain.attribute)
        if value is None:
            return None if plain.is_nullable else _MISSING
        written = plain.serialize(value)
    except Exception:  # noqa: BLE001 - it comes again on the long way, where it is located
        return _MISSING
    return _MISSING if written is None or written is Undefined else written


async def _gathered(results: dict[str, Any], awaited: list[str]) -> dict[str, Any]:
    if len(awaited) == 1:
        results[awaited[0]] = await results[awaited[0]]
        return results
    values = await gather_with_cancel(*(results[name] for name in awaited))
    results.update(zip(awaited, values, strict=True))
    return results
