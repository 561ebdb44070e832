"""What a document amounts to when every fragment in it is written out.

Theory of operation. One walk over each definition, before anything else looks at the document. A
fragment is weighed once, however often it is spread, so 60 fragments that each spread the next one
twice are 60 small sums, and the numbers that come out are those of the 2^60 fields. The size of a
page can be a variable, so a cost is kept as a sum of products: what is remembered of a document
depends on its text alone, and the variables are put in when it is executed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_composite_type,
    is_list_type,
)

DEFAULT_SIZE = 20  # of a page, when the document does not say
LIST_SIZE = 10  # of a list without pages; most are shorter
META_SIZE = 5  # of a list of the schema; what is in one is mostly not in the other
_HIGHEST = 10**9  # a page of this size is refused, whatever is on it
_PAGING = ("first", "last")
_STEPS = frozenset({"fields", "inputFields", "interfaces", "possibleTypes"})

Times: TypeAlias = int | str
"""How often something comes: a number, or the variable that says it."""


@dataclass(slots=True)
class Cost:
    """Fields of an answer: some for certain, others as often as variables say."""

    fixed: int = 0
    scaled: list[tuple[Times, "Cost"]] = field(default_factory=list)

    def add(self, other: "Cost", times: Times = 1) -> None:
        """Add another cost so many times."""
        if isinstance(times, int) and not other.scaled:
            self.fixed += other.fixed * times
        else:
            self.scaled.append((times, other))

    def with_variables(self, variables: Mapping[str, Any]) -> int:
        """Return the number of fields."""
        return _work_out(self, variables, {})


@dataclass(slots=True)
class Weight:
    """What a selection amounts to."""

    depth: int = 0
    fields: int = 0
    """Of its first level."""
    aliases: int = 0
    directives: int = 0
    introspects: bool = False
    circles: int = 0
    """How often introspection goes from a type to another through its fields and their like."""
    cost: Cost = field(default_factory=Cost)
    lists: Cost = field(default_factory=Cost)
    """Of one item of each list in it, whose length its parent knows: `nodes` of a connection."""

    def add(self, other: "Weight") -> None:
        """Add what stands beside it."""
        self.depth = max(self.depth, other.depth)
        self.fields += other.fields
        self.aliases += other.aliases
        self.directives += other.directives
        self.introspects |= other.introspects
        self.circles = max(self.circles, other.circles)
        self.cost.add(other.cost)
        self.lists.add(other.lists)


class Scale:
    """Weighs the definitions of one document."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._fragments = {
            each.name.value: each
            for each in document.definitions
            if isinstance(each, FragmentDefinitionNode)
        }
        self._weighed: dict[str, Weight] = {}

    def operation(self, operation: OperationDefinitionNode) -> Weight:
        """Weigh an operation."""
        weight = self._whole(
            operation.selection_set, self._schema.get_root_type(operation.operation)
        )
        weight.cost.add(weight.lists, LIST_SIZE)
        weight.directives += len(operation.directives or ())
        for variable in operation.variable_definitions or ():
            weight.directives += len(variable.directives or ())
        return weight

    def fragment(self, name: str) -> Weight:
        """Weigh a fragment, or nothing if there is none with this name."""
        definition = self._fragments.get(name)
        if definition is None:
            return Weight()
        if name not in self._weighed:
            # A fragment inside itself weighs nothing; validation refuses it.
            self._weighed[name] = Weight()
            condition = self._schema.get_type(definition.type_condition.name.value)
            weight = self._whole(definition.selection_set, condition)
            weight.directives += len(definition.directives or ())
            self._weighed[name] = weight
        return self._weighed[name]

    def _whole(self, selections: SelectionSetNode, parent: GraphQLNamedType | None) -> Weight:
        total = self._selections(selections, parent)
        total.aliases += _repeated(selections)
        return total

    def _selections(self, selections: SelectionSetNode, parent: GraphQLNamedType | None) -> Weight:
        total = Weight()
        for selection in selections.selections:
            total.add(self._selection(selection, parent))
            total.directives += len(selection.directives or ())
        return total

    def _selection(self, selection: SelectionNode, parent: GraphQLNamedType | None) -> Weight:
        match selection:
            case FieldNode():
                return self._field(selection, parent)
            case InlineFragmentNode():
                condition = selection.type_condition
                kind = self._schema.get_type(condition.name.value) if condition else parent
                return self._selections(selection.selection_set, kind)
            case FragmentSpreadNode():
                return self.fragment(selection.name.value)
        return Weight()  # there are no others

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None) -> Weight:
        name = node.name.value
        definition = (
            self._schema.get_field(parent, name)
            if parent is not None and is_composite_type(parent)
            else None
        )
        weight = Weight(
            depth=1,
            fields=1,
            aliases=int(node.alias is not None),
            introspects=name in {"__schema", "__type"},
            cost=Cost(1),
        )
        if node.selection_set:
            kind = get_named_type(definition.type) if definition else None
            self._add_inner(weight, self._whole(node.selection_set, kind), node, definition)
        return weight

    def _add_inner(
        self, weight: Weight, inner: Weight, node: FieldNode, definition: GraphQLField | None
    ) -> None:
        weight.depth += inner.depth
        weight.aliases += inner.aliases
        weight.directives += inner.directives
        weight.introspects |= inner.introspects
        weight.circles = inner.circles + (node.name.value in _STEPS and _is_of_schema(definition))
        size = _page(node, definition)
        is_list = definition is not None and is_list_type(get_nullable_type(definition.type))
        # Lists in this field are as long as its page, if it is a connection.
        inner.cost.add(inner.lists, LIST_SIZE if size is None or is_list else size)
        if not is_list:
            weight.cost.add(inner.cost)
        elif size is not None:
            weight.cost.add(inner.cost, size)
        elif _is_of_schema(definition):
            weight.cost.add(inner.cost, META_SIZE)
        else:
            weight.lists.add(inner.cost)


