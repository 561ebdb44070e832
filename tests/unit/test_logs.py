"""One line per fact, its details behind it."""

import logging
from collections.abc import Iterator

import pytest

from app.logs import configure_logging

log = logging.getLogger("app.somewhere")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Put the log back as pytest has it."""
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn.error")
    handlers, level, quiet = root.handlers[:], root.level, uvicorn.level
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    uvicorn.setLevel(quiet)


def test_details_follow_the_fact(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    log.info("execution ended", extra={"id": 7, "status": "FAILED"})
    log.debug("nothing for now")
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("INFO    execution ended id=7 status=FAILED")


def test_a_traceback_follows_the_details(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    try:
        int("why")
    except ValueError:
        log.exception("it failed", extra={"id": 7})
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith("ERROR   it failed id=7")
    assert rest[0].startswith("Traceback")
    assert rest[-1] == "ValueError: invalid literal for int() with base 10: 'why'"


def test_the_server_says_only_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.info("Started server process")
    uvicorn.warning("Invalid HTTP request received.")
    assert capsys.readouterr().err.count("\n") == 1


def test_a_higher_level_is_quieter(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("error")
    log.warning("lease lost")
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert capsys.readouterr().err == ""
