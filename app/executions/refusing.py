"""Why a program is not accepted that breaks no rule."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from app.domain.errors import (
    EnvironmentUnavailable,
    LanguageUnavailable,
    Problem,
    QuotaExceeded,
    RateLimited,
    ServerBusy,
    VersionUnavailable,
)
from app.domain.execution import Program
from app.domain.language import Language
from app.domain.ports import Executor, Support
from app.executions.slots import Slots
from app.storage.store import Bounds
from app.storage.usage import Bound, NoShareError

_SOON = 0.1  # s; before any run has been seen
_RESTART = 5.0  # s; a guess of how long a server is away that is started again
STOPPING = ServerBusy(
    path=(),
    message="The server is about to stop. Try again when it is back.",
    retry_after=_RESTART,
)


def no_sandboxes(retry_after: float) -> ServerBusy:
    """Say that nothing can be run for the moment."""
    message = "No sandbox can be had at the moment. Try again later."
    return ServerBusy(path=(), message=message, retry_after=retry_after)


def queue_is_full(bounds: Bounds, slots: Slots | None) -> ServerBusy:
    """Say that too many wait."""
    wait = slots.typical_run * bounds.in_all / slots.count if slots else 0
    message = (
        f"Too many executions wait: {bounds.in_all} may in all, "
        f"{bounds.owned} of one owner. Try again later."
    )
    return ServerBusy(path=(), message=message, retry_after=max(wait, _SOON))


def no_share(error: NoShareError, slots: Slots | None) -> Problem:
    """Say that the owner, or one of its people, has had its share."""
    message = f"There may be at most {error.most:g} {error.bound}. Try again later."
    if error.bound in {Bound.AT_ONCE_OF_OWNER, Bound.AT_ONCE_OF_SUBJECT}:
        wait = slots.typical_run if slots else _SOON
        return RateLimited(path=(), message=message, retry_after=max(wait, _SOON))
    return QuotaExceeded(path=(), message=message, retry_after=_until_tomorrow())


def unavailable(
    languages: Mapping[str, Language], executor: Executor, program: Program
) -> Sequence[Problem]:
    """Say what of all that a program asks for is not here."""
    language = languages[program.language]
    support = executor.supports(language)
    if support.reason is None:
        wanted = program.environment
        found = None if wanted is None else _environment_problem(language, support, wanted)
        problem = found or _version_problem(language, support, program)
        return (problem,) if problem else ()
    available = (each.id for each in languages.values() if executor.supports(each).is_available)
    message = f"{language.name} is not available here: {support.reason}"
    return (LanguageUnavailable(path=("language",), message=message, available=tuple(available)),)


def _environment_problem(
    language: Language, support: Support, wanted: str
) -> EnvironmentUnavailable | None:
    state = support.environments.get(wanted)
    if all(each.id != wanted for each in language.environments):
        message = f"{language.name} has no environment of this name."
    elif state and state.reason:
        message = f"The environment `{wanted}` is not available here: {state.reason}"
    else:
        return None
    available = (id for id, each in support.environments.items() if each.is_available)
    path = ("environment",)
    return EnvironmentUnavailable(path=path, message=message, available=tuple(available))


def _version_problem(
    language: Language, support: Support, program: Program
) -> VersionUnavailable | None:
    wanted, environment = program.language_version, program.environment
    is_unknown = support.versions is None or environment not in {None, *support.environments}
    if wanted is None or is_unknown or support.choose(wanted, environment) is not None:
        return None
    versions = support.versions_with(environment)
    place = f" with `{environment}`" if environment else ""
    message = f"{language.name} {wanted} is not here{place}, but {', '.join(versions)}."
    path = ("language_version",)
    return VersionUnavailable(path=path, message=message, available=versions)


def _until_tomorrow() -> float:
    now = datetime.now(UTC)
    tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (tomorrow - now).total_seconds()
