"""JavaScript, by Node."""

import json
from dataclasses import asdict
from pathlib import Path

from app.domain.language import Harness, Harnessed, Language, Runtime
from app.languages import _node


def _encode(call: Harnessed) -> bytes:
    fields = asdict(call) | {"source": call.source.decode(errors="replace")}
    return json.dumps(fields).encode()


def _is_name(name: str) -> bool:
    return name.replace("$", "_").isidentifier()


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
    harness=Harness(
        text=Path(__file__).with_name("_calling.js").read_text(),
        encode=_encode,
        is_name=_is_name,
    ),
)
