"""The ``syncron`` command."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command line, or the helper where ``--serve`` comes first; the exit code.

    The helper's start is on every run's critical path, so it loads no part of the client.
    """
    # Until the client can say more, Ctrl-C ends the process as it ends any other.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["--serve"]:
        from syncron_lib.helper.main import main as serve

        return serve(sys.argv[2:])
    from syncron_lib.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
