"""Proves each wall in a real cell, before anything hostile runs in one."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import anyio

from app.domain.errors import Check, ExecutorError
from app.domain.execution import Exit, KillReason
from app.domain.language import Runtime
from app.domain.limits import DEFAULT_LIMITS, MIB

_PROBE = """
import json, os, re, sys

def writable(path):
    try:
        os.close(os.open(path, os.O_WRONLY))
        return True
    except OSError:
        return False

status = dict(re.findall(r"(\\w+):\\s*(.*)", open("/proc/self/status").read()))
json.dump({
    "capabilities": [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "no_new_privs": status["NoNewPrivs"],
    "seccomp": status["Seccomp"],
    "pids": [int(name) for name in os.listdir("/proc") if name.isdigit()],
    "writable": [path for path in (
        "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/self/oom_score_adj",
        "/proc/sysrq-trigger", "/etc/passwd", "/usr", "/greenroom/init.pyc",
    ) if writable(path)],
    "interfaces": [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]],
    "routes": len(open("/proc/net/route").readlines()) - 1,
    "sees_canary": any(os.path.exists(root + sys.argv[1]) for root in ("", "/proc/1/root")),
    "environment": sorted(os.environ),
    "descriptors": len(os.listdir("/proc/self/fd")) - 1,
}, sys.stdout)
"""
_NODE_PROBE = """
const fs = require("fs");
const read = (path) => fs.readFileSync(path, "utf8");
const writable = (path) => {
  try { fs.closeSync(fs.openSync(path, "r+")); return true } catch { return false }
};
const status = Object.fromEntries(
  read("/proc/self/status").split("\\n").map((line) => line.split(/:\\s*/)));
const canary = process.argv[2];
process.stdout.write(JSON.stringify({
  capabilities: ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map((name) => status[name]),
  no_new_privs: status.NoNewPrivs,
  seccomp: status.Seccomp,
  pids: fs.readdirSync("/proc").filter((name) => /^\\d+$/.test(name)).map(Number),
  writable: [
    "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/self/oom_score_adj",
    "/proc/sysrq-trigger", "/etc/passwd", "/greenroom/init.pyc",
  ].filter(writable),
  interfaces: read("/proc/net/dev").trim().split("\\n").slice(2)
    .map((line) => line.split(":")[0].trim()),
  routes: read("/proc/net/route").trim().split("\\n").length - 1,
  sees_canary: ["", "/proc/1/root"].some((root) => fs.existsSync(root + canary)),
  environment: Object.keys(process.env).sort(),
  descriptors: 3,
}));
"""
_BOMB = "data = []\nwhile True:\n    data.append(b'x' * (1 << 20))\n"
_NODE_BOMB = "const data = []; for (;;) data.push(Buffer.alloc(1 << 20, 1))"
PROGRAMS = {Runtime.CPYTHON: (_PROBE, _BOMB), Runtime.NODE: (_NODE_PROBE, _NODE_BOMB)}
_BOMB_LIMITS = replace(DEFAULT_LIMITS, memory=96 * MIB, wall_time=10.0)
_NO_CAPABILITY = "0" * 16
_ENVIRONMENT = {"HOME", "LANG", "PATH", "TMPDIR", "USER"}

RunProgram = Callable[..., Any]


async def prove(
    run: RunProgram,
    *,
    counts_exactly: bool,
    missing: str,
    runtime: Runtime = Runtime.CPYTHON,
) -> list[Check]:
    """Start two cells and judge what they say.

    Args:
        run: runs a program in a cell; returns its facts, its output and the host uid of its
            process 1.
        counts_exactly: whether there are cgroups.
        missing: why there are none.
        runtime: what runs the programs.
    """
    probe, bomb_source = PROGRAMS[runtime]
    async with anyio.NamedTemporaryFile(prefix="greenroom-canary-") as canary:
        name = str(canary.name)
        await anyio.Path(name).chmod(0o644)
        end, said, host_uid = await run(probe, (name,), DEFAULT_LIMITS)
    try:
        facts = json.loads(said)
    except ValueError:
        raise ExecutorError(f"the self-test ended with {end}: {said[-500:]!r}") from None
    bomb, _, _ = await run(bomb_source, (), _BOMB_LIMITS)
    return [
        *_walls(facts, host_uid),
        _memory(bomb, counts_exactly=counts_exactly, missing=missing),
    ]


def _walls(facts: Mapping[str, Any], host_uid: int) -> Iterator[Check]:
    yield _check(
        "user",
        host_uid != 0 or os.geteuid() != 0,
        f"programs run as host uid {host_uid}",
        "give the server the right to change its uid, or run it as an ordinary user",
    )
    held = [sets for sets in facts["capabilities"] if sets != _NO_CAPABILITY]
    yield _check("capabilities", not held, ", ".join(held) or "none in any set")
    is_locked = facts["no_new_privs"] == "1"
    yield _check("no-new-privs", is_locked, "set" if is_locked else "not set")
    is_filtered = facts["seccomp"] == "2"
    yield _check(
        "system call filter",
        is_filtered,
        "installed" if is_filtered else "not installed",
        "the kernel needs CONFIG_SECCOMP_FILTER",
    )
    yield _check("processes", max(facts["pids"]) <= 3, f"only pids {facts['pids']} are seen")  # noqa: PLR2004
    has_network = facts["interfaces"] != ["lo"] or facts["routes"] > 0
    yield _check("network", not has_network, f"{facts['interfaces']}, {facts['routes']} routes")
    yield _check(
        "host files",
        not facts["sees_canary"],
        "seen" if facts["sees_canary"] else "a file of the host is not seen",
    )
    writable = facts["writable"]
    yield _check("read-only system", not writable, ", ".join(writable) or "nothing is writable")
    extra = set(facts["environment"]) - _ENVIRONMENT
    yield _check("environment", not extra, ", ".join(sorted(extra)) or "only our own")
    descriptors = facts["descriptors"]
    yield _check("descriptors", descriptors == 3, f"{descriptors} are open")  # noqa: PLR2004


def _memory(bomb: Exit, *, counts_exactly: bool, missing: str) -> Check:
    if counts_exactly:
        return _check(
            "memory and CPU time",
            bomb.oom_killed,
            "exact, by cgroups" if bomb.oom_killed else f"the kernel reported no kill: {bomb}",
            "the kernel needs the memory controller with its oom_kill counter",
        )
    is_bounded = bomb.kill_reason is KillReason.MEMORY
    return Check(
        name="memory and CPU time",
        passed=False,
        detail=f"approximate, by looking at the processes: {missing}"
        if is_bounded
        else f"not bounded: {bomb}",
        remedy="run as a systemd service with Delegate=yes, or as root, where cgroups are writable",
        required=not is_bounded,
    )


def _check(name: str, passed: bool, detail: str, remedy: str = "") -> Check:  # noqa: FBT001
    return Check(name=name, passed=passed, detail=detail, remedy=remedy or "please report this")
