"""Documents on their way to being executed: bounded, weighed, valid, and kept.

Theory of operation. To parse and to validate a document costs more than all else that we do for a
short run, so what has passed is kept, least recently used out first, within a number of bytes. What
is kept under a text follows from that text alone: variables, the operation that is meant and who
asks come later. Only documents without a fault are kept.

Documents that are not known are read in a lane (`lane.py`): who floods us with new ones waits for
their like, and does not hold up known ones.
"""

import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    IntValueNode,
    OperationDefinitionNode,
    specified_rules,
    validate,
)
from graphql.language.parser import Parser
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from app.api.access import reachable
from app.api.bounds import Bounds
from app.api.lane import Lane, LaneFullError
from app.api.refusals import Code, RefusedError, coded, refused
from app.api.weights import Scale, Weight

RULES = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)
# Tools ask for the fields of each type once. Each further step multiplies the answer by all types.
MOST_CIRCLES = 1
_TOKEN_SIZE = 1000  # bytes of a token with its node, at the most where it was tried
_TEXT_COPIES = 3  # the text, the source, and a token that is nearly all of it
_LARGEST_SHARE = 8  # no document has more than such a part of what is kept


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a document, and what it amounts to."""

    node: OperationDefinitionNode
    weight: Weight
    fields: frozenset[str] = frozenset()
    """All that it can reach, as `Type.field`, if the document is valid."""

    def cost(self, variables: Mapping[str, Any]) -> int:
        """Return how many fields the answer may have with these variables."""
        return self.weight.cost.with_variables(self._defaults() | dict(variables))

    def _defaults(self) -> dict[str, Any]:
        """Return the defaults of variables that can be the size of a page."""
        return {
            variable.variable.name.value: int(variable.default_value.value)
            for variable in self.node.variable_definitions or ()
            if isinstance(variable.default_value, IntValueNode)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A document within bounds, and what validation says about it."""

    document: DocumentNode
    operations: Mapping[str | None, Operation]
    size: int
    errors: tuple[GraphQLError, ...] = ()

    def choose(self, name: str | None) -> Operation:
        """Return the operation that is meant.

        Raises:
            RefusedError: the request leaves open which one.
        """
        if name is None and len(self.operations) == 1:
            return next(iter(self.operations.values()))
        if name is None:
            message = "The document has several operations or none: say which with `operationName`."
        elif operation := self.operations.get(name):
            return operation
        else:
            message = f"The document has no operation named `{name}`."
        raise refused(Code.OPERATION_NOT_CHOSEN, message)


class Documents:
    """Reads documents, and remembers the good ones."""

    def __init__(self, schema: GraphQLSchema, bounds: Bounds, lane: Lane) -> None:
        self._schema, self._bounds, self._lane = schema, bounds, lane
        self._kept: OrderedDict[str, Prepared] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """How many bytes are kept, at the most."""
        return self._size

    async def prepare(self, text: str) -> Prepared:
        """Return a document that is within bounds.

        Raises:
            RefusedError: it is none.
        """
        if found := self._remembered(text):
            return found
        if len(text) > self._bounds.length:
            most = self._bounds.length
            message = (
                f"A document may have at most {most} characters; put long texts into variables."
            )
            raise refused(Code.DOCUMENT_TOO_LONG, message, maximum=most)
        try:
            return await self._lane.do(lambda: self._remembered(text) or self._read(text))
        except LaneFullError as error:
            raise refused(Code.UNAVAILABLE, str(error)) from error

    def _remembered(self, text: str) -> Prepared | None:
        found = self._kept.get(text)
        if found:
            self._kept.move_to_end(text)
        return found

    def _read(self, text: str) -> Prepared:
        prepared = read(text, self._schema, self._bounds)
        if not prepared.errors:
            self._keep(text, prepared)
        return prepared

    def _keep(self, text: str, prepared: Prepared) -> None:
        if prepared.size > self._bounds.kept // _LARGEST_SHARE:
            return
        self._kept[text] = prepared
        self._size += prepared.size
        while self._size > self._bounds.kept:
            self._size -= self._kept.popitem(last=False)[1].size


