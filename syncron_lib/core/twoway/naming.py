"""Names of conflict copies: the same wherever a conflict is resolved.

Made of the content that is kept, and of neither host nor time: so two replicas that resolve one
conflict independently make one file of one name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from syncron_lib.core.names import NAME_MAX

_MARK = b".syncron-conflict-"
_MARKED = re.compile(rb"\.syncron-conflict-[0-9a-f]{10,32}")
_LEAST, _STEP, _MOST = 10, 6, 32


def unmarked(name: bytes) -> bytes:
    """The name that a conflict copy is one of, but for what a long one was cut by; any other as it
    is."""
    return (_MARKED.sub(b"", name) or name) if _MARK in name else name


def conflict_names(name: bytes, fp: bytes) -> Iterator[bytes]:
    """The names that a version ``fp`` of ``name`` may get, the first that is free of other content
    counts. A mark that is there is replaced, not added to."""
    plain = unmarked(name)
    stem, dot, ending = plain.rpartition(b".")
    if not stem:  # no ending, or a hidden file's whole name
        stem, dot, ending = plain, b"", b""
    shown = fp.hex().encode() or b"0" * _MOST
    for digits in range(_LEAST, _MOST + 1, _STEP):
        mark = _MARK + shown[:digits]
        rest = dot + ending
        if len(mark) + len(rest) + 1 > NAME_MAX:
            rest = b""
        yield cut(stem, NAME_MAX - len(mark) - len(rest)) + mark + rest


def cut(name: bytes, length: int) -> bytes:
    """``name`` in at most ``length`` bytes, and not in the midst of a character."""
    if len(name) <= length:
        return name
    end = length
    while end > 0 and name[end] & 0xC0 == 0x80:
        end -= 1
    return name[: end or length]
