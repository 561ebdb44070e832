"""The languages: complete, the same on every host, and found where they are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app import languages
from app.domain.execution import Program
from app.domain.language import Language, NotFound
from app.domain.limits import DEFAULT_LIMITS
from app.executions.files import layout
from app.languages import LanguageId, all_languages

LANGUAGES = all_languages()

each_language = pytest.mark.parametrize("language", LANGUAGES.values(), ids=lambda each: each.id)


def test_the_ids_are_those_of_the_files() -> None:
    files = {path.stem.upper() for path in Path(languages.__file__).parent.glob("[a-z]*.py")}
    assert set(LANGUAGES) == files == {str(id) for id in LanguageId}


def test_the_order_is_the_same_everywhere() -> None:
    assert list(LANGUAGES) == sorted(LANGUAGES)


@each_language
def test_a_language_knows_its_own_id(language: Language) -> None:
    assert LANGUAGES[language.id] is language


@each_language
def test_a_program_is_a_file_with_the_suffix_of_its_language(language: Language) -> None:
    assert language.source_name.lower() == f"main{language.file_extension}"
    if language.is_compiled:
        return
    arguments = language.run(
        layout(language, Program(language=language.id, source="")).sources, DEFAULT_LIMITS
    )
    assert f"/box/{language.source_name}" in arguments


@each_language
def test_the_example_greets_and_ends_its_line(language: Language) -> None:
    assert "Hello, world!" in language.example
    assert language.example.endswith("\n")


@each_language
def test_what_a_cell_needs_of_a_language_is_there(language: Language) -> None:
    try:
        toolchain = language.find(None)[0]
    except NotFound as missing:
        pytest.skip(f"not on this host: {missing}")
    assert toolchain.executable.is_absolute()
    assert all(mount.source.exists() and mount.target.is_absolute() for mount in toolchain.mounts)
    assert all(folder.is_dir() for folder in toolchain.hidden)


@each_language
def test_a_missing_executable_is_named(language: Language, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=str(tmp_path / "nothing")):
        language.find(tmp_path / "nothing")


def test_python_is_the_interpreter_beneath_our_own_environment() -> None:
    toolchain = LANGUAGES["PYTHON"].find(None)[0]
    assert not toolchain.executable.is_relative_to(sys.prefix)
    assert toolchain.executable.is_relative_to(sys.base_prefix)


def test_python_shows_no_installed_packages() -> None:
    toolchain = LANGUAGES["PYTHON"].find(None)[0]
    ask = "import site, json; print('\\n'.join(site.getsitepackages()))"
    asked = subprocess.run(
        [toolchain.executable, "-c", ask], capture_output=True, text=True, check=True
    )
    visible = [Path(line) for line in asked.stdout.splitlines() if Path(line).is_dir()]
    elsewhere = Path("/usr/local")  # never in a cell, unless it is the interpreter's own
    assert [
        folder
        for folder in visible
        if folder not in toolchain.hidden and not folder.is_relative_to(elsewhere)
    ] == []


def test_a_file_that_is_no_python_is_refused(tmp_path: Path) -> None:
    impostor = tmp_path / "python"
    impostor.write_text("#!/bin/sh\nexit 3\n")
    impostor.chmod(0o755)
    with pytest.raises(NotFound, match="does not run as a Python interpreter"):
        LANGUAGES["PYTHON"].find(impostor)


def test_a_python_in_the_system_is_in_every_cell_already() -> None:
    system = Path("/usr/bin/python3")
    if not os.access(system, os.X_OK):
        pytest.skip("this host has no /usr/bin/python3")
    assert LANGUAGES["PYTHON"].find(system)[0].mounts == ()


def test_only_node_itself_goes_into_a_cell() -> None:
    (mount,) = LANGUAGES["JAVASCRIPT"].find(None)[0].mounts
    assert mount.source.is_file()


def test_a_node_of_the_operators_choice_is_resolved(tmp_path: Path) -> None:
    real = LANGUAGES["JAVASCRIPT"].find(None)[0].mounts[0].source
    link = tmp_path / "node"
    link.symlink_to(real)
    (mount,) = LANGUAGES["JAVASCRIPT"].find(link)[0].mounts
    assert mount.source == real
