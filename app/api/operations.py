"""One operation from its request to its results: the same for every way in which it came."""

import re
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from inspect import isawaitable
from typing import Any, TypeGuard, cast

import anyio
from graphql import (
    ExecutionResult,
    GraphQLError,
    GraphQLFormattedError,
    GraphQLSchema,
    OperationType,
    create_source_event_stream,
)
from strawberry.execution import optimized_is_awaitable

from app.api.access import require
from app.api.bounds import Bounds
from app.api.context import Context, Services, Visit
from app.api.documents import Documents, Operation, Prepared
from app.api.executor import Executor
from app.api.guards import failure, mask
from app.api.lane import Lane
from app.api.refusals import Code, RefusedError, coded, error_of, refused
from app.api.requests import GraphQLRequest

Result = dict[str, Any]

_VARIABLE = re.compile(r"\$\s*(\w+)")
_TEST_COST = 10  # fields of an answer that take as long as one test of an input

# Strawberry's is the quicker one; it only has another type.
_is_awaitable = cast("Callable[[Any], TypeGuard[Awaitable[Any]]]", optimized_is_awaitable)


class WrongOperationError(RefusedError):
    """An operation that may not come in this way."""

    def __init__(self, kind: OperationType) -> None:
        message = f"A {kind.value} cannot be sent in this way."
        super().__init__(refused(Code.OPERATION_NOT_ALLOWED, message).errors)
        self.kind = kind


class Operations:
    """Executes operations, each with a context of its own."""

    def __init__(self, schema: GraphQLSchema, services: Services, bounds: Bounds) -> None:
        self.lane = Lane()
        """For whatever a request has us do that takes long and tells nothing yet."""
        self._schema, self._services, self._bounds = schema, services, bounds
        self._documents = Documents(schema, bounds, self.lane)

    async def execute(self, asked: GraphQLRequest, visit: Visit) -> Result:
        """Execute a query or a mutation.

        Raises:
            WrongOperationError: it is something else, or may not come in this way.
        """
        try:
            executor = await self._prepare(asked, visit)
        except WrongOperationError:
            raise
        except RefusedError as refusal:
            return self._refusal(refusal)
        return await self._in_time(executor)

    async def stream(self, asked: GraphQLRequest, visit: Visit) -> AsyncGenerator[Result, None]:
        """Execute any operation and yield its results, of which a subscription has many."""
        try:
            executor = await self._prepare(asked, visit)
            if executor.operation.operation is OperationType.SUBSCRIPTION:
                async with aclosing(self._events(executor)) as results:
                    async for result in results:
                        yield result
            else:
                yield await self._in_time(executor)
        except RefusedError as refusal:
            yield self._refusal(refusal)
        except Exception as error:  # noqa: BLE001 - an operation ends here, and it is logged
            yield {"errors": [failure(error)]}

    async def _prepare(self, asked: GraphQLRequest, visit: Visit) -> Executor:
        """Make what executes a request.

        Raises:
            RefusedError: it must not be executed.
        """
        prepared = await self._documents.prepare(asked.query)
        operation = prepared.choose(asked.operation_name)
        if operation.node.operation not in asked.allowed:
            raise WrongOperationError(operation.node.operation)
        if prepared.errors:
            raise RefusedError(prepared.errors)
        require(visit.caller.role, operation.fields)
        variables = asked.variables or {}
        self._weigh(operation, variables)
        self._count_tests(asked.query, variables)
        return self._build(prepared, operation, variables, visit)

    def _weigh(self, operation: Operation, variables: dict[str, Any]) -> None:
        cost, most = operation.cost(variables), self._bounds.cost
        if cost > most:
            message = (
                f"The answer could have {cost} fields, and may have {most}: "
                "ask for smaller pages, or for fewer fields."
            )
            raise refused(Code.TOO_COSTLY, message, maximum=most)

    def _count_tests(self, query: str, variables: dict[str, Any]) -> None:
        """Refuse what would be read for seconds: a variable is, anew for each field that names it.

        Fields of one name are one field, so there are no more of them than the text has.
        """
        named = Counter(_VARIABLE.findall(query))  # once where it is declared
        tests = sum((named[name] - 1) * _tests_in(each) for name, each in variables.items())
        if tests > (most := self._bounds.cost // _TEST_COST):
            message = f"A request may bring {most} tests, not {tests}: send fewer at once."
            raise refused(Code.TOO_COSTLY, message, maximum=most)

    def _build(
        self, prepared: Prepared, operation: Operation, variables: dict[str, Any], visit: Visit
    ) -> Executor:
        name = operation.node.name
        built = Executor.build(
            self._schema,
            prepared.document,
            None,
            Context(self._services, visit),
            variables,
            name.value if name else None,
            max_coercion_errors=self._bounds.errors - 1,
            is_awaitable=_is_awaitable,
            hide_suggestions=not self._bounds.suggestions,
        )
        if isinstance(built, list):
            raise RefusedError(coded(built, Code.BAD_USER_INPUT))
        assert isinstance(built, Executor)  # noqa: S101 - it makes its own kind
        return built

    async def _events(self, executor: Executor) -> AsyncGenerator[Result, None]:
        source: Any = create_source_event_stream(executor)
        if isawaitable(source):
            source = await source
        if isinstance(source, ExecutionResult):
            yield self._formatted(source)
            return
        assert isinstance(source, AsyncGenerator)  # noqa: S101 - ours are
        async with aclosing(source):
            async for payload in source:
                event = executor.build_per_event_executor(payload)
                yield await self._in_time(event)

    async def _in_time(self, executor: Executor) -> Result:
        context: Context = executor.context_value
        with anyio.move_on_after(self._bounds.time):
            result: Any = executor.execute_operation()
            result = await result if isawaitable(result) else result
            await context.settle()
            return self._formatted(result)
        message = f"This took longer than {self._bounds.time:g} s. What was begun may go on."
        return {"data": None, "errors": [error_of(Code.OPERATION_TIMEOUT, message)]}

    def _refusal(self, refusal: RefusedError) -> Result:
        return self._formatted(ExecutionResult(None, list(refusal.errors)))

    def _formatted(self, result: ExecutionResult) -> Result:
        errors = self._masked(result.errors or [])
        formatted: Result = {"errors": errors} if errors else {}
        # Without data and without a path nothing was executed.
        if result.data is not None or any("path" in error for error in errors):
            formatted["data"] = result.data
        return formatted

    def _masked(self, errors: list[GraphQLError]) -> list[GraphQLFormattedError]:
        most = self._bounds.errors
        if len(errors) <= most:
            return [mask(error) for error in errors]
        message = f"There are {len(errors)} errors; these are the first."
        more = error_of(Code.TOO_MANY_ERRORS, message, maximum=most)
        return [*(mask(error) for error in errors[: most - 1]), more]


def _tests_in(variable: object) -> int:
    """Count the tests in a variable, as many as there can be: an execution counts as one more."""
    inner = variable.get("executions") or variable if isinstance(variable, dict) else variable
    found = [each for each in _listed(inner) if isinstance(each, dict)]
    return len(found) + sum(len(_listed(each.get("tests"))) for each in found)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def is_request_error(result: Result) -> bool:
    """Whether nothing was executed: the request itself was wrong, or its source has failed."""
    return "data" not in result
