"""Hello-world through the whole service, as ratios to bare starts of the same interpreters.

Both are measured alternately in one run, so that a machine whose speed drifts drifts for both.
"""

import json
import platform
import sqlite3
import statistics
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.languages import all_languages
from benchmarks.subjects import PAUSE, Sample, Service, Subject, bare, served

AT_ONCE = 8
MEASURED = ("PYTHON", "JAVASCRIPT")  # all of them: `benchmarks.languages`
console = Console(stderr=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Medians over the rounds. Milliseconds and runs per second."""

    rested: float
    """The p50 of runs that come now and then."""
    p50: float
    p95: float
    per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One language: the service, the bare start, and the ratios service / bare, round by round."""

    language: str
    service: Figures
    bare: Figures
    rested_ratio: float
    p50_ratio: float
    p95_ratio: float
    per_second_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One turn of one subject: now and then, one after another, and several at once."""

    rested: Sample
    alone: Sample
    together: Sample

    def figures(self) -> Figures:
        """Condense."""
        cuts = statistics.quantiles(self.alone.each, n=20, method="inclusive")
        together = self.together
        return Figures(
            rested=statistics.median(self.rested.each) * 1000,
            p50=cuts[9] * 1000,
            p95=cuts[18] * 1000,
            per_second=len(together.each) / together.all,
        )


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each subject.")] = 5,
    runs: Annotated[int, typer.Option(min=5, help="Runs in each turn.")] = 40,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002
) -> None:
    """Measure."""
    compared = []
    with TemporaryDirectory() as folder:
        database = Path(folder, "measured.db")
        with served({"GREENROOM_DATABASE_URL": f"sqlite:///{database}"}) as port:
            for language in map(all_languages().__getitem__, MEASURED):
                with bare(language) as baseline:
                    subjects = (Service(port, language), baseline)
                    turns = _alternate(subjects, rounds=rounds, runs=runs, name=language.name)
                compared.append(_compare(language.name, turns))
        rows = _rows_per_run(database)
    if as_json:
        figures = {"compared": [asdict(each) for each in compared], "rows_per_run": rows}
        print(json.dumps(figures, indent=2))
    else:
        _show(compared, rows)


def _rows_per_run(database: Path) -> float:
    with closing(sqlite3.connect(database)) as connection:
        runs, pieces = (
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("executions", "execution_output")
        )
    return float((runs + pieces) / runs)


def _alternate(
    subjects: tuple[Subject, Subject], *, rounds: int, runs: int, name: str
) -> "list[tuple[Figures, Figures]]":
    for subject in subjects:
        subject.measure(runs=5, at_once=1)  # caches of the file system
    turns = []
    with console.status(f"{name} ...") as status:
        for number in range(rounds):
            status.update(f"{name}: round {number + 1} of {rounds} ...")
            service, baseline = (_turn(subject, runs).figures() for subject in subjects)
            turns.append((service, baseline))
    return turns


def _turn(subject: Subject, runs: int) -> Round:
    return Round(
        rested=subject.measure(runs=runs, at_once=1, pause=PAUSE),
        alone=subject.measure(runs=runs, at_once=1),
        together=subject.measure(runs=2 * runs, at_once=AT_ONCE),
    )


def _compare(language: str, turns: "list[tuple[Figures, Figures]]") -> Comparison:
    services, baselines = zip(*turns, strict=True)
    return Comparison(
        language=language,
        service=_median(services),
        bare=_median(baselines),
        rested_ratio=statistics.median(ours.rested / theirs.rested for ours, theirs in turns),
        p50_ratio=statistics.median(ours.p50 / theirs.p50 for ours, theirs in turns),
        p95_ratio=statistics.median(ours.p95 / theirs.p95 for ours, theirs in turns),
        per_second_ratio=statistics.median(
            ours.per_second / theirs.per_second for ours, theirs in turns
        ),
    )


def _median(figures: "tuple[Figures, ...]") -> Figures:
    return Figures(
        rested=statistics.median(each.rested for each in figures),
        p50=statistics.median(each.p50 for each in figures),
        p95=statistics.median(each.p95 for each in figures),
        per_second=statistics.median(each.per_second for each in figures),
    )


def _show(compared: list[Comparison], rows: float) -> None:
    title = f"hello world on {platform.machine()}, Python {sys.version.split()[0]}"
    table = Table(title=title, caption=f"{rows:.2f} rows written per run")
    latency = ("now and then", "bare", "ratio", "p50", "bare", "ratio", "p95 ratio")
    for name in ("", *latency, f"runs/s at {AT_ONCE}", "bare", "ratio"):
        table.add_column(name, justify="right")
    for each in compared:
        table.add_row(
            each.language,
            f"{each.service.rested:.1f} ms",
            f"{each.bare.rested:.1f} ms",
            f"{each.rested_ratio:.2f}",
            f"{each.service.p50:.1f} ms",
            f"{each.bare.p50:.1f} ms",
            f"{each.p50_ratio:.2f}",
            f"{each.p95_ratio:.2f}",
            f"{each.service.per_second:.1f}",
            f"{each.bare.per_second:.1f}",
            f"{each.per_second_ratio:.2f}",
        )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
