"""Calls a function of a Python program and leaves what it returns in a file. Runs in the cell.

Theory of operation
-------------------
It is started as the program, under the name of the program's own file, so that an interpreter
that waits for that file can be used. It reads all of its input, the call and the program's text,
and puts that text where it lay itself: from then on the file is the program's, in tracebacks too.
The text runs as a module, not as `__main__`, and only then is the function called.

What it returns goes as JSON into a folder whose name only the server and this file know, and
which is made only then. So nothing that the program prints, leaves or replaces is taken for the
value: whatever is used afterwards is bound before any of the program's code runs, with builtins of
its own. A program that searches the interpreter's memory can find that name and write what it
likes. It gains nothing, for it could have returned that as well: what a test expects never comes
here.

It imports what is built in, and no `json`: that is milliseconds less of every call.
"""

import _json
import builtins
import marshal
import posix
import sys

__builtins__ = dict(vars(builtins))  # for the functions below: a program may replace its own
MOST = 1 << 20  # bytes of a value
HERE = posix.getpid()
getpid, mkdir, open_file, close = posix.getpid, posix.mkdir, posix.open, posix.close
umask, write = posix.umask, posix.write
NEW = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL


class NoAnswer(Exception):
    """There is no value; says why."""


async def nothing():
    """Be of a coroutine's type."""


def refuse(value):
    """Name the type of what JSON has no words for."""
    raise TypeError(f"a value of type {type(value).__name__}")


waits = nothing()
waits.close()
Coroutine = type(waits)
encode = _json.make_encoder(
    {}, refuse, _json.encode_basestring_ascii, None, ": ", ", ", False, False, False
)


def main():
    """Load the program, call its function and leave the answer."""
    entry, source, name, arguments, place = marshal.loads(received())  # noqa: S302 - ours wrote it
    put_back(entry, source)
    try:
        text = encoded(call(find(load(entry, source), name), arguments), name)
    except NoAnswer as problem:
        leave(place, "problem", str(problem))
        raise SystemExit(1) from None
    except Exception as error:  # noqa: BLE001 - whatever the program raises
        error.__traceback__ = without_ours(error.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        raise SystemExit(1) from None
    leave(place, "value", text)


def received():
    """Read all of the input: the program finds none."""
    pieces = []
    while piece := posix.read(0, 1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def put_back(entry, source):
    """Let the program's file be its own."""
    with open(entry, "wb") as file:
        file.write(source)


def load(entry, source):
    """Run the program's text as a module of its file's name."""
    name = entry.rpartition("/")[2].rpartition(".")[0]
    module = type(sys)(name)
    module.__file__, module.__builtins__ = entry, builtins
    sys.modules[name] = sys.modules["__main__"] = module
    exec(compile(source, entry, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - its purpose
    return module


def find(module, name):
    """Find the function, also as a method of a class `Solution`."""
    found = getattr(module, name, None)
    if found is None and hasattr(module, "Solution"):
        found = getattr(module.Solution(), name, None)
    if not callable(found):
        raise NoAnswer(f"The program defines no function `{name}`.")
    return found


def call(function, arguments):
    """Call it, and wait for what it returns."""
    value = function(*arguments)
    if type(value) is Coroutine:
        import asyncio  # noqa: PLC0415 - few programs need it

        return asyncio.run(value)
    return value


def encoded(value, name):
    """Write a value as JSON."""
    try:
        text = "".join(encode(value, 0))
    except (TypeError, ValueError, RecursionError) as error:
        raise NoAnswer(f"`{name}` returned what JSON cannot hold: {error}.") from None
    if len(text) >= MOST:
        raise NoAnswer(f"`{name}` returned more than {MOST >> 20} MiB of JSON.")
    return text


def leave(place, name, text):
    """Leave the one answer; a copy of the process that has returned as well leaves none."""
    if getpid() != HERE:
        return
    umask(0o022)
    mkdir(place)
    file = open_file(f"{place}/{name}", NEW)
    data = text.encode(errors="replace") + b"\n"  # by its last line it is known to be whole
    while data:
        data = data[write(file, data) :]
    close(file)


def without_ours(traceback):
    """Leave out the frames of this file, with which a traceback begins."""
    while traceback is not None and traceback.tb_frame.f_globals is globals():
        traceback = traceback.tb_next
    return traceback


if __name__ == "__main__":
    main()
