"""C, by GCC or Clang."""

from functools import partial

from app.domain.language import PRODUCT, ImageNeeds, Language
from app.languages import _cc

_FLAGS = ("-std=gnu17", *_cc.FLAGS)

LANGUAGE = Language(
    id="C",
    name="C",
    source_name="main.c",
    editor_mode="c",
    compile=lambda sources, _: (*_FLAGS, "-o", PRODUCT, *sources.paths, "-lm"),
    runs_product=True,
    run=lambda _sources, _limits: (),
    version_arguments=("--version",),
    version_pattern=_cc.VERSION,
    example='#include <stdio.h>\n\nint main(void) {\n    puts("Hello, world!");\n}\n',
    find=partial(_cc.find, gnu="gcc", zig="cc"),
    image=ImageNeeds(executable="gcc", apt=("gcc", "libc6-dev")),
)