def read(text: str, schema: GraphQLSchema, bounds: Bounds) -> Prepared:
    """Parse, weigh and validate a document; depends on nothing but its text.

    Raises:
        RefusedError: it cannot be parsed, or breaks a bound.
    """
    try:
        document, tokens = _parse(text, bounds)
        operations = _weigh(document, schema, bounds)
    except RecursionError:
        raise _too_deep(bounds) from None
    errors = validate(
        schema, document, RULES, bounds.errors - 1, hide_suggestions=not bounds.suggestions
    )
    if not errors:
        reached = reachable(schema, document)
        operations = {
            name: replace(each, fields=reached[name]) for name, each in operations.items()
        }
    return Prepared(
        document=document,
        operations=operations,
        size=_TOKEN_SIZE * (tokens + 1) + _TEXT_COPIES * sys.getsizeof(text),
        errors=tuple(_about_document(error) for error in errors),
    )


def _about_document(error: GraphQLError) -> GraphQLError:
    """Take over what validation says, also of a value that could not be read."""
    extensions = {"code": Code.VALIDATION_FAILED.value}
    is_value = isinstance(error.original_error, ValueError)  # such as a number of 5000 digits
    original = None if is_value else error.original_error
    return GraphQLError(error.message, error.nodes, original_error=original, extensions=extensions)


def _parse(text: str, bounds: Bounds) -> tuple[DocumentNode, int]:
    parser = Parser(text, max_tokens=bounds.tokens)
    try:
        return parser.parse_document(), parser.token_count
    except GraphQLSyntaxError as error:
        if f"more than {bounds.tokens} tokens" in error.message:
            message = f"A document may have at most {bounds.tokens} tokens."
            raise refused(Code.TOO_MANY_TOKENS, message, maximum=bounds.tokens) from None
        if "nested too deeply" in error.message:
            raise _too_deep(bounds) from None
        raise RefusedError(coded([error], Code.PARSE_FAILED)) from None


def _weigh(
    document: DocumentNode, schema: GraphQLSchema, bounds: Bounds
) -> dict[str | None, Operation]:
    scale = Scale(schema, document)
    operations: dict[str | None, Operation] = {}
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            weight = scale.operation(definition)
            _check(weight, bounds)
            name = definition.name.value if definition.name else None
            operations[name] = Operation(definition, weight)
        elif isinstance(definition, FragmentDefinitionNode):
            _check(replace(scale.fragment(definition.name.value), fields=0), bounds)
    if len(document.definitions) - len(operations) > bounds.fragments:
        message = f"A document may have at most {bounds.fragments} fragments."
        raise refused(Code.TOO_MANY_FRAGMENTS, message, maximum=bounds.fragments)
    return operations


def _check(weight: Weight, bounds: Bounds) -> None:
    if weight.introspects and not bounds.introspection:
        raise refused(Code.INTROSPECTION_DISABLED, "Introspection is switched off here.")
    if weight.circles > MOST_CIRCLES:
        message = "Introspection may go from a type to its fields, but not on to theirs."
        raise refused(Code.TOO_DEEP, message, maximum=MOST_CIRCLES)
    if weight.depth > bounds.depth:
        raise _too_deep(bounds)
    for amount, most, code, what in (
        (weight.aliases, bounds.aliases, Code.TOO_MANY_ALIASES, "aliases and repeated fields"),
        (weight.fields, bounds.root_fields, Code.TOO_MANY_ROOT_FIELDS, "root fields"),
        (weight.directives, bounds.directives, Code.TOO_MANY_DIRECTIVES, "directives"),
    ):
        if amount > most:
            message = f"An operation may have at most {most} {what}, with fragments written out."
            raise refused(code, message, maximum=most)


def _too_deep(bounds: Bounds) -> RefusedError:
    message = f"Fields may stand at most {bounds.depth} deep in each other."
    return refused(Code.TOO_DEEP, message, maximum=bounds.depth)
