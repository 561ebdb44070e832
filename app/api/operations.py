"""One operation from its request to its results: the same for every way in which it came."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, cast

from graphql import GraphQLError
from strawberry.schema import Schema
from strawberry.schema.exceptions import InvalidOperationTypeError
from strawberry.types import ExecutionResult

from app.api.context import Context, Services
from app.api.guards import apology, mask, note
from app.api.requests import GraphQLRequest

Result = dict[str, Any]


class Operations:
    """Executes operations, each with a context of its own."""

    def __init__(self, schema: Schema, services: Services) -> None:
        self._schema, self._services = schema, services

    async def execute(self, asked: GraphQLRequest) -> Result:
        """Execute a query or a mutation.

        Raises:
            InvalidOperationTypeError: it is something else, or may not come in this way.
        """
        result = await self._schema.execute(
            asked.query,
            variable_values=asked.variables,
            operation_name=asked.operation_name,
            context_value=Context(self._services),
            allowed_operation_types=asked.allowed,
        )
        return _formatted(result)

    async def stream(self, asked: GraphQLRequest) -> AsyncGenerator[Result, None]:
        """Execute any operation and yield its results, of which a subscription has many."""
        try:
            results = await self._schema.stream(
                asked.query,
                variable_values=asked.variables,
                operation_name=asked.operation_name,
                context_value=Context(self._services),
                allowed_operation_types=asked.allowed,
            )
            async with aclosing(results):
                async for result in results:
                    yield _formatted(cast("ExecutionResult", result))
        except GraphQLError as error:
            # Strawberry lets pass what an extension says while a document is parsed.
            yield {"errors": [mask(error)]}
        except Exception as error:  # noqa: BLE001 - an operation ends here, and it is logged
            yield {"errors": [{"message": apology(note(error))}]}


def is_request_error(result: Result) -> bool:
    """Whether nothing was executed: the request itself was wrong, or its source has failed."""
    return "data" not in result


def _formatted(result: ExecutionResult) -> Result:
    errors = [mask(_allowed(error)) for error in result.errors or ()]
    formatted: Result = {"errors": errors} if errors else {}
    # Without data and without a path nothing was executed.
    if result.data is not None or any("path" in error for error in errors):
        formatted["data"] = result.data
    return formatted


def _allowed(error: GraphQLError) -> GraphQLError:
    """Tell a caller which operations this way is not for; Strawberry's words are an exception."""
    if isinstance(error.original_error, InvalidOperationTypeError):
        kind = error.original_error.operation_type.value
        return GraphQLError(f"A {kind} cannot be sent in this way.")
    return error
