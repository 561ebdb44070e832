"""What an attack is, and the words that attacks are written in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.execution import Status
from app.executors.local.seccomp import MACHINE
from app.executors.local.syscalls import ARCHITECTURES

SECRET = "HOSTSECRET-1234"
"""In the server's environment and in a file of the host; no program may ever print it."""
CANARY = "/var/tmp/greenroom-canary.txt"
BREACH = "BREACH"
"""What an attack prints when it got through."""

OK, FAIL, CRASH = Status.SUCCEEDED, Status.FAILED, Status.CRASHED
TIME, MEMORY, OUTPUT = (
    Status.TIME_LIMIT_EXCEEDED,
    Status.MEMORY_LIMIT_EXCEEDED,
    Status.OUTPUT_LIMIT_EXCEEDED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """A hostile program and what must hold for it, besides what holds for all."""

    source: str
    language: str = "PYTHON"
    ends: tuple[Status, ...] = (OK,)
    """The verdicts that are right."""
    says: str = ""
    """A regular expression that its standard output contains: proof that it has tried."""
    hides: str = ""
    """A regular expression that its standard output does not contain."""
    code: int | None = None
    signal: str | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    within: float = 5.0
    """Seconds until the answer."""
    times: int = 1
    """How often to run it, one after the other; each must end rightly."""
    needs_counters: str = ""
    """Why only the kernel's own counters can stop it, if that is so."""


# For Python: bare system calls by name, and a protocol of what was tried.
PRELUDE = f"""
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {json.dumps(dict(ARCHITECTURES[MACHINE].numbers))}
libc.syscall.restype = ctypes.c_long
def call(name, *args):
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in args]
    result = libc.syscall(ctypes.c_long(NUMBERS[name]), *wide)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result
def attempt(what, function, *args):
    try:
        result = function(*args)
    except (OSError, ValueError) as error:
        print("refused", what, errno.errorcode.get(getattr(error, "errno", None), error))
    else:
        print("{BREACH}", what, result)
"""


def bare(source: str) -> str:
    """Put the words for bare system calls before a Python program."""
    return PRELUDE + source
