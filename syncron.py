"""The ``syncron`` command."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from typing import NoReturn

from syncron_lib import OBJECTS_BETWEEN_COLLECTIONS


def main() -> NoReturn:
    """Run the command line, or the helper where ``--serve`` comes first, and end the process.

    The interpreter is not taken down in order: nothing is left to be cleaned up, and to free
    every module and the tree one by one takes as long as reaching a machine nearby.
    """
    status = _run()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    os._exit(status)


def _run() -> int:
    # Until the client can say more, Ctrl-C ends the process as it ends any other.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    # The helper's start is on every run's critical path, so it loads no part of the client.
    if sys.argv[1:2] == ["--serve"]:
        from syncron_lib.helper.main import main as serve

        return serve(sys.argv[2:])
    from syncron_lib.cli.main import main as run

    return run()


if __name__ == "__main__":
    main()
