"""TypeScript, by Node, which takes the types away and does not check them."""

from app.domain.language import Language
from app.languages import _node

# Enums and namespaces are not only types: they have to be turned into code. Node calls that
# experimental, on stderr, at each start.
_TRANSFORM = ("--experimental-transform-types", "--disable-warning=ExperimentalWarning")

LANGUAGE = Language(
    id="TYPESCRIPT",
    name="TypeScript",
    source_name="main.ts",
    editor_mode="typescript",
    run=lambda sources, limits: (*_TRANSFORM, _node.heap(limits), sources.entry),
    # An older Node does not know the option, and so is no version of TypeScript.
    version_arguments=(*_TRANSFORM, "--version"),
    version_pattern=r"v(\S+)",
    example='const greeting: string = "Hello, world!";\nconsole.log(greeting);\n',
    find=_node.find,
    image=_node.IMAGE,
)
