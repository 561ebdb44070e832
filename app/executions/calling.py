"""A call of a function of a program: how it is put to the program, and what comes back.

The program runs as always, but for its file: a harness lies there, which puts the program's own
text back, calls the function and leaves what it returns as a file (`app/languages/_calling.py`
says how). The name of that file's folder is drawn for each call, so nothing else that a program
leaves is taken for an answer. What is expected of it stays here, and is compared here.
"""

import json
import math
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from app.domain.execution import Exit, File, Program
from app.domain.language import FOLDER, Harnessed, Language
from app.domain.limits import MIB
from app.domain.ports import Collect
from app.domain.testing import Call
from app.domain.values import DEEPEST
from app.executions.files import layout
from app.executions.rules import is_deeper

_MOST_SAID = 300  # characters of a message
_VALUE, _PROBLEM = "value", "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What a function returned."""

    value: Any
    """A JSON value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotReturned:
    """A function returned nothing that can be compared."""

    message: str
    """Why; for the author of the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A call on its way: a program to run instead, what to collect, and how to read that."""

    program: Program
    collect: Collect
    _function: str

    def answer(self, end: Exit) -> Returned | NotReturned:
        """Find what the function returned in what has come back."""
        found = {each.path: each.data for each in end.product or ()}
        if (value := found.get(f"{self.collect.folder}/{_VALUE}")) is not None:
            return self._read(value)
        if (problem := found.get(f"{self.collect.folder}/{_PROBLEM}")) is not None:
            return NotReturned(message=_tame(problem))
        return NotReturned(message=f"{_ending(end)} before `{self._function}` had returned.")

    def _read(self, data: bytes) -> Returned | NotReturned:
        try:
            return Returned(value=_parsed(data))
        except (ValueError, RecursionError):
            return NotReturned(message=f"What `{self._function}` returned could not be read.")


def called(language: Language, program: Program, call: Call, nonce: str) -> Called:
    """Put a call to a program of a language that has a harness, in the place of its own input.

    Args:
        language: the program's.
        program: whose function it is.
        call: which function, and with what.
        nonce: hexadecimal digits that nobody can guess, drawn for this run alone.

    Raises:
        ValueError: no function can have that name.
    """
    assert language.harness is not None  # noqa: S101 - who calls has asked
    if not language.harness.is_name(call.function):
        raise ValueError(f"`{call.function}` is no name of a function.")
    folder = f".returned-{nonce}"
    laid_out = layout(language, program)
    entry = laid_out.sources.entry
    stdin = language.harness.encode(
        Harnessed(
            entry=entry,
            source=laid_out.files[entry.removeprefix(f"{FOLDER}/")],
            name=call.function,
            given=call.arguments,
            place=f"{FOLDER}/{folder}",
        )
    )
    return Called(
        program=replace(_replaced(program, language.harness.text), stdin=stdin),
        collect=Collect(folder=folder, files=1, size=MIB),
        _function=call.function,
    )


def _replaced(program: Program, text: str) -> Program:
    """Put a text in the place of the file that is started."""
    is_file = [each.path == program.entry_point for each in program.files]
    if not any(is_file):
        return replace(program, source=text)
    harness = File(path=program.entry_point or "", data=text.encode())
    files = [harness if is_it else each for each, is_it in zip(program.files, is_file, strict=True)]
    return replace(program, files=tuple(files))


def _parsed(data: bytes) -> Any:
    """Read JSON that a hostile program may have written.

    Raises:
        ValueError: it is not whole, or no JSON that everybody reads alike.
        RecursionError: it is nested too deeply.
    """
    if not data.endswith(b"\n"):
        raise ValueError("a part is missing")
    value = json.loads(data, parse_constant=_refuse, parse_float=_finite)
    if is_deeper(value, DEEPEST):  # whoever reads it again may have less of a stack left
        raise ValueError("nested too deep")
    json.dumps(value, ensure_ascii=False).encode()  # without lone surrogates
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _tame(data: bytes) -> str:
    """Return the first line of what a harness said, if it was the harness."""
    line = data[: 4 * _MOST_SAID].decode(errors="replace").partition("\n")[0]
    return "".join(each for each in line if each.isprintable())[:_MOST_SAID]


def _ending(end: Exit) -> str:
    if end.kill_reason is not None or end.oom_killed:
        return "The program was ended at a limit"
    if end.signal is not None:
        return f"The program was ended by {end.signal}"
    if end.code:
        return f"The program ended with exit code {end.code}"
    return "The program ended"
