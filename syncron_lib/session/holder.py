"""Who runs this."""

from __future__ import annotations

import getpass
import os
import socket
import time


def holder() -> str:
    """Who runs this, for whoever finds the root locked."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"user {os.geteuid()}"
    started = time.strftime("%H:%M:%S")
    return (
        f"started by {user} on {socket.gethostname()} (client process {os.getpid()}) at {started}"
    )
