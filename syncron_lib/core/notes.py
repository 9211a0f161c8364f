"""How rsync notes extended attributes and ACLs where only root may set them (``--fake-super``).

An ACL stands in four numbers (owner, group, mask, others), and two more for each user and group
that it names. What the mode says of these is not noted, or not believed.
"""

from __future__ import annotations

import struct
from typing import Optional

from syncron_lib.core.extended import (
    ACCESS,
    ACL_ENTRY,
    ACL_NAMES,
    ACL_VERSION,
    DEFAULT,
    acl_entries,
)

NOTES = b"user.rsync."
"""Before the names of attributes of other namespaces. What has a ``%`` behind it is rsync's own."""
_ACL_NOTES = {ACCESS: NOTES + b"%aacl", DEFAULT: NOTES + b"%dacl"}
_ACLS = {note: name for name, note in _ACL_NOTES.items()}
_OTHERS = (b"security.", b"trusted.", b"system.")
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ENTRY = 0x80
_IS_USER = 1 << 31
_NO_ID = 0xFFFFFFFF
_VERSION = ACL_VERSION.pack(2)
_FOUR = struct.Struct("<4I")
_NAMED = struct.Struct("<2I")


class Garbled(ValueError):
    """What no ACL is noted as, or what is no ACL."""


def noted_name(name: bytes) -> bytes:
    """As what the attribute ``name`` is noted: what else would be read back as another too."""
    if name in ACL_NAMES:
        return _ACL_NOTES[name]
    return NOTES + name if _is_disguised(name) else name


def named(note: bytes) -> Optional[bytes]:
    """The inverse; None for what is nothing that an entry has: the copy's own, or rsync's."""
    if not note.startswith(b"user."):
        return None
    if note.startswith(NOTES + b"%"):
        return _ACLS.get(note)
    inner = note[len(NOTES) :]
    return inner if note.startswith(NOTES) and _is_disguised(inner) else note


def _is_disguised(name: bytes) -> bool:
    while name.startswith(NOTES):
        name = name[len(NOTES) :]
    return name.startswith(_OTHERS)


def note_of(name: bytes, acl: bytes) -> tuple[int, bytes]:
    """The permissions that an ACL says, and how it is noted; nothing for one that says no more.
    Raises Garbled."""
    found: dict[int, int] = {}
    parts = []
    for tag, allowed, number in acl_entries(acl):
        if allowed > 7 or tag in found:
            raise Garbled
        if tag in (_USER, _GROUP):
            parts.append(_NAMED.pack(number, allowed | (_IS_USER if tag == _USER else 0)))
        else:
            found[tag] = allowed
    mask = found.get(_MASK, _NO_ENTRY)
    try:
        owner, group, others = found[_USER_OBJ], found[_GROUP_OBJ], found[_OTHER]
    except KeyError:
        raise Garbled from None
    if not acl.startswith(_VERSION) or (parts and mask == _NO_ENTRY):
        raise Garbled
    bits = owner << 6 | (group if mask == _NO_ENTRY else mask) << 3 | others
    if name == DEFAULT:
        return bits, b"".join((_FOUR.pack(owner, group, mask, others), *parts))
    if mask == _NO_ENTRY:
        return bits, b""
    four = _FOUR.pack(_NO_ENTRY, _NO_ENTRY if group == mask else group, mask, _NO_ENTRY)
    return bits, b"".join((four, *parts))


def acl_of(name: bytes, note: bytes, mode: int) -> bytes:
    """The ACL that is noted of an entry with ``mode``; empty where that says no more than the
    mode. Raises Garbled."""
    if len(note) < _FOUR.size or (len(note) - _FOUR.size) % _NAMED.size:
        raise Garbled
    owner, group, mask, others = _FOUR.unpack_from(note)
    named_ids = list(_NAMED.iter_unpack(note[_FOUR.size :]))
    if name == ACCESS:
        if mask == _NO_ENTRY and not named_ids:
            return b""
        owner, mask, others = mode >> 6 & 7, mode >> 3 & 7, mode & 7
        group = mask if group == _NO_ENTRY else group
    entries = [(_USER_OBJ, owner, _NO_ID), (_GROUP_OBJ, group, _NO_ID), (_OTHER, others, _NO_ID)]
    for number, allowed in named_ids:
        tag = _USER if allowed & _IS_USER else _GROUP
        entries.append((tag, allowed & ~_IS_USER, number))
    if mask != _NO_ENTRY:
        entries.append((_MASK, mask, _NO_ID))
    if any(allowed > 7 for _, allowed, _ in entries):
        raise Garbled
    entries.sort(key=lambda entry: (entry[0], entry[2]))  # as the kernel has them
    return b"".join((_VERSION, *(ACL_ENTRY.pack(*entry) for entry in entries)))
