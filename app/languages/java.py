"""Java, by a JDK from the host's packages."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from app.domain.language import (
    BUILD,
    FOLDER,
    ImageNeeds,
    Language,
    Mount,
    NotFound,
    Sources,
    Toolchain,
)
from app.domain.limits import MIB, Limits
from app.languages._host import chosen
from app.languages._java_names import file_name, main_class

_JDKS = Path("/usr/lib/jvm")
_CLASSES = f"{FOLDER}/{BUILD}"
# Few threads, whatever the machine has: each weighs on the limits of processes and of memory.
_SMALL = ("-XX:+UseSerialGC", "-XX:ActiveProcessorCount=2", "-XX:-UsePerfData", "-Xshare:auto")


def find(executable: Path | None) -> tuple[Toolchain, ...]:
    """Find every JDK, the newest first; a run-time alone does not compile."""
    if executable is not None:
        named = chosen(executable)
        return (replace(named, mounts=(*named.mounts, *_configuration(named.executable))),)
    # Debian keeps links to the same under other names.
    found = {path.resolve().parent / "java" for path in _JDKS.glob("*/bin/javac")}
    if not found:
        message = "there is no JDK; `apt install default-jdk-headless` brings one"
        raise NotFound(message)
    newest_first = sorted(found, key=_version, reverse=True)
    return tuple(
        Toolchain(executable=java, mounts=tuple(_configuration(java))) for java in newest_first
    )


def _configuration(java: Path) -> Iterator[Mount]:
    """Debian keeps a JDK's configuration in /etc, and no JVM lives long without it."""
    security = (java.parent.parent / "conf" / "security" / "java.security").resolve()
    if security.is_relative_to("/etc"):
        folder = Path("/etc", security.parts[2])
        yield Mount(source=folder, target=folder)


def _version(java: Path) -> int:
    found = re.search(r"\d+", java.parent.parent.name)  # the first: the other is of `amd64`
    return int(found[0]) if found else 0


def _run(sources: Sources, limits: Limits) -> tuple[str, ...]:
    """Let the heap grow a little beyond the limit, so that the verdict on more is the kernel's.

    A part of the heap is always empty, and the rest would not fill the limit.
    """
    heap = f"-Xmx{max(2, limits.memory * 5 // 4 // MIB)}m"
    return (*_SMALL, heap, "-cp", _CLASSES, main_class(sources))


LANGUAGE = Language(
    id="JAVA",
    name="Java",
    source_name="Main.java",
    editor_mode="java",
    memory=512 * MIB,
    compile=lambda sources, _: (
        *_SMALL,
        # The compiler lives for a second: what the better compiler of the JVM does pays late.
        "-XX:TieredStopAtLevel=1",
        *("--module", "jdk.compiler/com.sun.tools.javac.Main"),
        *("-encoding", "UTF-8", "-d", _CLASSES, *sources.paths),
    ),
    run=_run,
    names=file_name,
    version_arguments=("-version",),
    version_pattern=r'version "([^"]+)"',
    example="public class Main {\n    public static void main(String[] args) {\n"
    '        System.out.println("Hello, world!");\n    }\n}\n',
    find=find,
    image=ImageNeeds(executable="java", apt=("default-jdk-headless",)),
)
