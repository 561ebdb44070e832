"""Programs with packages: they are there, work within the default limits, and are nobody's."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from app.domain.errors import ExecutorError
from app.domain.execution import File, Status
from app.domain.limits import DEFAULT_LIMITS
from app.executors.local.executor import LocalExecutor
from app.languages import all_languages
from tests.contract.runs import Box, Result
from tests.contract.subjects import IS_LIVE, SUBJECTS, Subject, local, modal
from tests.hosted import hosted
from tests.servers.environments import ENVIRONMENTS, ensure_environments

PYTHON = all_languages()["PYTHON"]
DATA = "python-data"
FOLDER = f"/opt/environments/{DATA}"
EQUIPPED: dict[str, Callable[[], AbstractAsyncContextManager[Subject]]] = {
    "local": partial(local, keeps_warm=False, environments=ENVIRONMENTS),
    "modal": partial(modal, ENVIRONMENTS),
    **({"live": SUBJECTS["live"]} if IS_LIVE else {}),
}

USES = {
    "import numpy as np; print(np.linalg.solve([[2, 0], [0, 4]], [2, 8]))": "[1. 2.]\n",
    """
import pandas as pd
table = pd.DataFrame({"who": ["a", "b", "a"], "n": [1, 2, 3]})
print(table.groupby("who").n.sum().to_dict())
""": "{'a': 4, 'b': 2}\n",
    "from scipy.optimize import brentq; print(round(brentq(lambda x: x**2 - 2, 0, 2), 6))": (
        "1.414214\n"
    ),
    # However many processors there are, one thread and no more.
    """
import os, numpy as np
np.ones((500, 500)) @ np.ones((500, 500))
print(len(os.listdir("/proc/self/task")))
""": "1\n",
}
LOOK = """
from pathlib import Path
for path in sorted(Path("/box/out").iterdir()):
    print(path.name, path.read_bytes().startswith(bytes.fromhex("89504e470d0a1a0a")))
"""
SHOWN = {
    # Every open figure, and in a later call those that came since.
    """
plt.plot([1, 2]); plt.figure(); plt.hist([1, 1, 2]); plt.show()
assert not plt.get_fignums()
plt.bar(["a", "ü"], [1, 2]); plt.title("$x^2$"); plt.show(); plt.show()
""": "figure-1.png True\nfigure-2.png True\nfigure-3.png True\n",
    # Beside a file that is there.
    """
import os; os.mkdir("out"); open("out/figure-1.png", "w").close()
plt.plot([1]); plt.show()
""": "figure-1.png False\nfigure-2.png True\n",
    # Again in its own file as long as it is open, wherever the program has gone.
    """
figure, axes = plt.subplots(); axes.plot([1, 2]); figure.show()
plt.show(block=False); plt.pause(0.01)
assert plt.get_fignums() == [1]
import os; os.chdir("/tmp"); plt.show()
""": "figure-1.png True\n",
}
ANALYSIS = """
import numpy as np, pandas as pd, matplotlib.pyplot as plt
table = pd.DataFrame(np.random.default_rng(1).normal(size=(20_000, 8)), columns=list("abcdefgh"))
table.rolling(50).mean().plot(); plt.legend(); plt.savefig("all.png"); plt.show()
print(table.corr().shape)
"""
VANDAL = f"""
import os
folder = "{FOLDER}"
tries = (
    lambda: open(folder + "/numpy/__init__.py", "a"),
    lambda: open(folder + "/evil.py", "w"),
    lambda: os.unlink(folder + "/numpy/__init__.py"),
    lambda: os.rename(folder + "/numpy", folder + "/other"),
    lambda: os.chmod(folder, 0o777),
    lambda: os.utime(folder + "/numpy"),
)
for each in tries:
    try:
        each()
        print("done")
    except OSError as error:
        print(type(error).__name__)
"""


@pytest.fixture(scope="module", params=EQUIPPED)
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """Open an executor that has all environments; without a registry that fails."""
    await to_thread.run_sync(ensure_environments)
    async with hosted(EQUIPPED[request.param]()) as subject:
        yield subject


async def succeeded(python: Box, source: str, **how: Any) -> str:
    result: Result = await python(source, environment=DATA, **how)
    assert result.status is Status.SUCCEEDED, result
    assert result.stderr == b""
    return result.text


@pytest.mark.parametrize(("source", "said"), USES.items(), ids=range(len(USES)))
async def test_the_packages_are_there(python: Box, source: str, said: str) -> None:
    assert await succeeded(python, source) == said


@pytest.mark.parametrize(("source", "said"), SHOWN.items(), ids=range(len(SHOWN)))
async def test_what_is_shown_becomes_a_file(python: Box, source: str, said: str) -> None:
    source = f"import matplotlib.pyplot as plt\n{source}\n{LOOK}"
    assert await succeeded(python, source) == said


async def test_two_at_one_time_fit_the_default_limits_with_room(python: Box) -> None:
    results: list[Result] = []

    async def analyse() -> None:
        results.append(await python(ANALYSIS, environment=DATA))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(analyse)
        tasks.start_soon(analyse)
    for result in results:
        assert result.text == "(8, 8)\n", result
        assert result.end.usage is not None
        assert result.end.usage.peak_memory < DEFAULT_LIMITS.memory * 3 / 4


async def test_nobody_can_change_them(python: Box) -> None:
    assert "done" not in (said := await succeeded(python, VANDAL))
    assert len(said.split()) == 6


async def test_a_file_of_the_program_comes_first(python: Box) -> None:
    own = File(path="numpy.py", data=b"answer = 42\n")
    assert await succeeded(python, "import numpy; print(numpy.answer)", files=[own]) == "42\n"


async def test_who_does_not_ask_has_none(python: Box) -> None:
    result = await python("import os, numpy")
    assert b"No module named 'numpy'" in result.stderr
    hidden = await python("import os; print('PYTHONPATH' in os.environ, os.path.exists('/opt'))")
    assert hidden.text.startswith("False")


async def test_support_names_the_versions_that_have_them(python: Box) -> None:
    state = python.executor.supports(PYTHON).environments[DATA]
    assert state.is_available
    for version in state.versions:
        source = "import numpy, platform; print(platform.python_version())"
        assert await succeeded(python, source, version=version) == f"{version}\n"


async def test_one_that_nobody_knows_is_an_error(python: Box) -> None:
    with pytest.raises(ExecutorError, match="nothing-such"):
        await python("", environment="nothing-such")


async def test_one_that_is_not_built_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    def make() -> LocalExecutor:
        return LocalExecutor(
            {"PYTHON": PYTHON},
            interpreter=PYTHON.find(None)[0],
            environments=tmp_path,
            keeps_warm=False,
        )

    async with await to_thread.run_sync(make) as executor:
        state = executor.supports(PYTHON).environments[DATA]
        assert not state.is_available
        assert state.reason is not None
        assert f"greenroom env build {DATA}" in state.reason
        with pytest.raises(ExecutorError, match=DATA):
            await Box(executor, PYTHON)("", environment=DATA)
