"""The line by which the client tells the helper's bytes from what a shell printed before."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

VARIABLE = "SYNCRON_MARKER"

_IN_COMMAND = re.compile(VARIABLE + r"=([0-9a-f]{16})\b")


def line(marker: str, words: str) -> bytes:
    """The line itself: ``syncron-MARKER WORDS``."""
    return b"syncron-%s %s\n" % (marker.encode("ascii"), words.encode("ascii"))


def announce(environment: Mapping[str, str], fd: int = 1) -> None:
    """Say on ``fd`` that an installed syncron is about to serve.

    Under a forced command the shell line that sets the variable has not run; the server keeps
    it in ``SSH_ORIGINAL_COMMAND``, of which nothing but the marker is believed. Without a marker
    nothing is said: somebody started ``syncron --serve`` by hand.
    """
    marker = environment.get(VARIABLE, "")
    if not re.fullmatch("[0-9a-f]{16}", marker):
        found = _IN_COMMAND.search(environment.get("SSH_ORIGINAL_COMMAND", ""))
        if found is None:
            return
        marker = found.group(1)
    data = line(marker, "started installed")
    while data:
        data = data[os.write(fd, data) :]
