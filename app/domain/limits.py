"""What one program may use."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one program may use. Sizes in bytes, times in seconds."""

    wall_time: float
    cpu_time: float
    memory: int
    output: int
    """For standard output and standard error each."""
    processes: int
    disk: int
    """For `/box` and `/tmp` together."""

    def above(self, ceiling: "Limits") -> Iterator[str]:
        """Name the limits that are higher than those of `ceiling`."""
        for field in fields(self):
            if getattr(self, field.name) > getattr(ceiling, field.name):
                yield field.name

    def not_positive(self) -> Iterator[str]:
        """Name the limits that are zero or less: no program can live under them."""
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                yield field.name


DEFAULT_LIMITS = Limits(
    wall_time=10.0,
    cpu_time=5.0,
    memory=256 * MIB,
    output=1 * MIB,
    processes=64,
    disk=64 * MIB,
)
MAXIMUM_LIMITS = Limits(
    wall_time=60.0,
    cpu_time=30.0,
    memory=2 * GIB,
    output=8 * MIB,
    processes=256,
    disk=1 * GIB,
)
COMPILE_LIMITS = Limits(
    wall_time=20.0,
    cpu_time=60.0,
    memory=1 * GIB,
    output=16 * MIB,
    processes=256,
    disk=512 * MIB,
)
"""For a compiler. Its output is kept in part only; the limit is there for one that never stops."""


def describe_limit(name: str, value: float) -> str:
    """Say a limit the way a person would: `1 GiB`, `2.5 s`, `64`."""
    if name.endswith("_time"):
        return f"{value:.10g} s"  # to the millisecond, whatever GraphQL's Int can say
    if name == "processes":
        return str(value)
    return describe_size(int(value))


def describe_size(size: int) -> str:
    """Say a size in the largest unit that keeps it exact, or in bytes."""
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size and size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} bytes"
