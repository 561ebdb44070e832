"""Packages can be chosen, which ones are there is told, and a program has them."""

from base64 import b64decode

import pytest
from anyio import to_thread

from app.domain.language import Language
from app.domain.ports import EnvironmentState, Support
from app.executor_factory import local_executor
from app.languages import all_languages
from tests.servers.environments import ensure_environments

from .client import Api, Json
from .conftest import Open, settings_of
from .fake import VERSIONS, FakeExecutor

DATA = "python-data"
ENVIRONMENT = all_languages()["PYTHON"].environments[0]
EXECUTE = """mutation($input: ExecuteCodeInput!) { executeCode(input: $input) {
  execution { id status environment languageVersion stdout stderr
    artifacts { path mediaType byteSize base64 } }
  errors { __typename code message path ... on EnvironmentUnavailable { available } } } }"""
RERUN = """mutation($id: ID!) { rerunExecution(input: { id: $id }) {
  execution { id environment languageVersion } errors { code } } }"""
LOOK = "query($id: ID!) { execution(id: $id) { environment } }"
LIST = """{ languages { id environments {
  id isAvailable unavailableReason packages { name version } } } }"""
PLOT = """
import matplotlib.pyplot as plt, numpy as np, pandas as pd
table = pd.DataFrame({"who": ["a", "b", "a"], "n": np.arange(3)})
print(table.groupby("who").n.sum().to_dict())
plt.plot(table.n)
plt.show()
"""


class Equipped(FakeExecutor):
    """One that says of its environments what it is told to."""

    def __init__(self, **environments: EnvironmentState) -> None:
        super().__init__()
        self._environments = {id.replace("_", "-"): each for id, each in environments.items()}

    def supports(self, language: Language) -> Support:
        environments = self._environments if language.id == "PYTHON" else {}
        return Support(versions=VERSIONS, environments=environments)


UNBUILT = EnvironmentState(reason="it is not built: `greenroom env build python-data`")
BUILT = EnvironmentState(versions=("1.1.10", "1.1.9"))


async def execute(api: Api, source: str = "", language: str = "PYTHON", **input: object) -> Json:
    asked = {"language": language, "source": source, **input}
    payload: Json = (await api.ask(EXECUTE, input=asked))["executeCode"]
    return payload


@pytest.mark.parametrize(
    ("language", "wanted", "state", "available", "said"),
    [
        ("PYTHON", "nothing-such", BUILT, [DATA], "no environment of this name"),
        ("PYTHON", "PYTHON-DATA", UNBUILT, [], "no environment of this name"),
        ("PYTHON", DATA, UNBUILT, [], "greenroom env build"),
        ("JAVASCRIPT", DATA, BUILT, [], "JavaScript has no environment"),
    ],
)
async def test_one_that_is_not_here_is_refused_with_those_that_are(  # noqa: PLR0913 - a table
    open_api: Open,
    language: str,
    wanted: str,
    state: EnvironmentState,
    available: list[str],
    said: str,
) -> None:
    executor = Equipped(python_data=state)
    async with open_api(executor) as api:
        payload = await execute(api, language=language, environment=wanted)
    (error,) = payload["errors"]
    assert payload["execution"] is None
    assert error["__typename"] == "EnvironmentUnavailable"
    assert (error["code"], error["path"]) == ("ENVIRONMENT_UNAVAILABLE", ["environment"])
    assert error["available"] == available
    assert said in error["message"]
    assert executor.sandboxes == 0


async def test_one_that_is_here_reaches_the_sandbox_and_is_kept(open_api: Open) -> None:
    executor = Equipped(python_data=BUILT)
    async with open_api(executor) as api:
        first = (await execute(api, environment=DATA))["execution"]
        # By a version that has it.
        assert (first["environment"], first["languageVersion"]) == (DATA, "1.1.10")
        assert (await api.ask(LOOK, id=first["id"]))["execution"]["environment"] == DATA
        again = (await api.ask(RERUN, id=first["id"]))["rerunExecution"]["execution"]
        assert (again["environment"], again["languageVersion"]) == (DATA, "1.1.10")
        tests = [{}, {"stdin": "x"}]
        await execute(api, environment=DATA, languageVersion="1.1.9", tests=tests)
        assert (await execute(api))["execution"]["environment"] is None
    assert executor.environments == [DATA, DATA, DATA, DATA, None]
    assert executor.versions == ["1.1.10", "1.1.10", "1.1.9", "1.1.9", "1.2.3"]


async def test_a_version_without_it_is_refused(open_api: Open) -> None:
    async with open_api(Equipped(python_data=BUILT)) as api:
        (error,) = (await execute(api, environment=DATA, languageVersion="1.2"))["errors"]
    assert (error["__typename"], error["path"]) == ("VersionUnavailable", ["languageVersion"])
    assert DATA in error["message"]


async def test_another_environment_is_another_wish(open_api: Open) -> None:
    async with open_api(Equipped(python_data=BUILT)) as api:
        first = await execute(api, environment=DATA, idempotencyKey="k")
        assert await execute(api, environment=DATA, idempotencyKey="k") == first
        (error,) = (await execute(api, idempotencyKey="k"))["errors"]
        assert error["code"] == "IDEMPOTENCY_CONFLICT"


@pytest.mark.parametrize("state", [UNBUILT, BUILT])
async def test_environments_are_listed_with_their_packages(
    open_api: Open, state: EnvironmentState
) -> None:
    async with open_api(Equipped(python_data=state)) as api:
        languages = (await api.ask(LIST))["languages"]
    by_id = {each["id"]: each["environments"] for each in languages}
    (found,) = by_id.pop("PYTHON")
    packages = {each["name"]: each["version"] for each in found.pop("packages")}
    assert packages == {each.name: each.version for each in ENVIRONMENT.packages}
    assert {"numpy", "pandas", "scipy", "matplotlib"} <= {*packages}
    assert found == {
        "id": DATA,
        "isAvailable": state is BUILT,
        "unavailableReason": state.reason,
    }
    assert not any(by_id.values())


async def test_a_plot_of_a_table_comes_back_as_an_artifact(open_api: Open) -> None:
    folder = await to_thread.run_sync(ensure_environments)
    settings = settings_of(environments=folder, warm_cells="0")
    async with (
        await to_thread.run_sync(local_executor, settings) as executor,
        open_api(executor) as api,
    ):
        execution = (await execute(api, PLOT, environment=DATA, waitMs=60_000))["execution"]
        assert execution["stdout"] == "{'a': 2, 'b': 1}\n", execution["stderr"]
        assert (execution["status"], execution["environment"]) == ("SUCCEEDED", DATA)
        (figure,) = execution["artifacts"]
        data = b64decode(figure.pop("base64"))
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        assert figure == {
            "path": "out/figure-1.png",
            "mediaType": "image/png",
            "byteSize": len(data),
        }
        plain = (await execute(api, PLOT, waitMs=60_000))["execution"]
        assert "No module named 'matplotlib'" in plain["stderr"]
        assert plain["artifacts"] == []
