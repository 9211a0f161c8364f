"""Which attributes a run compares, and how both ends are told."""

from __future__ import annotations

from collections.abc import Sequence

from syncron_lib.core.extended import Kinds
from syncron_lib.core.merkle import Profile
from syncron_lib.core.options import RunOptions
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import IdPair


def profile_of(options: RunOptions, receiver_uid: int, source_uid: int) -> Profile:
    keep = options.keep
    is_root = receiver_uid == 0 if keep.super_user is None else keep.super_user
    kinds = Kinds.NONE
    if keep.xattrs:
        kinds = Kinds.ALL if is_root and source_uid == 0 else Kinds.USER
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
