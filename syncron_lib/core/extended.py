"""Extended attributes and ACLs: which of an entry's are kept, and as what they are compared.

A *set* is what is kept of one entry: values by name. POSIX ACLs are attributes too, as Linux has
them (``system.posix_acl_access`` and ``system.posix_acl_default``), with the users and groups in
them numbered as at the receiver. A *mark* is the pair of digests, of a set's ACLs and of the rest.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Container, Iterable, Mapping
from enum import IntFlag

from syncron_lib.core import digest
from syncron_lib.core.links import up, walk_order
from syncron_lib.core.table import Malformed, Reader, pack_blob, pack_names
from syncron_lib.record import NamedTuple

ACCESS, DEFAULT = b"system.posix_acl_access", b"system.posix_acl_default"
ACL_NAMES = frozenset((ACCESS, DEFAULT))
ATIME = b"atime"
"""A time of access in a set, as `pack_time` makes it: an attribute's name has a dot in it."""
_TIME = struct.Struct("<q")
_NAME_MAX, _VALUE_MAX, _SET_MAX = 255, 65536, 1 << 20
"""Linux's limits of a name and of a value; and what we take of one entry: more than any of its
file systems keeps but XFS, which tools that use it for more than a few attributes are not known
for."""
ACL_VERSION = struct.Struct("<I")
ACL_ENTRY = struct.Struct("<HHI")
_ACL_USER, _ACL_GROUP = 0x02, 0x08
_ACL_USER_OBJ, _ACL_GROUP_OBJ, _ACL_MASK, _ACL_OTHER = 0x01, 0x04, 0x10, 0x20

Set = Mapping[bytes, bytes]


class Kinds(IntFlag):
    """Which attributes a run keeps."""

    NONE = 0
    USER = 1
    """Those of the ``user`` namespace, which are all that a user may set."""
    ALL = 2
    """Those of all namespaces but ``system``."""
    ACLS = 4
    ATIMES = 8
    """Times of access, of all but directories and symlinks."""

    def keeps(self, name: bytes) -> bool:
        """Whether the attribute ``name`` is kept."""
        if name in ACL_NAMES:
            return Kinds.ACLS in self
        if name == ATIME:
            return Kinds.ATIMES in self
        if name.startswith(b"user.rsync.%"):  # what rsync notes there of the copy itself
            return False
        if Kinds.ALL in self:
            return not name.startswith(b"system.")
        return Kinds.USER in self and name.startswith(b"user.")


class Mark(NamedTuple):
    """Digests of a set's ACLs, of its time of access and of its other attributes; zeros for
    none."""

    acls: bytes
    others: bytes
    atime: bytes = digest.UNKNOWN


PLAIN = Mark(digest.UNKNOWN, digest.UNKNOWN)
"""The mark of an entry of which there is nothing to keep."""


def mark_of(algorithm: digest.Algorithm, attributes: Set) -> Mark:
    """The mark of a set."""
    parts: tuple[dict[bytes, bytes], ...] = ({}, {}, {})
    for name, value in attributes.items():
        part = 0 if name in ACL_NAMES else 2 if name == ATIME else 1
        parts[part][name] = value
    return Mark(*(_digest(algorithm, each) for each in parts))


def pack_time(time_ns: int) -> bytes:
    """A time as it stands in a set."""
    return _TIME.pack(time_ns)


def unpack_time(value: bytes) -> int:
    """The inverse."""
    return int(_TIME.unpack(value)[0])


def _digest(algorithm: digest.Algorithm, attributes: Set) -> bytes:
    return algorithm.of(pack_set(attributes))[: digest.SIZE] if attributes else digest.UNKNOWN


def marks_digest(
    algorithm: digest.Algorithm,
    marks: Mapping[bytes, Mark],
    extras: Iterable[bytes] = (),
    implied: Container[bytes] = (),
) -> bytes:
    """What a root with extended attributes covers of them: the marks of all entries that have any,
    but for those at and below ``extras``, and of directories that are ``implied``."""
    tops = frozenset(extras)
    paths = [
        path for path in marks if path not in implied and (not tops or tops.isdisjoint(up(path)))
    ]
    paths.sort(key=walk_order)
    parts = [struct.pack("<I", len(paths)), pack_names(paths)]
    parts.extend(b"".join(marks[path]) for path in paths)
    return algorithm.of(b"".join(parts))[: digest.SIZE]


def pack_set(attributes: Set) -> bytes:
    """A set as bytes, the same for the same set."""
    return b"".join(pack_blob(name) + pack_blob(attributes[name]) for name in sorted(attributes))


def unpack_set(data: bytes, keeps: Callable[[bytes], bool]) -> dict[bytes, bytes]:
    """The inverse of `pack_set`; raises `Malformed` for what it cannot have made, and for
    attributes that are not kept."""
    if len(data) > _SET_MAX:
        raise Malformed("more extended attributes than an entry can have")
    reader = Reader(data)
    found: dict[bytes, bytes] = {}
    last = b""
    while reader.position < reader.end:
        name, value = reader.blob(), reader.blob()
        if not last < name or len(name) > _NAME_MAX or b"\0" in name or not keeps(name):
            raise Malformed("an extended attribute that is not kept")
        if len(value) > _VALUE_MAX:
            raise Malformed("an extended attribute that no system can hold")
        if name == ATIME and len(value) != _TIME.size:
            raise Malformed("a time that is none")
        found[name] = value
        last = name
    return found


def ids_of(acl: bytes) -> tuple[set[int], set[int]]:
    """The users and groups that an ACL names; none where it is not one."""
    users: set[int] = set()
    groups: set[int] = set()
    for tag, _, number in acl_entries(acl):
        if tag == _ACL_USER:
            users.add(number)
        elif tag == _ACL_GROUP:
            groups.add(number)
    return users, groups


def renumbered(acl: bytes, users: Mapping[int, int], groups: Mapping[int, int]) -> bytes:
    """An ACL with other numbers for users and groups, in the order in which the kernel has it."""
    if not (users or groups):
        return acl
    entries = []
    for tag, allowed, number in acl_entries(acl):
        mapping = users if tag == _ACL_USER else groups if tag == _ACL_GROUP else {}
        entries.append((tag, mapping.get(number, number), allowed))
    if not entries:
        return acl
    packed = [ACL_ENTRY.pack(tag, allowed, number) for tag, number, allowed in sorted(entries)]
    return acl[: ACL_VERSION.size] + b"".join(packed)


def with_mode(acl: bytes, mode: int) -> bytes:
    """The access ACL that an entry has when it gets ``mode``."""
    masked = any(tag == _ACL_MASK for tag, _, _ in acl_entries(acl))
    group = _ACL_MASK if masked else _ACL_GROUP_OBJ
    now = {_ACL_USER_OBJ: mode >> 6 & 7, group: mode >> 3 & 7, _ACL_OTHER: mode & 7}
    entries = [(tag, now.get(tag, bits), number) for tag, bits, number in acl_entries(acl)]
    return acl[: ACL_VERSION.size] + b"".join(ACL_ENTRY.pack(*each) for each in entries)


def acl_entries(acl: bytes) -> list[tuple[int, int, int]]:
    """Tag, permissions and user or group of each entry of an ACL; none where it is not one."""
    body = acl[ACL_VERSION.size :]
    if len(acl) < ACL_VERSION.size or len(body) % ACL_ENTRY.size:
        return []
    return list(ACL_ENTRY.iter_unpack(body))
