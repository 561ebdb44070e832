"""The command line."""

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

import anyio
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.console import AsJson, err, fail, out, settings_or_fail
from app.domain.errors import Check, ExecutorError, Unavailable
from app.domain.ports import Support
from app.environment_commands import env
from app.executor_factory import build_modal_image, examine_modal, local_executor, modal_token
from app.executors.local.doctor import examine
from app.executors.modal.credentials import WHERE, BadToken
from app.key_commands import keys
from app.languages import all_languages
from app.loading import loading
from app.purging import purge_history
from app.settings import Settings
from app.settings_text import as_env_file, as_markdown
from app.storage.errors import StorageError
from app.storage.migrations import migrate as migrate_database
from app.version import VERSION

app = typer.Typer(
    name="greenroom",
    help="A GraphQL API that runs other people's code in a sandbox and keeps every run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
modal = typer.Typer(help="What running on Modal needs.", no_args_is_help=True)
app.add_typer(modal, name="modal")
app.add_typer(keys, name="keys")
app.add_typer(env, name="env")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0: any.")] = None,
    modal_loopback: Annotated[  # noqa: FBT002 - a flag
        bool,
        typer.Option(help="For development: run programs through a Modal server on this machine."),
    ] = False,
    execute: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option(help="Whether programs run in this process too; see `worker`.")
    ] = True,
    migrate: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--migrate", help="Bring the database up to date first.")
    ] = False,
) -> None:
    """Serve the API until Ctrl-C; a second Ctrl-C does not wait for running programs."""
    chosen = {"host": host, "port": port}
    settings = settings_or_fail(
        **{name: value for name, value in chosen.items() if value is not None}
    )
    if migrate:
        _migrate(settings)
    with loading():  # GraphQL and all around it, which other commands do without
        from app.serve import serve_forever, serve_on_loopback_modal  # noqa: PLC0415

    serve = serve_on_loopback_modal if modal_loopback else partial(serve_forever, execute=execute)
    _run_forever(serve, settings)


@app.command()
def worker(
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port for /healthz, /readyz and /metrics; 0: any."),
    ] = None,
) -> None:
    """Run programs that other processes accept, until Ctrl-C; needs PostgreSQL."""
    with loading():
        from app.serve import work_forever  # noqa: PLC0415 - see `serve`

    _run_forever(
        work_forever,
        settings_or_fail() if port is None else settings_or_fail(worker_port=port),
    )


def _run_forever(run: Callable[[Settings], Awaitable[None]], settings: Settings) -> None:
    from app.serve import Refused  # noqa: PLC0415 - see `serve`

    try:
        anyio.run(run, settings, backend_options={"use_uvloop": True})
    except (Refused, StorageError, BadToken) as error:
        fail(str(error))
    except Unavailable as unavailable:
        _print_checks(unavailable.checks, console=err)
        fail("The sandbox cannot run here; `greenroom doctor` shows every check.")


@modal.command()
def build() -> None:
    """Build and publish the image that sandboxes on Modal are made from."""
    settings = settings_or_fail()
    try:
        token = modal_token(settings)
        if token is None:
            fail(f"There is no Modal token in .env; {WHERE}.")
        with err.status("Building the image on Modal; the first time takes minutes ..."):
            name = anyio.run(build_modal_image, settings, token)
    except (BadToken, ExecutorError) as error:
        fail(str(error))
    out.print(f"The image {name} is ready.")


@app.command()
def migrate() -> None:
    """Bring the database to the version that this Greenroom needs."""
    _migrate(settings_or_fail())
    out.print("The database is up to date.")


def _migrate(settings: Settings) -> None:
    try:
        with err.status("Migrating the database ..."):
            anyio.run(migrate_database, settings.database_url.get_secret_value())
    except StorageError as error:
        fail(str(error))


@app.command()
def purge(
    days: Annotated[
        float | None,
        typer.Option(min=0, max=36_500, help="How old; GREENROOM_RETENTION_DAYS if left out."),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Only count.")] = False,  # noqa: FBT002 - a flag
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Erase executions that are older than so many days; servers may run meanwhile."""
    settings = settings_or_fail()
    age = settings.retention if days is None else timedelta(days=days)
    if age is None:
        fail("Say how old with --days, or set GREENROOM_RETENTION_DAYS.")
    before = datetime.now(UTC) - age
    try:
        count = anyio.run(purge_history, settings, before, dry_run, err)
    except StorageError as error:
        fail(str(error))
    if as_json:
        facts = {"before": before.isoformat(), "count": count, "dry_run": dry_run}
        print(json.dumps(facts))  # noqa: T201
    else:
        what = "would be erased" if dry_run else "erased"
        out.print(f"{count} executions from before {before:%Y-%m-%d %H:%M} UTC {what}.")


@app.command()
def doctor(as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """Check what running programs needs, here or on Modal; exit code 1 if something is missing."""
    settings = settings_or_fail()
    try:
        token = modal_token(settings)
    except BadToken as error:
        fail(str(error))
    with err.status("Starting a sandbox ..."):
        if token is None:
            checks = anyio.run(examine, lambda: local_executor(settings))
        else:
            checks = anyio.run(examine_modal, settings, token)
    if as_json:
        print(json.dumps([_as_dict(check) for check in checks], indent=2))  # noqa: T201
    else:
        _print_checks(checks, console=out)
    raise typer.Exit(code=any(check.required and not check.passed for check in checks))


@app.command()
def languages(as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """List the languages, with the versions that run or the reason why none does."""
    settings = settings_or_fail()

    async def ask() -> list[tuple[str, Support]]:
        async with local_executor(settings) as executor:
            return [(each.id, executor.supports(each)) for each in all_languages().values()]

    try:
        found = anyio.run(ask)
    except Unavailable as unavailable:
        _print_checks(unavailable.checks, console=err)
        fail("The sandbox cannot run here; `greenroom doctor` shows every check.")
    if as_json:
        rows = [{"id": id, "version": each.version, **asdict(each)} for id, each in found]
        print(json.dumps(rows, indent=2))  # noqa: T201
        return
    table = Table("language", "versions", "why not")
    for id, support in found:
        table.add_row(id, ", ".join(support.versions or ()), support.reason or "")
    out.print(table)


@app.command()
def schema() -> None:
    """Print the GraphQL schema."""
    from app.api.schema import schema  # noqa: PLC0415 - see `serve`

    print(schema.as_str())  # noqa: T201


@app.command()
def config(
    markdown: Annotated[bool, typer.Option(help="A table instead of an .env.")] = False,  # noqa: FBT002
) -> None:
    """Print every setting with its default and meaning."""
    print(as_markdown() if markdown else as_env_file(), end="")  # noqa: T201


@app.command()
def version() -> None:
    """Print the version."""
    print(VERSION)  # noqa: T201


def _print_checks(checks: Iterable[Check], console: Console) -> None:
    for check in checks:
        sign = "[green]ok[/green]" if check.passed else "[red]no[/red]"
        if not check.passed and not check.required:
            sign = "[yellow]--[/yellow]"
        console.print(f"{sign}  {escape(f'{check.name}: {check.detail}')}", soft_wrap=True)
        if not check.passed and check.remedy:
            console.print(escape(f"    remedy: {check.remedy}"), soft_wrap=True)


def _as_dict(check: Check) -> dict[str, object]:
    return {name: getattr(check, name) for name in check.__slots__}
