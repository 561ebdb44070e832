"""What a box has: it is asked once, and what it says is read here."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from app.domain.language import Language
from app.domain.ports import EnvironmentState, Support

_VERSION_LENGTH = 100
ASK = """
import json, subprocess, sys
answers = {}
for id, question in json.loads(sys.argv[1]).items():
    try:
        asked = subprocess.run(question, capture_output=True, timeout=20)
        answers[id] = (asked.stdout + asked.stderr).decode(errors="replace")[:2000]
    except (OSError, subprocess.TimeoutExpired):
        pass
print(json.dumps(answers))
"""
"""Answers all questions in one process: each is a command, and what it prints the answer."""


def questions(language: Language) -> Iterator[tuple[str, list[str]]]:
    """Yield what to ask in a box to know what it has of a language, each with a name."""
    yield language.id, [language.image.executable, *language.version_arguments]
    for each in language.environments:
        yield f"{language.id} {each.id}", ["ls", "-d", str(each.target)]


def support_of(language: Language, answers: Mapping[str, str]) -> Support:
    """Read in the answers of a box which version it has of a language, and what environments."""
    support = version_of(language, answers.get(language.id))
    missing = "it is not in the image; run `greenroom modal build`"
    environments = {}
    for each in language.environments:
        is_there = answers.get(f"{language.id} {each.id}", "").strip() == str(each.target)
        environments[each.id] = EnvironmentState(
            versions=support.versions or () if is_there else (),
            reason=None if is_there else missing,
        )
    return replace(support, environments=environments)


def version_of(language: Language, said: str | None) -> Support:
    """Read the version in what a language says of itself in a box, if it is there at all."""
    if said is None:
        missing = f"{language.image.executable} is not in the image; run `greenroom modal build`"
        return Support(reason=missing)
    found = re.search(language.version_pattern, said)
    if found is None:
        return Support(reason=f"it does not tell its version, but {said[:200]!r}")
    return Support(versions=(" ".join(found.groups())[:_VERSION_LENGTH],))
