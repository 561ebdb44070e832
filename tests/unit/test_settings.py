"""Settings are read as people write them, and refused without showing what may be a secret."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsError

from app.domain.limits import Limits
from app.executions.rules import Rules
from app.settings import Settings, read_settings
from app.settings_text import as_env_file, variable


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Begin without the developer's settings."""
    for name in tuple(os.environ):
        if name.startswith(("GREENROOM_", "MODAL_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_without_settings_the_rules_are_the_houses() -> None:
    assert Settings().rules == Rules()


def test_the_example_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(as_env_file())
    assert Settings() == Settings(_env_file=None)


def test_the_example_uncommented_changes_nothing_either(tmp_path: Path) -> None:
    lines = [line.removeprefix("#") for line in as_env_file().splitlines()]
    settings = [line for line in lines if "=" in line and not line.startswith(" ")]
    (tmp_path / ".env").write_text("\n".join(settings))
    assert Settings() == Settings(_env_file=None)
    assert {line.partition("=")[0] for line in settings} == set(
        map(variable, Settings.model_fields)
    )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_memory", "4GiB", 4 << 30),
        ("max_memory", "3000000000", 3_000_000_000),
        ("max_body", "1 MiB", 1 << 20),
        ("max_wall_time", "90.5", 90.5),
        ("port", "0", 0),
        ("allowed_hosts", " a.example, [::1] ,", ("a.example", "[::1]")),
        ("cors_origins", "", ()),
        ("cors_localhost", "false", False),
        ("executables", '{"PYTHON": "/usr/bin/python3"}', {"PYTHON": Path("/usr/bin/python3")}),
        ("log_level", "debug", "debug"),
    ],
)
def test_a_setting_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: Any
) -> None:
    monkeypatch.setenv(variable(name), text)
    assert getattr(Settings(), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "70000"),
        ("port", "secret"),
        ("max_memory", "secret"),
        ("max_memory", "0"),
        ("max_memory", "-1"),
        ("slots", "0"),
        ("slots", "1.5"),
        ("drain", "nan"),
        ("drain", "inf"),
        ("drain", "0"),
        ("executor", "secret"),
        ("log_level", "secret"),
        ("cors_localhost", "secret"),
    ],
)
def test_a_bad_setting_is_named_and_its_value_is_not(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(variable(name), text)
    with pytest.raises(ValidationError) as caught:
        Settings()
    [problem] = caught.value.errors(include_input=False)
    assert problem["loc"] == (name,)
    assert "secret" not in str(caught.value)


def test_a_setting_that_is_no_json_is_named_and_its_value_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GREENROOM_EXECUTABLES", "secret")
    with pytest.raises(SettingsError, match="executables") as caught:
        Settings()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_a_maximum_below_the_default_would_refuse_every_run(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(variable(f"max_{name}"), "1")
    with pytest.raises(ValidationError, match="lower than the default"):
        Settings()
    monkeypatch.setenv(variable(f"default_{name}"), "1")
    assert getattr(Settings().rules.maximums, name) == 1


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENROOM_DATABASE_URL", "postgresql://me:hunter2@host/name")
    assert "hunter2" not in repr(Settings())
    assert Settings().database_url.get_secret_value() == "postgresql://me:hunter2@host/name"


def test_a_token_is_taken_out_of_the_environment_once_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-1")
    monkeypatch.setenv("modal_token_secret", "as-hunter2")
    monkeypatch.setenv("MODAL_PROFILE", "mine")
    settings = read_settings()
    token = settings.modal_token()
    assert token
    assert token.secret.get_secret_value() == "as-hunter2"
    assert not [name for name in os.environ if name.upper().startswith("MODAL_TOKEN")]
    assert os.environ["MODAL_PROFILE"] == "mine"


def test_only_languages_that_there_are_can_be_offered() -> None:
    assert Settings(_env_file=None, languages="PYTHON, C").languages == ("PYTHON", "C")
    with pytest.raises(ValidationError, match="there is no COBOL, but BASH, C, "):
        Settings(_env_file=None, languages="COBOL")
