"""What Modal's client raises, translated once."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import modal.exception as theirs

from app.domain.errors import ExecutorError, NoSandbox

# Modal names the token that it refuses; neither half of one is anybody's business.
_TOKEN = re.compile(r"\b(a[ks]-)[^\s\"',;:)}\]]+")


class ModalError(ExecutorError):
    """Modal did not do what was asked."""


class Unauthorized(ModalError):
    """Modal refuses the token, or the token may not do this."""


class Missing(ModalError):
    """What was asked for is not there: an app, an image, a sandbox that has ended."""


class Throttled(ModalError):
    """Modal takes no more of this now."""


class Unreachable(ModalError):
    """Modal does not answer."""


class Lost(ModalError):
    """Modal has taken a sandbox away, and not for what the program did."""


class NoBox(ModalError, NoSandbox):
    """There is no sandbox for a run, and there will be none in time."""


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn what Modal's client raises into a `ModalError` that says what we were doing.

    The client raises its own errors, errors of gRPC, HTTP/2 and the operating system, and bare
    ones: so whatever it raises is taken for its failure.
    """
    try:
        yield
    except ExecutorError:
        raise
    except Exception as error:  # noqa: BLE001 - see above
        said = str(error) or _nameless(error)
        detail = _TOKEN.sub(r"\1…", said)
        # A log with a traceback shows the cause as well, so one with a token in it stays here.
        raise _kind(error)(f"Modal: {doing}: {detail}") from (error if detail == said else None)


def _nameless(error: Exception) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__


def _kind(error: BaseException) -> type[ModalError]:
    match error:
        case theirs.AuthError() | theirs.PermissionDeniedError():
            return Unauthorized
        case theirs.NotFoundError() | theirs.ConflictError():
            return Missing
        case theirs.ResourceExhaustedError():
            return Throttled
        case theirs.ConnectionError() | theirs.ServiceError() | OSError() | TimeoutError():
            return Unreachable
        case _:
            return ModalError
