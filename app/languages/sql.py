"""SQL, by the SQLite in Python: a program is a script on an empty database in memory."""

from app.domain.language import ImageNeeds, Language
from app.languages import python

# Rows are written as the `sqlite3` shell does by default. That shell itself is not used, for a
# host may have any version of it, or none.
_RUNNER = """
import sqlite3, sys

def shown(value):
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, float):
        text = format(value, ".15g")
        return (text if set(text) - set("-0123456789") else text + ".0").encode()
    return str(value).encode()

def statements(text):
    begun, line = "", 1
    for piece in text.split(";"):
        begun += piece + ";"
        if sqlite3.complete_statement(begun):
            lead = len(begun) - len(begun.lstrip())
            yield begun, line + begun[:lead].count("\\n")
            line += begun.count("\\n")
            begun = ""
    if begun.strip():
        yield begun, line

path, *arguments = sys.argv[1:]
database = sqlite3.connect(":memory:", isolation_level=None)
database.create_function("arg", 1, lambda n: arguments[n - 1] if 0 < n <= len(arguments) else None)
database.create_function("stdin", 0, lambda: sys.stdin.buffer.read().decode(errors="replace"))
for statement, line in statements(open(path, encoding="utf-8").read()):
    try:
        for row in database.execute(statement):
            sys.stdout.buffer.write(b"|".join(map(shown, row)) + b"\\n")
            sys.stdout.buffer.flush()
    except (sqlite3.Error, sqlite3.Warning) as error:
        sys.stdout.flush()
        sys.exit(f"Error near line {line} of {path}: {error}")
"""

LANGUAGE = Language(
    id="SQL",
    name="SQL (SQLite)",
    source_name="main.sql",
    editor_mode="sql",
    run=lambda sources, _: ("-I", "-S", "-c", _RUNNER, sources.entry),
    version_arguments=("-I", "-S", "-c", "import sqlite3; print(sqlite3.sqlite_version)"),
    version_pattern=r"^(\d[\d.]*)",
    example="SELECT 'Hello, world!';\n",
    find=python.find,
    image=ImageNeeds(executable="python3"),
)
