"""What one source (a command line, a job, the defaults) says about a run.

`Settings` is the narrow type that argv and YAML are parsed into; ``None`` means that the source
said nothing, so that a stronger source laid ``over`` a weaker one decides field by field.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from syncron_lib.core.options import Alternates, Backup, DeleteCap, Keep, RuleOptions, RunOptions
from syncron_lib.errors import UsageError

DEFAULT_TIMEOUT = 60.0
ZLIB_MAX_LEVEL = 9
MAX_ALTERNATES = 20


class Ownership(Enum):
    """Whether owner (or group) is carried over; the value is what `Keep` calls it."""

    ALWAYS = True
    NEVER = False
    WHERE_ROOT = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Options by their long names; see `syncron_lib.cli.catalog` for what each means."""

    perms: bool | None = None
    times: bool | None = None
    owner: Ownership | None = None
    group: Ownership | None = None
    dry_run: bool | None = None
    verify: bool | None = None
    delete: bool | None = None
    force: bool | None = None
    ignore_errors: bool | None = None
    max_delete: DeleteCap | None = None
    allow_empty_source: bool | None = None
    allow_unmounted: bool | None = None
    mkpath: bool | None = None
    backup: bool | None = None
    backup_dir: str | None = None
    suffix: str | None = None
    link_dest: tuple[str, ...] = ()
    copy_dest: tuple[str, ...] = ()
    patterns: tuple[bytes, ...] = ()
    gitignore: bool | None = None
    one_file_system: bool | None = None
    checksum: bool | None = None
    compress: str | None = None
    whole_file: bool | None = None
    inplace: bool | None = None
    fsync: bool | None = None
    compress_level: int | None = None
    bwlimit: int | None = None
    timeout: float | None = None
    lock_wait: float | None = None
    port: int | None = None
    identity: tuple[str, ...] = ()
    rsh: str | None = None
    remote_python: str | None = None
    remote_syncron: str | None = None
    verbose: int | None = None
    quiet: bool | None = None
    itemize_changes: bool | None = None
    names: bool | None = None
    human_readable: int | None = None
    out_format: str | None = None
    log_file: str | None = None
    log_file_format: str | None = None
    stats: bool | None = None
    progress: bool | None = None
    json: bool | None = None

    def over(self, weaker: Settings) -> Settings:
        """Both together: this one decides wherever it says something.

        Patterns add up, this one's first, because the first match decides.
        """
        merged: dict[str, Any] = {}
        for each in fields(self):
            mine = getattr(self, each.name)
            merged[each.name] = getattr(weaker, each.name) if mine in (None, ()) else mine
        merged["patterns"] = self.patterns + weaker.patterns
        return Settings(**merged)

    @property
    def shows_changes(self) -> bool:
        """Whether each change is to be shown, in whatever form."""
        asked = self.itemize_changes or self.verbose or self.dry_run or self.verify
        asked = asked or self.names or self.out_format is not None
        return bool(self.json or (asked and not self.quiet))

    @property
    def logs_changes(self) -> bool:
        """Whether each change goes into a log."""
        return self.log_file is not None and self.log_file_format != ""

    def _compress(self) -> str:
        """A level alone asks for compression, as with rsync."""
        way = self.compress or ("always" if self.compress_level else "auto")
        if way == "zlib" and (self.compress_level or 0) > ZLIB_MAX_LEVEL:
            raise UsageError(
                f"--compress-level={self.compress_level}: zlib has levels from 1 to"
                f" {ZLIB_MAX_LEVEL}; zstd goes to 22."
            )
        return way

    def _backup(self) -> Backup | None:
        """A directory alone asks for backups, as with rsync."""
        wanted = self.backup_dir is not None if self.backup is None else self.backup
        if not wanted:
            return None
        suffix = self.suffix if self.suffix is not None else "" if self.backup_dir else "~"
        if not suffix and not self.backup_dir:
            raise UsageError(
                "--suffix is empty, and a backup beside a file needs another name: give a suffix,"
                " or --backup-dir."
            )
        directory = None if self.backup_dir is None else os.fsencode(self.backup_dir)
        return Backup(directory, os.fsencode(suffix))

    def _alternates(self) -> Alternates | None:
        if self.link_dest and self.copy_dest:
            raise UsageError("--link-dest and --copy-dest exclude each other: give one of them.")
        option = "--link-dest" if self.link_dest else "--copy-dest"
        given = self.link_dest or self.copy_dest
        if len(given) > MAX_ALTERNATES:
            raise UsageError(f"{option} is given {len(given)} times; {MAX_ALTERNATES} are allowed.")
        if not given:
            return None
        return Alternates(option, tuple(map(os.fsencode, given)), bool(self.copy_dest))

    def run_options(self) -> RunOptions:
        """The run's options, with the default wherever nothing was said. Raises `UsageError` for
        options that do not go together."""
        return RunOptions(
            keep=Keep(
                permissions=self.perms is not False,
                times=self.times is not False,
                owner=(self.owner or Ownership.WHERE_ROOT).value,
                group=(self.group or Ownership.WHERE_ROOT).value,
            ),
            rules=RuleOptions(
                patterns=self.patterns,
                gitignore=bool(self.gitignore),
                one_file_system=bool(self.one_file_system),
            ),
            delete=bool(self.delete),
            force=bool(self.force),
            ignore_errors=bool(self.ignore_errors),
            dry_run=bool(self.dry_run),
            verify=bool(self.verify),
            mkpath=bool(self.mkpath),
            max_delete=self.max_delete,
            allow_empty_source=bool(self.allow_empty_source),
            allow_unmounted=bool(self.allow_unmounted),
            itemize=self.shows_changes or self.logs_changes,
            compress=self._compress(),
            compress_level=self.compress_level,
            bwlimit=self.bwlimit or 0,
            whole_file=self.whole_file,
            in_place=bool(self.inplace),
            backup=self._backup(),
            alternates=self._alternates(),
            fsync=bool(self.fsync),
            lock_wait=self.lock_wait or 0.0,
            timeout=DEFAULT_TIMEOUT if self.timeout is None else self.timeout,
        )
