"""Write the files that are made from the code; a test compares them.

schema.graphql      from the GraphQL schema
possibleTypes.json  likewise: the types of each interface, as caches of clients want to know them
.env.example        from the settings
README.md           its table of settings
"""

import json
from pathlib import Path

from graphql import is_abstract_type

from app.api.schema import schema
from app.settings_text import as_env_file, as_markdown

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- settings: made by `make schema` -->\n", "<!-- end of settings -->\n"


def documents() -> dict[Path, str]:
    """Return each file with the content that it should have."""
    readme = ROOT / "README.md"
    return {
        ROOT / "schema.graphql": schema.as_str() + "\n",
        ROOT / "possibleTypes.json": possible_types(),
        ROOT / ".env.example": as_env_file(),
        readme: with_settings(readme.read_text()),
    }


def possible_types() -> str:
    """Return the types that each interface can be, as JSON."""
    graph = schema._schema  # noqa: SLF001 - graphql-core's, which Strawberry has no other way to
    types = {
        name: sorted(each.name for each in graph.get_possible_types(kind))
        for name, kind in sorted(graph.type_map.items())
        if is_abstract_type(kind)
    }
    return json.dumps(types, indent=2) + "\n"


def with_settings(text: str) -> str:
    """Return the text with the table of settings put between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{as_markdown()}\n{END}{after}"


if __name__ == "__main__":
    for path, content in documents().items():
        path.write_text(content)
