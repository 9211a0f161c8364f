"""Which attributes a run compares, and how both ends are told."""

from __future__ import annotations

from collections.abc import Sequence

from syncron_lib.core.extended import Kinds
from syncron_lib.core.merkle import Profile
from syncron_lib.core.options import RunOptions
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import UsageError
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import IdPair


def profile_of(options: RunOptions, receiver_uid: int, source_uid: int) -> Profile:
    keep = options.keep
    is_root = receiver_uid == 0 if keep.super_user is None else keep.super_user
    is_root = is_root or options.fakes[1]
    sees_all = source_uid == 0 or options.fakes[0]
    kinds = Kinds.NONE
    if keep.xattrs:
        kinds = Kinds.ALL if is_root and sees_all else Kinds.USER
    if keep.acls:
        kinds |= Kinds.ACLS
    if keep.atimes:
        kinds |= Kinds.ATIMES
    return Profile(
        keep.permissions,
        keep.times,
        is_root if keep.owner is None else keep.owner,
        is_root if keep.group is None else keep.group,
        {},
        {},
        keep.hard_links,
        int(kinds),
        keep.omit_dir_times,
        keep.omit_link_times,
        keep.executability and not keep.permissions,
    )


def chosen_algorithm(wanted: str | None, first: Endpoint, *others: Endpoint) -> str:
    """By which digests files are compared: the best that all have, unless one is ``wanted``."""
    for name in first.hello.algorithms:
        if wanted in (None, name) and all(name in other.hello.algorithms for other in others):
            return name
    if wanted is None:
        return "sha256-128"
    raise UsageError(
        f"--checksum-choice asks for {wanted}, which not every machine here has: install xxhash"
        " for the Python there, or leave the option out."
    )


def seal_request(
    algorithm: str,
    profile: Profile,
    users: Sequence[IdPair],
    groups: Sequence[IdPair],
    complete: bool,
) -> messages.Seal:
    return messages.Seal(
        algorithm,
        profile.permissions,
        profile.times,
        profile.owner,
        profile.group,
        users,
        groups,
        complete,
        hard_links=profile.hard_links,
        extended=profile.extended,
        omit_dir_times=profile.omit_dir_times,
        omit_link_times=profile.omit_link_times,
        executability=profile.executability,
    )
