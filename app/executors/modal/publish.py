"""Builds the image that boxes are made from: once, at deployment, not in a request."""

import modal

from app.executors.modal.account import hang_up, open_client
from app.executors.modal.credentials import Token
from app.executors.modal.errors import translated
from app.executors.modal.images import APP, Recipe


async def publish(token: Token, *, server: str, recipe: Recipe) -> None:
    """Build an image after the recipe and publish it under the recipe's name.

    Raises:
        ModalError: Modal did not build it; the message has Modal's words.
    """
    client = await open_client(token, server=server)
    try:
        with translated(f"build the image {recipe.name}"):
            app = await modal.App.lookup.aio(APP, client=client, create_if_missing=True)
            image = await recipe.image().build.aio(app)
            await image.publish.aio(recipe.name, client=client)
    finally:
        await hang_up(client)
