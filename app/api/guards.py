"""What stands between our failures and the caller."""

import logging
from uuid import uuid4

from graphql import GraphQLError, GraphQLFormattedError

from app.api.refusals import Code
from app.storage.errors import StorageError

log = logging.getLogger(__name__)

_AWAY = "The history cannot be reached now; try again later."


def note(error: Exception) -> str:
    """Put our own failure into the log; return the reference under which it stands there."""
    reference = uuid4().hex
    if isinstance(error, StorageError):  # it says what to do; where it arose helps nobody
        log.error("history away", extra={"reference": reference, "reason": str(error)})
    else:
        log.error("error in a request", extra={"reference": reference}, exc_info=error)
    return reference


def failure(error: Exception) -> GraphQLFormattedError:
    """Format an error that was raised where a request or an operation ends."""
    return mask(GraphQLError(str(error), original_error=error))


def mask(error: GraphQLError) -> GraphQLFormattedError:
    """Format an error for the caller; what is our own affair goes to the log, under an id."""
    cause = error.original_error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    if cause is None or isinstance(cause, GraphQLError):
        return _with_code(error.formatted)
    reference = note(cause)
    is_away = isinstance(cause, StorageError)
    masked = GraphQLError(
        _AWAY if is_away else f"Something went wrong on our side. Reference: {reference}",
        path=error.path,
        nodes=error.nodes,
        extensions={
            "code": Code.UNAVAILABLE.value if is_away else Code.INTERNAL_ERROR.value,
            "reference": reference,
        },
    )
    return masked.formatted


def _with_code(error: GraphQLFormattedError) -> GraphQLFormattedError:
    """Give a code to what graphql-core says about values that the caller has sent."""
    return {
        **error,
        "extensions": {"code": Code.BAD_USER_INPUT.value, **error.get("extensions", {})},
    }
