"""C++, by GCC or Clang."""

from functools import partial

from app.domain.language import PRODUCT, ImageNeeds, Language
from app.languages import _cc

_FLAGS = ("-std=gnu++20", *_cc.FLAGS)

LANGUAGE = Language(
    id="CPP",
    name="C++",
    source_name="main.cpp",
    editor_mode="cpp",
    compile=lambda sources, _: (*_FLAGS, "-o", PRODUCT, *sources.paths),
    runs_product=True,
    run=lambda _sources, _limits: (),
    version_arguments=("--version",),
    version_pattern=_cc.VERSION,
    example='#include <iostream>\n\nint main() {\n    std::cout << "Hello, world!\\n";\n}\n',
    find=partial(_cc.find, gnu="g++", zig="c++"),
    image=ImageNeeds(executable="g++", apt=("g++",)),
)
