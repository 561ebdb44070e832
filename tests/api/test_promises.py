"""What clients were promised is kept, or its end is a decision that somebody wrote down."""

import re
from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema, find_breaking_changes

ROOT = Path(__file__).parents[2]
NOTED = re.compile(r"^```breaking\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def released() -> GraphQLSchema:
    return build_schema((ROOT / "schema.released.graphql").read_text())


def breaking(released: GraphQLSchema, text: str) -> set[str]:
    return {each.description for each in find_breaking_changes(released, build_schema(text))}


def noted(notes: Path) -> set[str]:
    texts = [path.read_text() for path in notes.glob("*.md")]
    blocks = [block for text in texts for block in NOTED.findall(text)]
    return {line for block in blocks for line in block.splitlines() if line}


def test_no_promise_is_broken_without_a_note(released: GraphQLSchema) -> None:
    broken = breaking(released, (ROOT / "schema.graphql").read_text())
    missing = broken - noted(ROOT / "docs/decisions")
    assert not missing, f"docs/decisions/0021 says how to note: {missing}"


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ("  rerunOf: Execution\n", "  repeats: Execution\n", "Execution.rerunOf was removed"),
        ("  CRASHED\n", "  BROKEN\n", "ExecutionStatus.CRASHED was removed"),
        ("  isTruncated: Boolean!\n", "  isTruncated: Boolean\n", "isTruncated changed type"),
        ("  attempt: Int!\n", "  attempt: Float!\n", "Execution.attempt changed type"),
        ("input RerunExecutionInput {", "input RerunExecutionInput {\n  more: Int!", "equired"),
    ],
)
def test_a_broken_promise_is_seen(
    released: GraphQLSchema, tmp_path: Path, before: str, after: str, change: str
) -> None:
    text = (ROOT / "schema.released.graphql").read_text()
    assert before in text
    [found, *more] = breaking(released, text.replace(before, after))
    described = [each for each in (found, *more) if change in each]
    assert described
    (tmp_path / "0099-note.md").write_text(f"# A note\n\n```breaking\n{described[0]}\n```\n")
    assert noted(tmp_path) == {described[0]}
