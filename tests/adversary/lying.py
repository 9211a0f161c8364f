"""A helper that lies, as a program: ``python -m tests.adversary.lying SIDE ATTACK --serve``. It is
an honest one behind a relay that bends one step, by the name of an attack; with any other name it
bends none."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading

from syncron_lib.transport import marker
from tests.adversary import test_evil_destination, test_evil_source
from tests.adversary.evil import Relay
from tests.endpoint.ends import fork

BY_A_SOURCE = {attack.name: attack for attack in test_evil_source.ATTACKS}
BY_A_DESTINATION = {attack.name: attack for attack in test_evil_destination.ATTACKS}


def _pump(read: int, write: int) -> None:
    with contextlib.suppress(OSError):
        while data := os.read(read, 1 << 20):
            while data:
                data = data[os.write(write, data) :]


def main(side: str, name: str) -> int:
    """Serve on standard input and output."""
    helper, child = fork()
    ours, theirs = socket.socketpair()
    marker.announce(os.environ)
    relay = Relay(theirs, helper, (BY_A_SOURCE if side == "source" else BY_A_DESTINATION).get(name))

    def incoming() -> None:
        _pump(0, ours.fileno())
        with contextlib.suppress(OSError):
            ours.shutdown(socket.SHUT_WR)

    threading.Thread(target=incoming, daemon=True).start()
    _pump(ours.fileno(), 1)
    os.close(1)
    relay.join()
    os.waitpid(child, 0)
    print(f"bent {relay.bent} times", file=sys.stderr)
    return 0


if __name__ == "__main__":
    os._exit(main(*sys.argv[1:3]))
