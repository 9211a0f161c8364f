"""The words behind ``--serve``: how the forced command of an account restricts it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Optional

from syncron_lib.core.names import shown
from syncron_lib.core.permission import EVERYTHING, MODES, Effect
from syncron_lib.errors import UsageError
from syncron_lib.fs.reach import ANYWHERE, Reach
from syncron_lib.fs.restriction import Within

_RESTRICT = "--restrict"


def reach_of(words: Sequence[str]) -> Reach:
    """What a helper that was started with these words reaches. Raises `UsageError` and
    `RootError`: what is not understood must not serve as if it had not been said."""
    directories: list[bytes] = []
    mode: Optional[str] = None
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        option, is_given, value = word.partition("=")
        if option == _RESTRICT:
            if not is_given and not waiting:
                raise _refused(f"{_RESTRICT} needs a directory")
            directories.append(os.fsencode(value if is_given else waiting.pop(0)))
        elif word not in MODES:
            raise _refused(f"{shown(os.fsencode(word))} is no option of --serve")
        elif mode not in (None, word):
            raise _refused(f"{mode} and {word} exclude each other")
        else:
            mode = word
    if mode is not None and not directories:
        raise _refused(f"{mode} needs {_RESTRICT} DIR, which may be /")
    may: Effect = EVERYTHING if mode is None else MODES[mode]
    return Within(directories, may) if directories else ANYWHERE


def _refused(what: str) -> UsageError:
    return UsageError(
        f"The helper of this account is started with a wrong command line: {what};"
        " correct it in its authorized_keys."
    )
