"""The languages that programs can be written in: one file each, found by name.

To add one, add a file here that defines `LANGUAGE`; README.md walks through it. A file whose name
begins with an underscore is none: it has what several share, or what stands in for a program.
"""

from enum import StrEnum
from importlib import import_module
from pkgutil import iter_modules

from app.domain.language import Language


def all_languages() -> dict[str, Language]:
    """Return every language by its id, in the order of the ids; the same on every host."""
    names = (found.name for found in iter_modules(__path__) if not found.name.startswith("_"))
    modules = (import_module(f"{__name__}.{name}") for name in names)
    languages: list[Language] = [module.LANGUAGE for module in modules]
    return {language.id: language for language in sorted(languages, key=lambda each: each.id)}


class LanguageId(StrEnum):
    """The id of every language; made from the files here, so that none is forgotten."""

    vars().update({id: id for id in all_languages()})
