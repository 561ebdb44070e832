"""Lua, from the host's packages."""

from pathlib import Path

from app.domain.language import ImageNeeds, Language, Toolchain
from app.languages._host import on_host


def find(executable: Path | None) -> Toolchain:
    """Find lua5.4."""
    return on_host(executable, "lua", "lua[0-9]*", remedy="`apt install lua5.4` brings it")


LANGUAGE = Language(
    id="LUA",
    name="Lua",
    source_name="main.lua",
    editor_mode="lua",
    run=lambda sources, _: (sources.entry,),
    version_arguments=("-v",),
    version_pattern=r"Lua (\d[\d.]*)",
    example='print("Hello, world!")\n',
    find=find,
    image=ImageNeeds(executable="lua5.4", apt=("lua5.4",)),
)
