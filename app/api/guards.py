"""What stands between a document and the resolvers, and between their bugs and the caller."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from uuid import uuid4

from graphql import DocumentNode, GraphQLError, GraphQLFormattedError, get_operation_ast, parse
from strawberry.extensions import SchemaExtension

from app.storage.errors import StorageError

log = logging.getLogger(__name__)

# GraphiQL's introspection has about 400. Validation takes time by the square: 0.2 s for the worst
# document of this size, during which nobody else is served.
MAX_TOKENS = 1000
_KEPT_DOCUMENTS = 64
_KEPT_LENGTH = 4096  # characters; parsed, the worst of this length has half a MiB
_AWAY = "The history cannot be reached now; try again later."


@dataclass(slots=True)
class _Prepared:
    """A document that was parsed, and whether it has proved to be valid."""

    document: DocumentNode
    is_valid: bool = False


def _parse(text: str) -> _Prepared:
    return _Prepared(parse(text, max_tokens=MAX_TOKENS))


_parse_again = lru_cache(maxsize=_KEPT_DOCUMENTS)(_parse)


class OneOperation(SchemaExtension):
    """Parses within bounds, and refuses a document that leaves open which operation is meant.

    Strawberry alone would run the first of several. Clients send the same few documents, so these
    are kept: to parse and validate one costs as much as all else that we do for a run.
    """

    _prepared: _Prepared

    def on_parse(self) -> Iterator[None]:
        """Parse, or remember."""
        context = self.execution_context
        # Before there is a document, this is the name that the request gave.
        name, text = context.operation_name, context.query or ""
        self._prepared = _parse_again(text) if len(text) <= _KEPT_LENGTH else _parse(text)
        document = self._prepared.document
        if get_operation_ast(document, name) is None:
            message = (
                "The document has several operations or none: say which with `operationName`."
                if name is None
                else f"The document has no operation named `{name}`."
            )
            raise GraphQLError(message)
        context.graphql_document = document
        yield

    def on_validate(self) -> Iterator[None]:
        """Skip what a document has passed before: its validity depends on nothing but itself."""
        if self._prepared.is_valid:
            self.execution_context.pre_execution_errors = []
        yield
        self._prepared.is_valid = not self.execution_context.pre_execution_errors


def note(error: Exception) -> str:
    """Put our own failure into the log; return the reference under which it stands there."""
    reference = uuid4().hex
    if isinstance(error, StorageError):  # it says what to do; where it arose helps nobody
        log.error("history away", extra={"reference": reference, "reason": str(error)})
    else:
        log.error("error in a request", extra={"reference": reference}, exc_info=error)
    return reference


def apology(reference: str) -> str:
    """Say that we failed, and what to tell the operator."""
    return f"Something went wrong on our side. Reference: {reference}"


def mask(error: GraphQLError) -> GraphQLFormattedError:
    """Format an error for the caller; what is our own affair goes to the log, under an id."""
    cause = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    if cause is None or isinstance(cause, GraphQLError) or _is_about_a_literal(error):
        return error.formatted
    reference = note(cause)
    is_away = isinstance(cause, StorageError)
    masked = GraphQLError(
        _AWAY if is_away else apology(reference),
        path=error.path,
        nodes=error.nodes,
        extensions={
            "code": "UNAVAILABLE" if is_away else "INTERNAL_ERROR",
            "reference": reference,
        },
    )
    return masked.formatted


def _is_about_a_literal(error: GraphQLError) -> bool:
    """Whether a value in the document could not be read, such as a number of 5000 digits."""
    return error.path is None and isinstance(error.original_error, ValueError)
