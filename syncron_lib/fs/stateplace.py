"""Where everything is remembered: apart from `fs.state`, which needs SQLite for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Optional


def state_place(environment: Mapping[str, str]) -> Optional[str]:
    """``$XDG_STATE_HOME/syncron``, by the XDG base directory rules, whether it is there or not;
    None without a home directory."""
    base = environment.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):  # the specification says to ignore relative ones
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, ".local", "state")
    return os.path.join(base, "syncron")
