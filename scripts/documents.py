"""Write the files that are made from the code; a test compares them.

schema.graphql      from the GraphQL schema
.env.example        from the settings
README.md           its table of settings
"""

from pathlib import Path

from app.api.schema import schema
from app.settings_text import as_env_file, as_markdown

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- settings: made by `make schema` -->\n", "<!-- end of settings -->\n"


def documents() -> dict[Path, str]:
    """Return each file with the content that it should have."""
    readme = ROOT / "README.md"
    return {
        ROOT / "schema.graphql": schema.as_str() + "\n",
        ROOT / ".env.example": as_env_file(),
        readme: with_settings(readme.read_text()),
    }


def with_settings(text: str) -> str:
    """Return the text with the table of settings put between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{as_markdown()}\n{END}{after}"


if __name__ == "__main__":
    for path, content in documents().items():
        path.write_text(content)
