"""A Modal of our own on this machine, for tests, benchmarks and a look without an account.

Theory of operation
-------------------
Modal's own client, unpatched, talks to one port: its control plane and its workers are two gRPC
services behind the same plain http address, which it accepts for a server on 127.0.0.1.

    Modal's client ──h2c──► door ──► rpc ──► account | sandboxes | router
                            tokens   faults               │
                            counts                        ▼
                                         box ── cell ──bubblewrap──► process 1 (box_init)
                                          │                               │ fork, exec
                                          └── stdin, stdout, stderr ──► programs

* `server.py` binds the port and owns everything; on leaving it ends every box.
* `rpc.py` makes a service out of a protobuf descriptor. What this server has no method for is
  answered UNIMPLEMENTED and written down by name. `faults.py` is the switchboard: errors,
  delays, lost answers, cut streams, broken connections. `tokens.py` is the door.
* `account.py`, `sandboxes.py` and `router.py` are the methods; `state.py` is what they know.
* `box.py` is one sandbox. It belongs to the server's task group and not to the call that made
  it: a caller that hangs up leaves an orphan, as with Modal.
* `cell.py` starts bubblewrap with the view of `view.py`, on the parts of `host.py`. As the
  host's root it maps three ids into the box: its root, 1000 and 65534, each an unused id
  outside. The box's root may change its uid, kill, chown and mount in its own view; it may not
  trace or make devices, and a system call filter lies over all of it. An ordinary user can map
  one id only (`LoopbackModal.has_two_uids`): a program there is no other user than its
  supervisor and could end it, which nobody but a developer would do to himself.
* `box_init.py` is process 1: it forks programs on the pipes that it is handed, and reports how
  they end. It knows nothing else.
* `bytelog.py` keeps what a program wrote, so that a cut stream resumes at a byte; `stdin.py`
  takes writes by offset, so that a repeated one is not doubled.
* `memory.py` ends a whole box that takes too much, before anything in it can tell.

Who waits for whom: a box ends when process 1 does. Whoever wants to end it writes the reason
down first and kills process 1; the kernel then ends the rest, the pipes reach their end, the
readers of the logs see the last byte, and only then is the box's result there to wait for.
After a kill -9 of the server the kernel ends all boxes at once (they die with the thread that
started them); their empty cgroups and the folder are removed by the next server.

What Modal has and this has not: V1 sandboxes, terminals, volumes, secrets by id, tunnels,
snapshots, sidecars, file systems of images (every image is the host's /usr with the tools given),
CPU limits. The root of a box is read-only but for /tmp, /var/tmp, /root, /home and /box.
"""

from app.executors.modal.loopback.box import Box, Status
from app.executors.modal.loopback.faults import Fault, Faults
from app.executors.modal.loopback.rate import Rate
from app.executors.modal.loopback.server import LoopbackModal
from app.executors.modal.loopback.tokens import Token, new_token

__all__ = ["Box", "Fault", "Faults", "LoopbackModal", "Rate", "Status", "Token", "new_token"]
