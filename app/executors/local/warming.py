"""Which languages have warm cells: those whose every wall was proven to hold in one."""

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import anyio

from app.domain.errors import Check, ExecutorError
from app.domain.language import Runtime
from app.domain.ports import PoolFigures
from app.executors.local.cgroups import Cgroups
from app.executors.local.stage import Stage
from app.executors.local.warm import WarmCells, keep_warm
from app.executors.local.zygote import Recipe

log = logging.getLogger(__name__)

_PATIENCE = 20.0  # s for the first slot; it takes a tenth of one

Prove = Callable[[WarmCells, Runtime], Awaitable[list[Check]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Warm:
    """What is kept warm, by language id, and what was found."""

    cells: Mapping[str, WarmCells]
    checks: tuple[Check, ...]

    def figures(self) -> PoolFigures | None:
        """Add up what there is of all languages; None where nothing is kept warm."""
        if not self.cells:
            return None
        counts = zip(*(cells.counts() for cells in self.cells.values()), strict=True)
        ready, starting, target = map(sum, counts)
        asked = sum(cells.asked for cells in self.cells.values())
        found = sum(cells.found for cells in self.cells.values())
        latencies = sorted(each for cells in self.cells.values() for each in cells.latencies)
        return PoolFigures(
            ready=ready,
            starting=starting,
            target=target,
            create_p50=_rank(latencies, 0.5),
            create_p95=_rank(latencies, 0.95),
            warm_hit_rate=found / asked if asked else None,
            is_broken=False,  # where nothing is ready, a cell is started
        )


@asynccontextmanager
async def warmed(
    stage: Stage,
    recipes: Mapping[str, tuple[Recipe, Runtime]],
    cgroups: Cgroups | None,
    prove: Prove,
) -> AsyncIterator[Warm]:
    """Keep cells of these languages warm where all walls hold; cold ones serve the others.

    Args:
        stage: what cells are made from.
        recipes: how to make them, by language id.
        cgroups: counts what they use, where there are any.
        prove: runs the self-test in a warm cell.
    """
    kept: dict[str, WarmCells] = {}
    checks: list[Check] = []
    async with AsyncExitStack() as resources:
        for id, (recipe, runtime) in recipes.items():
            async with AsyncExitStack() as own:
                cells = await own.enter_async_context(keep_warm(stage, recipe, cgroups))
                problem = await _problem(cells, runtime, prove)
                if not problem:
                    kept[id] = cells
                    resources.push_async_exit(own.pop_all())
            checks.append(_check(id, problem))
        yield Warm(cells=kept, checks=tuple(checks))


def _rank(ordered: Sequence[float], share: float) -> float | None:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


async def _problem(cells: WarmCells, runtime: Runtime, prove: Prove) -> str:
    """Say which walls do not hold in a warm cell; nothing when all do."""
    try:
        with anyio.fail_after(_PATIENCE):
            await cells.tried.wait()
            checks = await prove(cells, runtime)
    except TimeoutError:
        return f"nothing was ready within {_PATIENCE:g} s"
    except ExecutorError as error:
        return cells.problem or str(error)
    failed = [check for check in checks if check.required and not check.passed]
    return "; ".join(f"{check.name}: {check.detail}" for check in failed)


def _check(id: str, problem: str) -> Check:
    if problem:
        log.warning("no warm cells", extra={"language": id, "reason": problem})
    return Check(
        name=f"warm cells {id}",
        passed=not problem,
        detail=f"each run starts a cell of its own: {problem}" if problem else "every wall holds",
        remedy="runs are as safe without, and slower; please report this",
        required=False,
    )
