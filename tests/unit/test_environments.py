"""The environments: each is what its lock says, and the lock what was asked for."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from app import environments
from app.domain.environment import Environment
from app.domain.language import Toolchain
from app.executors.modal.images import recipe_for
from app.languages import all_languages

HERE = Path(environments.__file__).parent
LANGUAGES = all_languages()
ENVIRONMENTS = [each for language in LANGUAGES.values() for each in language.environments]
HASH = r" \\\n    --hash=sha256:[0-9a-f]{64}"

each_environment = pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda each: each.id)


def test_every_one_has_an_id_of_its_own_and_a_file_that_says_what_is_in_it() -> None:
    ids = [each.id for each in ENVIRONMENTS]
    assert sorted(ids) == sorted({path.stem for path in HERE.glob("*.in")})
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", id) for id in ids)


@each_environment
def test_the_lock_pins_exactly_what_is_listed_each_with_hashes(environment: Environment) -> None:
    text = re.sub(r"\n *#.*", "", environment.lock)  # who asked for it
    for package in environment.packages:
        entry = rf"^{re.escape(f'{package.name}=={package.version}')}(?:{HASH})+\n"
        text, count = re.subn(entry, "", text, flags=re.MULTILINE)
        assert count == 1, package
    assert text == ""


@each_environment
def test_what_was_asked_for_is_locked(environment: Environment) -> None:
    asked = re.findall(r"^[\w.-]+", (HERE / f"{environment.id}.in").read_text(), re.MULTILINE)
    assert asked
    assert set(asked) <= {package.name for package in environment.packages}


@each_environment
def test_the_image_has_the_same_versions_and_files(environment: Environment) -> None:
    install, *writes, compile = environment.commands
    pins = {f"{each.name}=={each.version}" for each in environment.packages}
    assert pins <= set(install.split())
    assert {"--no-deps", "--only-binary"} <= set(install.split())
    assert len(writes) == len(environment.files)
    assert all(command.endswith(str(environment.target)) for command in (compile,))
    assert set(environment.commands) <= set(recipe_for(LANGUAGES.values()).commands)


@each_environment
def test_what_is_built_is_found_for_these_contents_and_this_abi_alone(
    environment: Environment, tmp_path: Path
) -> None:
    python = Toolchain(executable=Path("/usr/bin/python3"), abi="cpython-311-x86_64-linux-gnu")
    assert python.equipped(environment, tmp_path) is None
    (tmp_path / environment.name_for(python.abi)).mkdir()
    equipped = python.equipped(environment, tmp_path)
    assert equipped is not None
    assert [each.target for each in equipped.mounts] == [environment.target]
    assert equipped.variables["PYTHONPATH"] == str(environment.target)
    others = (
        replace(environment, lock=f"{environment.lock}\n"),
        replace(environment, files={**environment.files, "more.py": ""}),
        replace(environment, id="other"),
    )
    assert all(python.equipped(each, tmp_path) is None for each in others)
    assert replace(python, abi="cpython-312").equipped(environment, tmp_path) is None
