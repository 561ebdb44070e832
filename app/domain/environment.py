"""A named set of packages that a program may ask for."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

_ROOT = Path("/opt/environments")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package, at the one version that an environment has."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Packages for programs of one language, beside what the language has by itself."""

    id: str
    packages: tuple[Package, ...]
    """All that the lock pins, in its order: what is asked for and what that needs."""
    lock: str
    """What an installer reads: each package with its version and the hashes of its files."""
    files: Mapping[str, str]
    """Files of our own that lie beside the packages: the text of each, by its name."""
    variables: Mapping[str, str]
    """What a program finds in the environment of its process."""
    commands: tuple[str, ...]
    """Shell commands that build it in a container image, as root."""

    @property
    def target(self) -> Path:
        """Where a program finds it."""
        return target_of(self.id)

    def name_for(self, abi: str) -> str:
        """Return the name of its folder on a host; what differs in anything has another name."""
        texts = (abi, self.lock, *chain.from_iterable(sorted(self.files.items())))
        digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
        return f"{self.id}-{digest[:16]}"


def target_of(id: str) -> Path:
    """Return where a program finds the environment of that id."""
    return _ROOT / id
