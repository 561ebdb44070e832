"""Named sets of packages that programs may ask for, beside what their language has by itself.

To add one for Python: write what it is to have into a file `ID.in` here, run `make lock`, which
writes `requirements-ID.txt` beside it, and add an entry to the table. `greenroom env build` builds
it for the cells of this host, and `greenroom modal build` puts it into the image for Modal.
"""

from app.domain.environment import Environment
from app.environments._python import FIGURES, ONE_THREAD, WITHOUT_A_SCREEN, python_environment

_ENVIRONMENTS = {
    "PYTHON": (
        python_environment("python-data", files=(FIGURES,), **ONE_THREAD, **WITHOUT_A_SCREEN),
    ),
}


def environments_of(language: str) -> tuple[Environment, ...]:
    """Return the environments that programs of a language may ask for."""
    return _ENVIRONMENTS.get(language, ())
