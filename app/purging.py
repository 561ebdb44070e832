"""Erasing old executions from the command line, with its progress."""

from datetime import datetime
from functools import partial

import anyio
from rich.console import Console
from rich.progress import Progress

from app.executions.retention import purge, tidy
from app.settings import Settings
from app.storage.store import Store

_TIDY_PATIENCE = 30.0  # s; readers end in milliseconds, but for a backup


async def purge_history(
    settings: Settings,
    before: datetime,
    dry_run: bool,  # noqa: FBT001 - anyio.run knows no keywords
    console: Console,
) -> int:
    """Erase what was accepted before a moment and has ended, or only count it.

    Raises:
        StorageError: the database cannot be used.
    """
    store = Store(settings.database_url.get_secret_value())
    try:
        total = await store.count_before(before)
        if not dry_run:
            with Progress(console=console, transient=True) as progress:
                task = progress.add_task("Erasing old executions ...", total=total)
                total = await purge(store, before, partial(progress.advance, task))
                progress.update(task, description="Tidying the files ...")
                await _tidy(store, console)
    finally:
        await store.close()
    return total


async def _tidy(store: Store, console: Console) -> None:
    with anyio.move_on_after(_TIDY_PATIENCE) as patience:
        await tidy(store)
    if patience.cancelled_caught:
        console.print("A reader keeps the log: its text goes when that ends and a server runs.")
