"""What the commands have in common: where they write, and how they fail."""

import sys
from collections.abc import Iterable
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console

from app.settings import Settings, read_settings
from app.settings_text import variable

out, err = Console(highlight=False), Console(stderr=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def settings_or_fail(**chosen: object) -> Settings:
    """Read the settings; where they are wrong, say so and end."""
    try:
        return read_settings(**chosen)
    except (ValueError, OSError) as error:
        for problem in _problems(error):
            err.print(problem, style="red", soft_wrap=True, markup=False)
        fail("The settings are not valid; .env.example shows them all.")


def fail(message: str) -> NoReturn:
    """Say what is wrong and end."""
    err.print(message, style="red", soft_wrap=True, markup=False)
    sys.exit(1)


def _problems(error: ValueError | OSError) -> Iterable[str]:
    """Say what is wrong with which setting, but not its value, which may be a secret."""
    match error:
        case ValidationError():
            for problem in error.errors(include_input=False, include_url=False):
                yield f"{variable(str(problem['loc'][0]))}: {problem['msg']}"
        case SettingsError():
            yield f"{error}; it must be JSON"
        case _:
            yield f".env cannot be read: {type(error).__name__}"
