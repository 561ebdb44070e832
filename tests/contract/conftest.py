"""Every executor, and on it every language."""

from collections.abc import AsyncIterator, Callable

import pytest

from app.domain.language import Language
from app.domain.ports import Executor
from app.languages import all_languages
from tests.contract.runs import Box
from tests.contract.subjects import SUBJECTS, Subject
from tests.hosted import hosted

LANGUAGES = all_languages()
# The whole contract in two languages; what differs between languages is in test_languages.
DEEP = (LANGUAGES["JAVASCRIPT"], LANGUAGES["PYTHON"])

Measure = Callable[[str, float], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what would be tried twice: most languages begin cold in any case."""
    items[:] = [item for item in items if not _is_tried_twice(item)]


def _is_tried_twice(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec else {}
    box = params.get("box")
    return params.get("subject") == "local-cold" and isinstance(box, Language) and box not in DEEP


@pytest.fixture(scope="package", params=SUBJECTS)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """Open an executor; one that cannot run fails, for a skip would hide a wall that is missing."""
    async with hosted(SUBJECTS[request.param]()) as subject:
        yield subject


@pytest.fixture
def executor(subject: Subject) -> Executor:
    return subject.executor


@pytest.fixture(params=DEEP, ids=lambda language: language.id)
def language(request: pytest.FixtureRequest, executor: Executor) -> Language:
    return supported(executor, request.param)


@pytest.fixture
def box(executor: Executor, language: Language) -> Box:
    return Box(executor, language)


@pytest.fixture
def python(executor: Executor) -> Box:
    return Box(executor, supported(executor, LANGUAGES["PYTHON"]))


@pytest.fixture
def javascript(executor: Executor) -> Box:
    return Box(executor, supported(executor, LANGUAGES["JAVASCRIPT"]))


@pytest.fixture(autouse=True)
async def nothing_survives(subject: Subject) -> AsyncIterator[None]:
    """Fail a test when a process of its sandboxes lives on."""
    yield
    assert await subject.survivors() == []


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    """Write down a number in seconds for the end of the session."""

    def note(what: str, seconds: float) -> None:
        request.node.user_properties.append((what, f"{seconds * 1000:.0f} ms"))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the numbers, which come with the reports of whichever worker ran the test."""
    reports = [each for each in terminalreporter.stats.get("passed", ()) if each.user_properties]
    if reports:
        terminalreporter.section("measured")
    for report in reports:
        for what, figure in report.user_properties:
            terminalreporter.line(f"{report.nodeid.rpartition('::')[2]}: {what} {figure}")


def supported(executor: Executor, language: Language) -> Language:
    support = executor.supports(language)
    if not support.is_available:
        pytest.skip(f"{executor.name} cannot run {language.name}: {support.reason}")
    return language
