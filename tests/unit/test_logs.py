"""One line per fact, its details behind it."""

import json
import logging
import warnings
from collections.abc import Iterator
from uuid import UUID

import pytest
from structlog.contextvars import bound_contextvars

from app.logs import LogFormat, configure_logging

log = logging.getLogger("app.somewhere")
FORMATS: tuple[LogFormat, ...] = ("console", "json")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Put the log back as pytest has it."""
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn.error")
    handlers, level, quiet = root.handlers[:], root.level, uvicorn.level
    root.handlers.clear()
    logging.captureWarnings(capture=False)
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    uvicorn.setLevel(quiet)


def test_details_follow_the_fact(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    id = UUID("01a21104-3965-768b-b0ba-717345b955b1")
    log.info("execution ended", extra={"id": id, "status": "FAILED"})
    log.debug("nothing for now")
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith(f"[info     ] execution ended id={id} status=FAILED")


def test_a_warning_of_a_library_is_a_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logging("info", "json")
        warnings.warn("the provider is about to change", stacklevel=1)
    line = json.loads(capsys.readouterr().err)
    assert line["level"] == "warning"
    assert "the provider is about to change" in line["message"]


def test_a_traceback_follows_the_details(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    try:
        int("why")
    except ValueError:
        log.exception("it failed", extra={"id": 7})
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith("[error    ] it failed id=7")
    assert rest[0].startswith("Traceback")
    assert rest[-1] == "ValueError: invalid literal for int() with base 10: 'why'"


def test_a_traceback_shows_no_variables(capsys: pytest.CaptureFixture[str]) -> None:
    for format in FORMATS:
        configure_logging("info", format)
        secret = ["of", "the", "program"]
        try:
            int(len(secret) * "x")
        except ValueError:
            log.exception("it failed")
        said = capsys.readouterr().err
        assert "ValueError" in said
        assert "'program'" not in said


def test_what_a_line_belongs_to_stands_on_it(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    with bound_contextvars(request_id="r1"), bound_contextvars(id="e1"):
        log.info("first")
    log.info("second")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("first id=e1 request_id=r1")
    assert second.endswith("second")


def test_a_value_cannot_pass_for_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info")
    log.info("request", extra={"path": "/x\n2026-01-01T00:00:00Z [info     ] all is well a=b"})
    [line] = capsys.readouterr().err.splitlines()
    assert "path='/x\\n2026" in line


def test_as_json_each_line_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    id = UUID(int=7)
    with bound_contextvars(request_id="r1"):
        log.info("execution ended", extra={"id": id, "status": "FAILED"})
    try:
        int("why")
    except ValueError:
        log.exception("it failed")
    ended, failed = map(json.loads, capsys.readouterr().err.splitlines())
    assert ended.pop("timestamp").endswith("Z")
    assert ended == {
        "message": "execution ended",
        "level": "info",
        "id": str(id),
        "status": "FAILED",
        "request_id": "r1",
    }
    assert failed["exception"].startswith("Traceback")


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
