"""Errors of a request that was not executed, or not to its end; each has a code for machines."""

from collections.abc import Sequence
from enum import StrEnum

from graphql import GraphQLError, GraphQLFormattedError


class Code(StrEnum):
    """What is wrong with a request; the first three are called as Apollo's servers call them."""

    PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
    VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
    BAD_USER_INPUT = "BAD_USER_INPUT"
    BAD_REQUEST = "BAD_REQUEST"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    RATE_LIMITED = "RATE_LIMITED"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    NOT_ACCEPTABLE = "NOT_ACCEPTABLE"
    NOT_FOUND = "NOT_FOUND"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    BODY_TIMEOUT = "BODY_TIMEOUT"
    OPERATION_NOT_CHOSEN = "OPERATION_NOT_CHOSEN"
    OPERATION_NOT_ALLOWED = "OPERATION_NOT_ALLOWED"
    INTROSPECTION_DISABLED = "INTROSPECTION_DISABLED"
    DOCUMENT_TOO_LONG = "DOCUMENT_TOO_LONG"
    TOO_MANY_TOKENS = "TOO_MANY_TOKENS"
    TOO_DEEP = "TOO_DEEP"
    TOO_MANY_ALIASES = "TOO_MANY_ALIASES"
    TOO_MANY_FRAGMENTS = "TOO_MANY_FRAGMENTS"
    TOO_MANY_ROOT_FIELDS = "TOO_MANY_ROOT_FIELDS"
    TOO_MANY_DIRECTIVES = "TOO_MANY_DIRECTIVES"
    TOO_COSTLY = "TOO_COSTLY"
    TOO_MANY_ERRORS = "TOO_MANY_ERRORS"
    TOO_MANY_OPERATIONS = "TOO_MANY_OPERATIONS"
    TOO_MANY_SUBSCRIBERS = "TOO_MANY_SUBSCRIBERS"
    OPERATION_TIMEOUT = "OPERATION_TIMEOUT"
    UNAVAILABLE = "UNAVAILABLE"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class RefusedError(Exception):
    """Nothing is executed; the caller hears why."""

    def __init__(self, errors: Sequence[GraphQLError]) -> None:
        super().__init__(errors)
        self.errors = errors


def refused(code: Code, message: str, **details: int) -> RefusedError:
    """Make a refusal for one reason."""
    return RefusedError([GraphQLError(message, extensions={"code": code.value, **details})])


def error_of(code: Code, message: str, **details: int) -> GraphQLFormattedError:
    """Write an error that is about the whole request."""
    return {"message": message, "extensions": {"code": code.value, **details}}


def coded(errors: Sequence[GraphQLError], code: Code) -> Sequence[GraphQLError]:
    """Give a code to each error that has none."""
    for error in errors:
        error.extensions = {"code": code.value, **(error.extensions or {})}
    return errors
