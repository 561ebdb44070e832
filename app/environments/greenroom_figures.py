"""Matplotlib's backend where there is no screen: what is shown becomes a file in `/box/out`.

It lies beside the packages of an environment and runs in cells only. `plt.show()` writes every
open figure and closes it; with `block=False`, and by `fig.show()`, figures stay open, and one that
is shown again replaces its own file, as it would change in its own window. Nothing waits.
"""

from itertools import count
from pathlib import Path

from matplotlib._pylab_helpers import Gcf
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

FOLDER = Path("/box/out")
_numbers = count(1)


class FigureManager(FigureManagerBase):
    """One figure of pyplot's."""

    path: Path | None = None
    """Where it has been written, once it was shown."""

    def show(self) -> None:
        """Write the figure, where the files of others are left alone."""
        if self.path is None:
            self.path = _free_path()
        self.canvas.figure.savefig(self.path, format="png")

    @classmethod
    def pyplot_show(cls, *, block: bool | None = None) -> None:
        """Write every open figure; this is what `plt.show()` comes to."""
        for manager in Gcf.get_all_fig_managers():
            manager.show()
        if block is not False:
            Gcf.destroy_all()


class FigureCanvas(FigureCanvasAgg):
    """A canvas in memory."""

    manager_class = FigureManager


def _free_path() -> Path:
    FOLDER.mkdir(exist_ok=True)
    paths = (FOLDER / f"figure-{number}.png" for number in _numbers)
    return next(path for path in paths if _is_taken_now(path))


def _is_taken_now(path: Path) -> bool:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
