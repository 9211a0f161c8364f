"""What this program says of itself when a conversation begins."""

from __future__ import annotations

import os
import sys

from syncron_lib import __version__
from syncron_lib.core import digest
from syncron_lib.fs import chunking
from syncron_lib.protocol import compression, messages


def greeting(timeout_ms: int = 0, rate: int = 0) -> messages.Hello:
    """What this program can do; ``rate``: how fast the other side may send."""
    return messages.Hello(
        messages.VERSION,
        messages.VERSION,
        f"syncron {__version__}",
        ".".join(map(str, sys.version_info[:3])),
        os.uname().nodename,
        os.geteuid(),
        [algorithm.name for algorithm in digest.available()],
        compression.available(),
        chunking.available(),
        timeout_ms,
        rate,
    )
