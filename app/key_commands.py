"""`greenroom keys`: make, list and revoke API keys."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, TypeVar
from uuid import UUID

import anyio
import typer
from rich.table import Table
from uuid6 import uuid7

from app.access.keys import make_key
from app.access.tokens import OWNER
from app.console import AsJson, err, fail, out, settings_or_fail
from app.domain.access import Action, ApiKey, AuditEntry, Role
from app.storage.errors import StorageError
from app.storage.registry import Registry
from app.storage.store import Store

T = TypeVar("T")

keys = typer.Typer(help="API keys, for back ends and operators.", no_args_is_help=True)


class KeyRole(StrEnum):
    """Whom a key can be for."""

    SERVICE = "service"
    ADMIN = "admin"


@keys.command()
def create(
    name: Annotated[str, typer.Option(help="What it is for.")],
    owner: Annotated[str, typer.Option(help="The tenant that it belongs to.")] = "local",
    role: Annotated[KeyRole, typer.Option(help="What it may do.")] = KeyRole.SERVICE,
    expires: Annotated[
        float | None, typer.Option(min=0, help="In how many days it ends; left out: never.")
    ] = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Make a key and print it; nobody can print it again."""
    if not OWNER.fullmatch(owner):
        fail("An owner is 1 to 100 letters, digits and `._:@-`, and begins with one of the first.")
    now = datetime.now(UTC)
    made = make_key(
        owner=owner,
        name=name,
        role=Role(role.value.upper()),
        created_at=now,
        expires_at=None if expires is None else now + timedelta(days=expires),
    )

    async def keep(registry: Registry) -> bool:
        is_first = not await registry.has_keys()
        await registry.note(_entry(Action.CREATE_KEY, made.key))
        await registry.add_key(made.key, made.digest)
        return is_first

    is_first = _with_registry(keep)
    if as_json:
        facts = _as_dict(made.key) | {"key": made.text.get_secret_value()}
        print(json.dumps(facts))  # noqa: T201
        return
    print(made.text.get_secret_value())  # noqa: T201
    err.print(f"A key of {owner} as {role.value}. Keep it: it is not shown again.")
    if is_first:
        err.print("It is the first one. Servers that run already ask for keys after a restart.")


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag
    """List all keys by how they begin."""
    found = _with_registry(lambda registry: registry.keys())
    if as_json:
        print(json.dumps([_as_dict(key) for key in found], indent=2))  # noqa: T201
        return
    table = Table("key", "owner", "role", "name", "created", "expires", "revoked")
    for key in found:
        moments = (key.created_at, key.expires_at, key.revoked_at)
        table.add_row(key.prefix, key.owner, key.role.lower(), key.name, *map(_shown, moments))
    out.print(table)


@keys.command()
def revoke(
    key: Annotated[str, typer.Argument(help="How it begins (grk_ and 12 characters), or its id.")],
) -> None:
    """Revoke a key: it opens nothing from now on, and who is connected by it is cut off."""

    async def drop(registry: Registry) -> bool:
        found = next((each for each in await registry.keys() if key in _names(each)), None)
        if found is None:
            return False
        await registry.note(_entry(Action.REVOKE_KEY, found))
        await registry.revoke_key(found.id, datetime.now(UTC))
        return True

    if not _with_registry(drop):
        fail("There is no such key; `greenroom keys list` shows them.")
    out.print("The key is revoked.")


def _names(key: ApiKey) -> tuple[str, str]:
    return key.prefix, str(key.id)


def _with_registry(work: Callable[[Registry], Awaitable[T]]) -> T:
    settings = settings_or_fail()

    async def run() -> T:
        store = Store(settings.database_url.get_secret_value())
        try:
            return await work(store.registry)
        finally:
            await store.close()

    try:
        return anyio.run(run)
    except StorageError as error:
        fail(str(error))


def _entry(action: Action, key: ApiKey) -> AuditEntry:
    return AuditEntry(
        id=uuid7(),
        at=datetime.now(UTC),
        owner=key.owner,
        action=action,
        target=str(key.id),
        role=Role.ADMIN,
        subject="command line",
    )


def _as_dict(key: ApiKey) -> dict[str, object]:
    values = {name: getattr(key, name) for name in key.__slots__}
    return {
        name: str(value) if isinstance(value, UUID | datetime) else value
        for name, value in values.items()
    }


def _shown(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
