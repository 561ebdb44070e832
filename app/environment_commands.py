"""`greenroom env`: build and list the environments that programs may ask for."""

import json
import re
from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from app.console import AsJson, err, fail, out, settings_or_fail
from app.domain.environment import Environment
from app.domain.language import Language, NotFound, Toolchain
from app.environments.build import BuildError, build
from app.languages import all_languages
from app.settings import Settings

env = typer.Typer(help="Sets of packages that programs may ask for.", no_args_is_help=True)

# What the installer says of a package while it works, and what we say ourselves.
_STEP = re.compile(r"(Collecting|Processing|Downloading|Installing|Compiling)(?: ([\w.]+)[=-])?")
_Known = tuple[Language, Environment]


@env.command("build")
def build_environments(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", show_default=False)] = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Build environments for this host, or all; servers see them when they start."""
    settings, chosen = settings_or_fail(), _chosen(ids or [])
    built = []
    for language, environment in chosen:
        try:
            is_new = _build(settings, language, environment)
        except (BuildError, NotFound) as error:
            fail(f"{environment.id} was not built: {error}")
        built.append({"id": environment.id, "built": is_new})
        if not as_json:
            out.print(f"{environment.id} {'is built' if is_new else 'was built before'}.")
    if as_json:
        print(json.dumps(built))  # noqa: T201


@env.command("list")
def list_environments(as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """List all environments, what is in them, and whether they are built for this host."""
    settings = settings_or_fail()
    rows = [_row(settings, *known) for known in _known()]
    if as_json:
        print(json.dumps(rows, indent=2))  # noqa: T201
        return
    table = Table("environment", "language", "built", "packages")
    for (language, each), row in zip(_known(), rows, strict=True):
        names = ", ".join(f"{package.name} {package.version}" for package in each.packages)
        table.add_row(each.id, language.id, "yes" if row["built"] else "no", names)
    out.print(table)


def _known() -> list[_Known]:
    return [(each, found) for each in all_languages().values() for found in each.environments]


def _chosen(ids: list[str]) -> list[_Known]:
    known = _known()
    names = [environment.id for _, environment in known]
    for id in ids:
        if id not in names:
            fail(f"There is no environment {id}; there is {', '.join(names)}.")
    return [each for each in known if not ids or each[1].id in ids]


def _row(settings: Settings, language: Language, environment: Environment) -> dict[str, object]:
    try:
        is_built = _usual(settings, language).equipped(environment, settings.environments)
    except NotFound:
        is_built = None
    return {
        "id": environment.id,
        "language": language.id,
        "built": is_built is not None,
        "packages": [asdict(package) for package in environment.packages],
    }


def _build(settings: Settings, language: Language, environment: Environment) -> bool:
    with Progress(console=err, transient=True) as progress:
        steps = len(environment.packages) + 2  # to install all of them, and to compile
        task = progress.add_task(f"{environment.id}: asking the registry ...", total=steps)

        def tell(line: str) -> None:
            if step := _STEP.match(line):
                doing = f"{environment.id}: {step[1].lower()} {step[2] or '...'}"
                progress.update(task, description=doing, advance=step[1] != "Downloading")

        return build(environment, _usual(settings, language), settings.environments, tell)


def _usual(settings: Settings, language: Language) -> Toolchain:
    return language.find(settings.executables.get(language.id))[0]
