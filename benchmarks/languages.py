"""Hello-world of every language as a ratio to its bare start, and what a compiler's cache saves.

    python -m benchmarks.languages [runs]

Turns alternate, as in `python -m benchmarks`. A program that was compiled before is compared with
the same one with another empty line at its end, which has to be compiled.
"""

import statistics
import sys

from rich.console import Console
from rich.table import Table

from app.domain.language import Language
from benchmarks.subjects import Service, Subject, bare, present_languages, served

ROUNDS = 3


def main(runs: int) -> None:
    """Measure and print."""
    table = Table("", "p50", "bare", "ratio", "compiled anew", "ratio to cached")
    with served({"GREENROOM_EXECUTOR": "local"}) as port:
        for language in present_languages():
            table.add_row(language.name, *_figures(port, language, runs))
    Console().print(table)


def _figures(port: int, language: Language, runs: int) -> list[str]:
    with bare(language) as baseline:
        subjects: list[Subject] = [Service(port, language), baseline]
        if language.is_compiled:
            subjects.append(Service(port, language, is_new=True))
        ours, theirs, *anew = _medians(subjects, runs)
    return [
        f"{ours * 1000:.0f} ms",
        f"{theirs * 1000:.1f} ms",
        f"{ours / theirs:.2f}",
        *(text for each in anew for text in (f"{each * 1000:.0f} ms", f"{each / ours:.1f}")),
    ]


def _medians(subjects: list[Subject], runs: int) -> list[float]:
    for subject in subjects:
        subject.measure(runs=2, at_once=1)
    turns = [
        [statistics.median(subject.measure(runs=runs, at_once=1).each) for subject in subjects]
        for _ in range(ROUNDS)
    ]
    return [statistics.median(each) for each in zip(*turns, strict=True)]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
