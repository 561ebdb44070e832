"""Every language on every executor that has it: one program for each, with several modes."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from anyio import to_thread

from app.domain.execution import Status, TimeLimit
from app.domain.language import Language
from app.domain.limits import DEFAULT_LIMITS, MIB
from app.domain.ports import Executor
from app.languages import all_languages
from tests.contract.conftest import supported
from tests.contract.runs import Box, Result
from tests.contract.subjects import SUBJECTS, Subject
from tests.hosted import hosted
from tests.servers.languages import ensure_languages

SOURCES = Path(__file__).with_name("sources")
GREETING = "grün €\n"
NO_EXIT_CODES = {"SQL"}


@pytest.fixture(scope="module", params=SUBJECTS)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """Open an executor of our own, when all languages are there."""
    await to_thread.run_sync(ensure_languages, LANGUAGES)
    async with hosted(SUBJECTS[request.param]()) as subject:
        yield subject


LANGUAGES = all_languages().values()


def each(languages: Iterable[Language]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("box", languages, indirect=True, ids=lambda each: each.id)


all_of_them = each(LANGUAGES)
those_compiled = each([language for language in LANGUAGES if language.is_compiled])


@pytest.fixture
def box(request: pytest.FixtureRequest, executor: Executor) -> Box:
    return Box(executor, supported(executor, request.param))


async def run(box: Box, *args: str, stdin: str = "", **limits: float) -> Result:
    source = source_of(box.language).read_text()
    return await box(source, args=args, stdin=stdin.encode(), **limits)


def source_of(language: Language) -> Path:
    """Return the language's version of the program; a new language adds its own."""
    path = SOURCES / f"{language.id}{language.file_extension}"
    if not path.exists():
        pytest.fail(f"write {path.relative_to(Path.cwd())}, after the model of its neighbours")
    return path


@all_of_them
async def test_the_example_greets(box: Box) -> None:
    result = await box(box.language.example)
    assert result.status is Status.SUCCEEDED, result
    assert (result.text, result.stderr) == ("Hello, world!\n", b""), result


@all_of_them
async def test_the_version_is_known(box: Box) -> None:
    version = box.executor.supports(box.language).version
    assert version
    assert any(letter.isdigit() for letter in version)


@all_of_them
async def test_every_version_greets(box: Box) -> None:
    for version in box.executor.supports(box.language).versions or ():
        result = await box(box.language.example, version=version)
        assert result.text == "Hello, world!\n", (version, result)


@all_of_them
async def test_input_and_arguments_arrive_in_unicode(box: Box) -> None:
    result = await run(box, "echo", "grün €", "\U0001f3ad two", stdin="one\n\U0001f3ad")
    assert result.status is Status.SUCCEEDED, result
    assert result.text == GREETING + "one\n\U0001f3ad\ngrün €\n\U0001f3ad two\n", result
    assert result.stderr == b""


@each([language for language in LANGUAGES if language.id not in NO_EXIT_CODES])
async def test_an_exit_code_is_told(box: Box) -> None:
    result = await run(box, "exit")
    assert (result.status, result.outcome.exit_code) == (Status.FAILED, 7), result
    assert result.text == GREETING


@all_of_them
async def test_an_error_that_nobody_catches_is_a_failure_with_its_words(box: Box) -> None:
    result = await run(box, "fail")
    assert result.status in {Status.FAILED, Status.CRASHED}, result
    assert result.outcome.exit_code != 0
    assert b"boom" in result.stderr
    assert result.text == GREETING


@all_of_them
async def test_a_loop_without_end_meets_the_limit_of_cpu_time(box: Box) -> None:
    result = await run(box, "loop", cpu_time=0.5, wall_time=30.0)
    assert result.status is Status.TIME_LIMIT_EXCEEDED, result
    assert result.outcome.time_limit is TimeLimit.CPU


@all_of_them
async def test_memory_without_end_meets_the_limit_of_memory(box: Box) -> None:
    memory = box.language.memory or DEFAULT_LIMITS.memory // 2
    result = await run(box, "eat", memory=memory, cpu_time=20.0, wall_time=40.0)
    assert result.status is Status.MEMORY_LIMIT_EXCEEDED, result


@all_of_them
async def test_a_mebibyte_of_output_arrives(box: Box) -> None:
    result = await run(box, "flood")
    assert result.status is Status.SUCCEEDED, result
    assert len(result.stdout) == MIB
    assert result.text.removeprefix(GREETING).strip("x\n") == "", result.end


# --- Compilers -----------------------------------------------------------------------------------


@those_compiled
async def test_what_cannot_be_compiled_is_a_compile_error_with_the_compilers_words(
    box: Box,
) -> None:
    result = await box("certainly not a program in any language\n")
    assert result.status is Status.COMPILE_ERROR, result
    compilation = result.end.compilation
    assert compilation
    assert compilation.outcome.status is Status.FAILED
    said = (compilation.stdout + compilation.stderr).decode()
    assert box.language.source_name in said, said
    assert result.outputs == []


@those_compiled
async def test_what_was_compiled_before_is_not_compiled_again(box: Box) -> None:
    first = (await box(box.language.example)).end.compilation
    second = (await box(box.language.example)).end.compilation
    assert first
    assert second
    assert second.is_cached
    assert second.outcome.usage is None
    assert (second.stdout, second.stderr) == (first.stdout, first.stderr)
