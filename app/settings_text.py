"""The settings as documents, so that no document about them can be out of date."""

import json
from collections.abc import Iterator

from pydantic import BeforeValidator, SecretStr
from pydantic.fields import FieldInfo

from app.domain.limits import describe_size
from app.settings import Settings

_PER_MACHINE = {"slots": "the number of CPUs"}
"""Settings whose default depends on the machine: no document may show this one's."""


def as_env_file() -> str:
    """Return an `.env` in which every setting stands, commented out, with its default."""
    lines = [
        "# Settings of Greenroom. Each line shows a default; take the # away to change it.",
        "",
    ]
    for name, field in Settings.model_fields.items():
        lines += [f"# {field.description}", f"#{variable(name)}={_default(name, field)}", ""]
    return "\n".join(lines)


def as_markdown() -> str:
    """Return a table of all settings."""
    return "\n".join(("| setting | default | meaning |", "|---|---|---|", *_rows())) + "\n"


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    alias = Settings.model_fields[name].validation_alias if name in Settings.model_fields else None
    return str(alias or f"{Settings.model_config['env_prefix']}{name}".upper())


def _rows() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        default = _PER_MACHINE.get(name) or f"`{_default(name, field)}`"
        yield f"| `{variable(name)}` | {default} | {field.description} |"


def _default(name: str, field: FieldInfo) -> str:
    if name in _PER_MACHINE:
        return ""
    if any(isinstance(each, BeforeValidator) for each in field.metadata):
        return describe_size(field.default).replace(" ", "")
    match field.default:
        case SecretStr() as secret:
            return secret.get_secret_value()
        case bool() | dict() as value:
            return json.dumps(value)
        case tuple() | None as names:
            return ",".join(names or ())
        case value:
            return f"{value:g}" if isinstance(value, float) else str(value)
