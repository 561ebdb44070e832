"""What boxes are made from: built once, published under a name, looked up by it at run time."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import modal

from app.domain.language import Language

PYTHON = "3.13"
APP = "greenroom"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What goes into the image, in the order in which it goes in."""

    apt: tuple[str, ...]
    pip: tuple[str, ...]
    commands: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name under which the image is published; another recipe has another name."""
        digest = hashlib.sha256(f"{PYTHON} {self!r}".encode()).hexdigest()
        return f"greenroom:{digest[:12]}"

    def image(self) -> modal.Image:
        """Say how the image is built.

        Without local files: these would be uploaded by every server that looks at the recipe.
        """
        image = modal.Image.debian_slim(python_version=PYTHON)
        if self.apt:
            image = image.apt_install(*self.apt)
        if self.pip:
            image = image.pip_install(*self.pip)
        if self.commands:
            image = image.run_commands(*self.commands)
        return image


def recipe_for(languages: Iterable[Language]) -> Recipe:
    """Gather what the languages and their environments need."""
    languages = tuple(languages)
    needs = [language.image for language in languages]
    environments = [each for language in languages for each in language.environments]
    commands = [
        *(command for need in needs for command in need.commands),
        *(command for each in environments for command in each.commands),
    ]
    return Recipe(
        apt=tuple(sorted({name for need in needs for name in need.apt})),
        pip=tuple(sorted({name for need in needs for name in need.pip})),
        commands=tuple(dict.fromkeys(commands)),
    )
