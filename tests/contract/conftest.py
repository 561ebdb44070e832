"""Every executor, and on it every language."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from app.domain.language import Language
from app.domain.ports import Executor
from app.languages import all_languages
from tests.contract.runs import Box
from tests.contract.subjects import SUBJECTS, Subject
from tests.hosted import hosted
from tests.servers.languages import begin_with_clang

LANGUAGES = all_languages()
# The whole contract in two languages; what differs between languages is in test_languages.
DEEP = (LANGUAGES["JAVASCRIPT"], LANGUAGES["PYTHON"])

Measure = Callable[[str, float], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what would be tried twice: most languages begin cold in any case."""
    items[:] = [item for item in items if not _is_tried_twice(item)]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin with what takes longest while the first tests run."""
    is_first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    is_wanted = any(item.path.name == "test_languages.py" for item in session.items)
    if is_first and is_wanted and not session.config.option.collectonly:
        session.config.add_cleanup(begin_with_clang())


def _is_tried_twice(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec else {}
    box = params.get("box")
    return params.get("subject") == "local-cold" and isinstance(box, Language) and box not in DEEP


Opener = Callable[[str], Awaitable[Subject]]


@pytest.fixture(scope="package")
async def opened() -> AsyncIterator[Opener]:
    """Open an executor when it is first asked for; it stays open for the tests of other files."""
    subjects: dict[str, Subject] = {}
    async with AsyncExitStack() as stack:

        async def open_one(name: str) -> Subject:
            if name not in subjects:
                subjects[name] = await stack.enter_async_context(hosted(SUBJECTS[name]()))
            return subjects[name]

        yield open_one


@pytest.fixture(scope="package", params=SUBJECTS)
async def subject(request: pytest.FixtureRequest, opened: Opener) -> Subject:
    """Return one that is open; if it cannot run, that fails: a skip would hide a missing wall."""
    return await opened(request.param)


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
