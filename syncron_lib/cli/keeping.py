"""What settings say about what is kept: backups, alternates, snapshots, and the source's files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from syncron_lib.core.options import Alternates, Backup, Use
from syncron_lib.errors import UsageError

if TYPE_CHECKING:
    from syncron_lib.cli.settings import Settings

MAX_ALTERNATES = 20


def backup_of(settings: Settings) -> Backup | None:
    """A directory alone asks for backups, as with rsync."""
    wanted = settings.backup_dir is not None if settings.backup is None else settings.backup
    if not wanted:
        return None
    suffix = settings.suffix if settings.suffix is not None else "" if settings.backup_dir else "~"
    if not suffix and not settings.backup_dir:
        raise UsageError(
            "--suffix is empty, and a backup beside a file needs another name: give a suffix,"
            " or --backup-dir."
        )
    directory = None if settings.backup_dir is None else os.fsencode(settings.backup_dir)
    return Backup(directory, os.fsencode(suffix))


def alternates_of(settings: Settings, asking: str = "") -> Alternates | None:
    """``asking``: what asks for it, where that is none of the three."""
    named = (
        ("--link-dest", settings.link_dest),
        ("--copy-dest", settings.copy_dest),
        ("--compare-dest", settings.compare_dest),
    )
    several = [(option, directories) for option, directories in named if directories]
    if len(several) > 1:
        options = " and ".join(option for option, _ in several)
        raise UsageError(f"{options} exclude each other: give one of them.")
    option, given = several[0] if several else ("", ())
    option = asking or option
    if len(given) > MAX_ALTERNATES:
        raise UsageError(f"{option} is given {len(given)} times; {MAX_ALTERNATES} are allowed.")
    if not given:
        return None
    use = Use(several[0][0].removeprefix("--").removesuffix("-dest"))
    if settings.atimes or (settings.hard_links and use is Use.COMPARE):
        raise UsageError(
            f"{option} does not go together with --atimes, and --compare-dest neither with"
            " --hard-links, which are not compared: give one of them."
        )
    if settings.append:
        raise UsageError(
            f"{option} makes files of those that other directories have, and --append goes on with"
            " those of DST: give one of them."
        )
    return Alternates(option, tuple(map(os.fsencode, given)), use)


def removes_source(settings: Settings) -> bool:
    if settings.remove_source_files and settings.size_only and not settings.checksum:
        raise UsageError(
            "--remove-source-files removes what is the same in DST, and --size-only does not"
            " look: give one of them, or --checksum too."
        )
    return bool(settings.remove_source_files and not settings.verify)


def require_snapshot_alone(settings: Settings) -> None:
    """What a snapshot has of its own, or what is about a tree that changes."""
    if not settings.snapshot:
        if settings.keep is not None:
            raise UsageError("--keep is about snapshots: give --snapshot too.")
        return
    others = {
        "--link-dest": settings.link_dest,
        "--copy-dest": settings.copy_dest,
        "--compare-dest": settings.compare_dest,
        "--existing": settings.existing,
        "--ignore-existing": settings.ignore_existing,
        "--update": settings.update,
        "--append": settings.append,
        "--backup": backup_of(settings),
        "--verify": settings.verify,
        "--inplace": settings.inplace,
        "--remove-source-files": settings.remove_source_files,
    }
    for option, given in others.items():
        if given:
            raise UsageError(
                "--snapshot makes a new tree each time, and does not go together with"
                f" {option}: give one of them."
            )
    alternates_of(settings._replace(snapshot=None, keep=None, link_dest=("x",)), "--snapshot")
