"""Lua, from the host's packages."""

from pathlib import Path

from app.domain.language import ImageNeeds, Language, Toolchain
from app.languages._host import on_host


def find(executable: Path | None) -> tuple[Toolchain, ...]:
    """Find the newest Lua, whichever the host calls `lua`."""
    return on_host(executable, "lua[0-9]*", "lua", remedy="`apt install lua5.4` brings it")


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