def _is_of_schema(definition: GraphQLField | None) -> bool:
    return definition is not None and get_named_type(definition.type).name.startswith("__")


def _page(node: FieldNode, definition: GraphQLField | None) -> Times | None:
    """Return how long the page is that a field asks for; None if it has no pages."""
    if definition is None or definition.args.keys().isdisjoint(_PAGING):
        return None
    given = [
        _times(argument.value)
        for argument in node.arguments or ()
        if argument.name.value in _PAGING
    ]
    sizes = [size for size in given if size is not None]
    numbers = [size for size in sizes if isinstance(size, int)]
    variables = [size for size in sizes if isinstance(size, str)]
    if variables:
        return variables[0]
    return max(numbers, default=DEFAULT_SIZE)


def _times(value: ValueNode) -> Times | None:
    match value:
        case VariableNode():
            return value.name.value
        case IntValueNode():
            digits = value.value
            return _HIGHEST if len(digits) > len(str(_HIGHEST)) else max(int(digits), 0)
    return None


def _work_out(cost: Cost, variables: Mapping[str, Any], known: dict[int, int]) -> int:
    # Fragments are parts of many sums: each is worked out once.
    if id(cost) not in known:
        known[id(cost)] = cost.fixed + sum(
            _size(times, variables) * _work_out(part, variables, known)
            for times, part in cost.scaled
        )
    return known[id(cost)]


def _size(times: Times, variables: Mapping[str, Any]) -> int:
    if isinstance(times, int):
        return times
    value = variables.get(times)
    if not isinstance(value, int) or isinstance(value, bool):
        return DEFAULT_SIZE
    return min(max(value, 0), _HIGHEST)


def _repeated(selections: SelectionSetNode) -> int:
    """Count what is named again beside itself; comparing such fields takes time by the square."""
    names = list(_names(selections))
    return len(names) - len(set(names))


def _names(selections: SelectionSetNode, kind: str = "") -> Iterator[tuple[str, str]]:
    """Yield the names of an answer's fields, each with the type that it is selected for."""
    for each in selections.selections:
        match each:
            case FieldNode():
                yield kind, (each.alias or each.name).value
            case FragmentSpreadNode():
                yield "...", each.name.value
            case InlineFragmentNode():
                condition = each.type_condition
                yield from _names(each.selection_set, condition.name.value if condition else kind)
