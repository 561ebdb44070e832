"""The environments that programs may ask for, built once for all tests of this installation."""

import sys
from pathlib import Path

from app.environments.build import build
from app.languages import all_languages

ENVIRONMENTS = Path(sys.prefix, "share", "greenroom", "environments")


def ensure_environments() -> Path:
    """Build what is missing, which takes the registry and 15 s; return where all of them are.

    Processes of one test run come here at the same time: the first builds, the others wait.
    """
    for language in all_languages().values():
        for environment in language.environments:
            build(environment, language.find(None)[0], ENVIRONMENTS, lambda _: None)
    ENVIRONMENTS.chmod(0o700)  # as root's home is: cells have to see them all the same
    return ENVIRONMENTS
