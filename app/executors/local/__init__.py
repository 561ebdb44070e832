"""The embedded Linux sandbox.

Theory of operation
-------------------
Each run gets a *cell* of its own, used once:

    server ──vfork, other uid──► bubblewrap ──namespaces, read-only system──► init (process 1)
       │                                                                      │ fork, drop all
       └── control socket: job in, records out ───────────────────────────────┤
       └── stdin, stdout, stderr: pipes ──────────────────────────────────► program

* `stage.py` lays out a small folder that every cell sees parts of, and starts all cells from
  one thread: the kernel ends a cell when the *thread* that forked it ends, and as root that
  thread has a mount namespace of its own in which unreachable toolchains are made reachable,
  and a user of its own that owns nothing on this host.
* `bubblewrap.py` says what a cell sees: user, mount, pid, network, ipc and uts namespaces, a
  read-only system, fresh /proc and /dev, no environment.
* `init.py` runs as process 1 inside the cell. It joins the run's cgroup, builds the scratch
  space, starts the program without capabilities and behind the system call filter of
  `seccomp.py`, and reports the raw wait status. When it leaves, the kernel ends all that is
  left in the cell.
* `cell.py` starts a cell and ends it; `control.py` is the server's end of the control socket.
* `run.py` runs one program in a cell: it feeds and reads it through `pipes.py`, watches its
  limits, writes down the reason before it kills, and collects the facts.
* `meter.py` counts what a run uses: `cgroups.py` by the kernel's own counters, or `census.py`,
  approximately, by looking at the cell's processes where there are no cgroups.
* `warm.py` keeps cells ready, forked by `forkserver.py` from a cell of its own, in which an
  interpreter is up (`zygote.py` is the server's end of it); `preload.js` lets a Node wait.
  `warming.py` keeps them only for languages whose self-test passes in such a cell as well.
* `selftest.py` starts a real cell before anything hostile does, and proves each wall.
* `host.py` says what this host gives, limit by limit, and what to do where it does not.
* `executor.py` is the `Executor` that the rest of the house knows.

Who waits for whom: `Run` waits for a record or for the death of process 1 (a pidfd that
came out of the cell itself, so it cannot be anybody else's), then for the end of both outputs.
Nothing inside a cell is ever waited for without a limit.
"""
