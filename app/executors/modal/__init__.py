"""Programs in Modal sandboxes.

Theory of operation
-------------------
A run gets a *box*: a Modal sandbox of its own, used once, without network, secrets or identity.

    server ──create, exec (pool, ahead of time)──► box: supervisor ──fork, drop uid──► program
       └── stdin of the exec: the job ─────────────────►│
       └── stdout of the exec: frames ◄─────────────────┘

* `account.py` is one token's connection: all public calls to Modal, each with a time limit
  (`calls.py`). `private.py` has every touch of what is not public, `errors.py` what the client
  raises.
* `pool.py` keeps boxes ready whose supervisor waits, so that a warm run costs one call before its
  program starts. `bucket.py` is how fast boxes may be created.
* `box.py` is a sandbox with a supervisor in it; `supervisor.py` is the text that runs there, and
  `frames.py` reads what it reports.
* `sandbox.py` is one run: claim, hand over, follow, and once more when Modal takes the box away.
  `attempt.py` is what one box reports of it, read by `reading.py`; `typist.py` types into it.
* A run's place is stored before its program starts. When the server dies, another replays what
  the supervisor has reported since the beginning (`ModalExecutor.reattach`); `reaper.py` ends the
  boxes of dead servers that nobody takes over.
* `executor.py` is the `Executor` that the rest of the house knows.

The supervisor enforces the limits exactly and says what it observed; Modal's own limits are set
a little wider and are the backstop. When a box goes without a report, Modal's own status of it
says whether the kernel killed it for its memory (the program's fault) or it was evicted (ours).
"""
