"""JavaScript, by Node."""

from app.domain.language import Language, Runtime
from app.languages import _node

LANGUAGE = Language(
    id="JAVASCRIPT",
    name="JavaScript",
    source_name="main.js",
    editor_mode="javascript",
    run=lambda sources, limits: (_node.heap(limits), sources.entry),
    version_arguments=("--version",),
    version_pattern=r"v(\S+)",
    example='console.log("Hello, world!");\n',
    find=_node.find,
    image=_node.IMAGE,
    runtime=Runtime.NODE,
)
