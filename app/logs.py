"""How the log reads: one line per fact, for people or as JSON.

Rooms say a fact to `logging`, with its details in `extra`. What a line belongs to is bound where
that begins, by `structlog.contextvars`, and stands on every line until it ends, whoever says it:

    request_id   the HTTP request (`app/api/requestlog.py`); a program that it starts keeps it
    id           the execution (`app/executions/live.py`)

A program's text, its input and its output are in no line, and neither is a local variable: a
traceback shows where, not with what.
"""

import logging
import sys
from typing import Literal
from uuid import UUID

import structlog
from structlog.typing import EventDict, Processor

LogFormat = Literal["console", "json"]

# They say for each start, stop and call what we say ourselves.
_TALKATIVE = ("grpclib", "uvicorn.error")


def configure_logging(level: str, format: LogFormat = "console") -> None:
    """Write to standard error from this level on."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.ExtraAdder(),
                _without_noise,
                _with_plain_ids,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *(_json() if format == "json" else _console()),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)  # of libraries: Modal's client passes on what Modal says
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def _console() -> list[Processor]:
    return [
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=0,
            # The other one, for which rich is enough, shows variables.
            exception_formatter=structlog.dev.plain_traceback,
        )
    ]


def _json() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(default=str),
    ]


def _without_noise(_logger: object, _name: str, line: EventDict) -> EventDict:
    """Drop what other handlers and formatters attach to a record for themselves."""
    for name in ("color_message", "taskName", "asctime", "message"):
        line.pop(name, None)
    return line


def _with_plain_ids(_logger: object, _name: str, line: EventDict) -> EventDict:
    """Write an id as people look for it, not as Python's `repr` has it."""
    return {name: str(value) if isinstance(value, UUID) else value for name, value in line.items()}
