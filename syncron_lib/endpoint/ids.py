"""Users and groups by number and by name, on the machine that this runs on."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Optional

from syncron_lib.core.ids import IdRule, target_of
from syncron_lib.core.names import shown
from syncron_lib.errors import RootError
from syncron_lib.protocol import messages

if TYPE_CHECKING:
    from syncron_lib.fs.extended import Reading


def named_users(numbers: Iterable[int]) -> list[messages.IdName]:
    """User ids with their names here, which are empty where there is none."""
    return _named(numbers, _name_of_uid)


def named_groups(numbers: Iterable[int]) -> list[messages.IdName]:
    """Group ids with their names here, which are empty where there is none."""
    return _named(numbers, _name_of_gid)


def with_acls(scanned: messages.Scanned, extended: Optional[Reading]) -> messages.Scanned:
    """What was seen, with the users and groups that ACLs name."""
    if extended is None:
        return scanned
    users, groups = extended.ids()
    users.update(seen.number for seen in scanned.users)
    groups.update(seen.number for seen in scanned.groups)
    return scanned._replace(users=named_users(users), groups=named_groups(groups))


def mapped(request: messages.MapIds) -> messages.MappedIds:
    """The source's users and groups that have another number here. Raises RootError for a name
    that a rule leads to and nobody has."""
    numeric = request.numeric
    return messages.MappedIds(
        _pairs(request.users, _uid_of_name, request.user_rules, numeric),
        _pairs(request.groups, _gid_of_name, request.group_rules, numeric),
    )


def _named(ids: Iterable[int], name_of: Callable[[int], bytes]) -> list[messages.IdName]:
    return [messages.IdName(number, name_of(number)) for number in sorted(ids)]


def _name_of_uid(number: int) -> bytes:
    try:
        return os.fsencode(pwd.getpwuid(number).pw_name)
    except (KeyError, OverflowError):
        return b""


def _name_of_gid(number: int) -> bytes:
    try:
        return os.fsencode(grp.getgrgid(number).gr_name)
    except (KeyError, OverflowError):
        return b""


def _uid_of_name(name: bytes) -> int:
    return pwd.getpwnam(os.fsdecode(name)).pw_uid


def _gid_of_name(name: bytes) -> int:
    return grp.getgrnam(os.fsdecode(name)).gr_gid


def _pairs(
    ids: Iterable[messages.IdName],
    number_of: Callable[[bytes], int],
    rules: Sequence[IdRule],
    numeric: bool,
) -> list[messages.IdPair]:
    """Ids that have another number here, by the rules or by name. As rsync does, root stays root,
    and a name that is not known here leaves the number as it is."""
    targets = {rule.target: _number(rule.target, number_of) for rule in rules}
    pairs = []
    for number, name in ids:
        called = b"" if numeric else name or (b"root" if number == 0 else b"")
        target = target_of(rules, number, called) if rules else None
        here = number
        if target is not None:
            here = targets[target]
        elif number and called:
            with contextlib.suppress(KeyError, ValueError):
                here = number_of(name)
        if here != number:
            pairs.append(messages.IdPair(number, here))
    return pairs


def _number(target: bytes, number_of: Callable[[bytes], int]) -> int:
    if target.isdigit():
        return int(target)
    try:
        return number_of(target)
    except (KeyError, ValueError):
        raise RootError(
            f"Nobody is called {shown(target)} at the destination. Nothing was changed; name"
            " another user or group, or a number."
        ) from None
