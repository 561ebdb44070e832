"""What a Java program's file and its class to start are called, read from its text.

Strangers write that text and the server reads it, so nothing here may take longer than the text is
long: every pattern ends at what cannot belong to it, and takes what has no end as well.
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from app.domain.language import Sources

_NO_CODE = re.compile(
    r"""//[^\n]* | /\*.*?(?:\*/|\Z) | \"{3}(?:\\.|[^\\])*?(?:\"{3}|\Z)
    | "(?:\\.|[^"\\\n])*"? | '(?:\\.|[^'\\\n])*'?""",
    re.DOTALL | re.VERBOSE,
)
_PACKAGE = re.compile(r"\bpackage\s+([\w.]+)\s*;")
_TYPE = re.compile(r"\b(?:class|record|enum|interface)\s+(\w+)")
_MAIN = re.compile(r"\bvoid\s+main\s*\(")
_LONGEST = 200  # characters of a name; the compiler refuses one that no file can have


def file_name(text: str) -> str | None:
    """Return what the compiler wants the file to be called: like its public class."""
    public = next((name for name, is_public, _ in _types(text) if is_public), None)
    return f"{public}.java" if public and len(public.encode()) <= _LONGEST else None


def main_class(sources: Sources) -> str:
    """Return the class to start: the file's public one, or that with `main`, in its package."""
    types = list(_types(sources.text))
    public = (name for name, is_public, _ in types if is_public)
    able = (name for name, _, has_main in types if has_main)
    # A file may also have a `main` outside of any class, which is then called like the file.
    name = next(public, None) or next(able, None) or PurePosixPath(sources.entry).stem
    package = _PACKAGE.search(_NO_CODE.sub(" ", sources.text).partition("{")[0])
    return f"{package[1]}.{name}" if package else name


def _types(text: str) -> Iterator[tuple[str, bool, bool]]:
    """Yield the outermost types: the name, whether it is public, whether `main` is in it."""
    for head, body in _blocks(_NO_CODE.sub(" ", text)):
        # What is before the last semicolon belongs to another declaration.
        words = head.rpartition(";")[2]
        if named := _TYPE.search(words):
            is_public = "public" in words[: named.start()].split()
            yield named[1], is_public, _MAIN.search(body) is not None


def _blocks(code: str) -> Iterator[tuple[str, str]]:
    """Yield what stands before each outermost pair of braces, and what stands between them."""
    depth, begin, head = 0, 0, ""
    for brace in re.finditer(r"[{}]", code):
        if brace[0] == "{":
            if depth == 0:
                head, begin = code[begin : brace.start()], brace.end()
            depth += 1
        elif depth > 0:
            depth -= 1
            if depth == 0:
                yield head, code[begin : brace.start()]
                begin = brace.end()
    if depth:
        yield head, code[begin:]
