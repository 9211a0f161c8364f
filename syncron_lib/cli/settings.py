"""What one source (a command line, a job, the defaults) says about a run.

`Settings` is the narrow type that argv and YAML are parsed into; ``None`` means that the source
said nothing, so that a stronger source laid ``over`` a weaker one decides field by field.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType

from syncron_lib.cli.fakesuper import Super, fake_super_of, super_user_of
from syncron_lib.cli.keeping import (
    alternates_of,
    backup_of,
    removes_source,
    require_snapshot_alone,
)
from syncron_lib.cli.securing import secure_options
from syncron_lib.cli.told import itemized, told
from syncron_lib.core.ids import IdOptions, IdRule
from syncron_lib.core.location import Location
from syncron_lib.core.options import (
    DIRECTLY_IN,
    Conflicts,
    DeleteCap,
    FileList,
    Keep,
    MergeRule,
    Missing,
    RuleOptions,
    RunOptions,
    TransferRules,
)
from syncron_lib.core.parts import Part
from syncron_lib.core.retention import Retention
from syncron_lib.core.view import Follow, View
from syncron_lib.errors import UsageError
from syncron_lib.record import NamedTuple

DEFAULT_TIMEOUT = 60.0
ZLIB_MAX_LEVEL = 9


class Ownership(Enum):
    """Whether owner (or group) is carried over; the value is what `Keep` calls it."""

    ALWAYS = True
    NEVER = False
    WHERE_ROOT = None


class Settings(NamedTuple):
    """Options by their long names; see `syncron_lib.cli.catalog` for what each means."""

    links: bool | None = None
    copy_links: bool | None = None
    copy_dirlinks: bool | None = None
    keep_dirlinks: bool | None = None
    copy_unsafe_links: bool | None = None
    munge_links: bool | None = None
    safe_links: bool | None = None
    executability: bool | None = None
    super_user: Super | None = None
    atimes: bool | None = None
    open_noatime: bool | None = None
    remote_option: tuple[str, ...] = ()
    devices: bool | None = None
    specials: bool | None = None
    drop_d: bool | None = None
    chmod: tuple[str, ...] = ()
    perms: bool | None = None
    times: bool | None = None
    owner: Ownership | None = None
    group: Ownership | None = None
    hard_links: bool | None = None
    numeric_ids: bool | None = None
    usermap: tuple[IdRule, ...] | None = None
    groupmap: tuple[IdRule, ...] | None = None
    chown: tuple[tuple[IdRule, ...], tuple[IdRule, ...]] | None = None
    omit_dir_times: bool | None = None
    omit_link_times: bool | None = None
    xattrs: bool | None = None
    acls: bool | None = None
    dry_run: bool | None = None
    verify: bool | None = None
    delete: bool | None = None
    deletes: str | None = None  # when rsync would delete; here that is always last
    force: bool | None = None
    moves: bool | None = None
    ignore_errors: bool | None = None
    remove_source_files: bool | None = None
    two_way: bool | None = None
    conflicts: Conflicts | None = None
    merge: tuple[MergeRule, ...] = ()
    max_delete: DeleteCap | None = None
    allow_empty_source: bool | None = None
    allow_unmounted: bool | None = None
    mkpath: bool | None = None
    backup: bool | None = None
    backup_dir: str | None = None
    suffix: str | None = None
    link_dest: tuple[str, ...] = ()
    copy_dest: tuple[str, ...] = ()
    compare_dest: tuple[str, ...] = ()
    patterns: tuple[bytes, ...] = ()
    cvs_exclude: bool | None = None
    cvs_patterns: tuple[bytes, ...] = ()  # what ``cvs_exclude`` stands for
    delete_excluded: bool | None = None
    prune_empty_dirs: bool | None = None
    recursive: bool | None = None
    archive: bool | None = None
    dirs: bool | None = None
    relative: bool | None = None
    implied_dirs: bool | None = None
    missing: Missing | None = None
    files_from: str | None = None
    from0: bool | None = None
    listed: dict[bytes, list[bytes]] | None = None
    """What ``files_from`` lists, if that is a file on this machine, by what stands before
    ``/./``."""
    gitignore: bool | None = None
    one_file_system: bool | None = None
    existing: bool | None = None
    ignore_existing: bool | None = None
    update: bool | None = None
    size_only: bool | None = None
    ignore_times: bool | None = None
    max_size: int | None = None
    min_size: int | None = None
    modify_window: int | None = None
    checksum: bool | None = None
    checksum_choice: str | None = None
    compress: str | None = None
    whole_file: bool | None = None
    inplace: bool | None = None
    append: bool | None = None
    list_only: bool | None = None
    fsync: bool | None = None
    sparse: bool | None = None
    preallocate: bool | None = None
    temp_dir: str | None = None
    delay_updates: bool | None = None
    compress_level: int | None = None
    bwlimit: int | None = None
    timeout: float | None = None
    lock_wait: float | None = None
    port: int | None = None
    identity: tuple[str, ...] = ()
    rsh: str | None = None
    family: str | None = None
    address: str | None = None
    contimeout: float | None = None
    rsync_path: str | None = None
    remote_python: str | None = None
    remote_syncron: str | None = None
    hot: bool | None = None
    hot_paths: tuple[bytes, ...] = ()  # what ``hot`` looks at, if not what changed most often
    snapshot: bool | None = None
    keep: Retention | None = None
    before: str | None = None
    after: str | None = None
    on_error: str | None = None
    retries: int | None = None
    retry_wait: float | None = None
    max_duration: float | None = None
    nice: int | None = None
    ionice: str | None = None
    expect_root: str | None = None
    fail_on_change: bool | None = None
    syslog: bool | None = None
    textfile: str | None = None
    ping: str | None = None
    report: str | None = None
    key: str | None = None
    passphrase_command: str | None = None
    secure: tuple[str, ...] = ()
    secure_names: bool | None = None
    declassify: bool | None = None
    accept_rollback: bool | None = None
    ciphertext: bool | None = None
    sealed: tuple[str, ...] = ()
    verbose: int | None = None
    quiet: bool | None = None
    itemize_changes: int | None = None
    info: Mapping[str, int] = MappingProxyType({})
    human_readable: int | None = None
    out_format: str | None = None
    log_file: str | None = None
    outbuf: str | None = None
    log_file_format: str | None = None
    stats: bool | None = None
    progress: bool | None = None
    json: bool | None = None

    def over(self, weaker: Settings) -> Settings:
        """Both together: this one decides wherever it says something.

        Patterns add up, this one's first, because the first match decides; and so does what is to
        be told.
        """
        merged = (other if mine in (None, ()) else mine for mine, other in zip(self, weaker))
        return Settings._make(merged)._replace(
            patterns=self.patterns + weaker.patterns, info={**weaker.info, **self.info}
        )

    @property
    def shows_changes(self) -> bool:
        """Whether each change is to be shown, in whatever form."""
        asked = self.itemize_changes or self.verbose or self.dry_run or self.verify
        asked = asked or self.info.get("name") or self.out_format is not None
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

    def _ids(self) -> IdOptions:
        """``chown`` is for all that the maps say nothing of."""
        users, groups = self.chown or ((), ())
        maps = (self.usermap or ()) + users, (self.groupmap or ()) + groups
        return IdOptions(bool(self.numeric_ids), *maps)

    def _filters(self) -> tuple[bytes, ...]:
        """All filter rules in their order; those of a file that is named twice count where it is
        named first."""
        patterns = self.patterns + (self.cvs_patterns if self.cvs_exclude else ())
        if not patterns:
            return ()
        from syncron_lib.core.rules import filters

        patterns = filters.once_each(patterns)
        if self.delete_excluded:
            patterns = tuple(map(filters.one_sided, patterns))
        return patterns

    def parts(self, sources: Sequence[Location]) -> list[Part]:
        """What of the sources is brought over, and under which paths. Raises `UsageError`."""
        if self.files_from is None and self.from0:
            raise UsageError("--from0 is about the list that --files-from names: give that too.")
        if self.files_from is not None:
            return self._listed_parts(sources)
        whole = self.recurses
        if not whole and not (self.dirs or self.list_only):
            raise UsageError(
                "--no-recursive leaves out what is in directories: say with --dirs that directories"
                " alone are wanted."
            )
        if self.relative:
            from syncron_lib.core.parts import relative

            return relative(sources, whole)
        chosen = None if whole else DIRECTLY_IN
        return [Part(source, chosen, len(sources) > 1) for source in sources]

    @property
    def recurses(self) -> bool:
        """Whether what is below directories comes with them: always, unless something says
        otherwise."""
        if self.dirs or self.list_only or self.recursive is False:
            return bool(self.archive if self.recursive is None else self.recursive)
        return True

    def _listed_parts(self, sources: Sequence[Location]) -> list[Part]:
        assert self.files_from is not None
        if len(sources) > 1:
            raise UsageError("--files-from lists what is in one SRC, and several were given.")
        if self.listed is not None:
            from syncron_lib.core.parts import listed

            whole, flat = bool(self.recursive), self.relative is False
            return listed(sources[0], self.listed, whole, flat)
        for option, given in (
            ("--delete", self.delete or self.delete_excluded),
            ("--no-relative", self.relative is False),
            ("--no-implied-dirs", self.implied_dirs is False),
            ("--delete-missing-args", self.missing is Missing.DELETE),
        ):
            if given:
                raise UsageError(
                    f"{option} must know what is listed, and --files-from={self.files_from} is read"
                    " on the machine of SRC: give a list of this one."
                )
        name = os.fsencode(self.files_from.partition(":")[2])
        return [Part(sources[0], FileList(b"", bool(self.recursive), name, bool(self.from0)))]

    def transfer_rules(self) -> TransferRules:
        """Where content is asked for, nothing else says that files are equal, or that they are not:
        ``--checksum`` and ``--verify`` decide against the other ways to compare."""
        by_content = bool(self.checksum or self.verify)
        return TransferRules(
            existing=bool(self.existing),
            ignore_existing=bool(self.ignore_existing),
            update=bool(self.update),
            size_only=bool(self.size_only) and not by_content,
            ignore_times=bool(self.ignore_times) and not (self.size_only or by_content),
            max_size=self.max_size,
            min_size=self.min_size,
            modify_window=self.modify_window,
            no_links=self.links is False,
            safe_links=bool(self.safe_links),
            no_devices=bool(self.devices is False or self.super_user is Super.NONE or self.drop_d),
            append=bool(self.append and not self.verify),
            no_specials=bool(self.specials is False or self.drop_d),
        )

    def view(self) -> View:
        """How the source is shown."""
        follow = Follow.NONE
        for wanted, flag in (
            (self.copy_links, Follow.ALL),
            (self.copy_dirlinks, Follow.DIRECTORIES),
            (self.copy_unsafe_links, Follow.UNSAFE),
        ):
            if wanted:
                follow |= flag
        return View(
            ",".join(self.chmod), int(follow), no_atime=bool(self.open_noatime or self.atimes)
        )

    def _require_told(self) -> None:
        """Links and extended attributes are told of without the rest."""
        if not (self.hard_links or self.acls or self.xattrs or self.atimes):
            return
        for option, text in (
            ("--out-format", self.out_format),
            ("--log-file-format", self.log_file_format),
        ):
            if text is None:
                continue
            from syncron_lib.cli.format import tells_attributes

            if tells_attributes(text):
                raise UsageError(
                    f"{option} cannot tell %B, %G, %M and %U together with --hard-links, --acls"
                    " or --xattrs: leave them out."
                )

    def _delays(self) -> bool:
        if self.delay_updates and (self.inplace or self.append):
            raise UsageError(
                "--delay-updates puts whole files in their places at the end, and --inplace and"
                " --append write into them: give one of them."
            )
        return bool(self.delay_updates)

    def _hot(self) -> bool:
        if self.hot and (self.verify or self.snapshot or self.ignore_times):
            raise UsageError(
                "--hot believes what is remembered, and --verify, --snapshot and --ignore-times"
                " look at everything: give one of them."
            )
        return bool(self.hot)

    def run_options(self) -> RunOptions:
        """The run's options, with the default wherever nothing was said. Raises `UsageError` for
        options that do not go together."""
        if self.two_way:
            from syncron_lib.cli.twoway import require_alone

            require_alone(self)
        elif self.conflicts is not None:
            raise UsageError("--conflicts says who keeps a name in a run with --two-way.")
        elif self.merge:
            raise UsageError("--merge is about what both sides changed, in a run with --two-way.")
        elif self.sealed:
            raise UsageError(
                "--sealed is about replicas, in a run with --two-way: for one direction say --seal"
                " or --unseal."
            )
        ids, rules = self._ids(), self.transfer_rules()
        tells = itemized(self, rules)
        self._require_told()
        require_snapshot_alone(self)
        return RunOptions(
            keep=Keep(
                permissions=bool(self.perms is not False or self.acls),
                times=self.times is not False,
                owner=bool(ids.users) or (self.owner or Ownership.WHERE_ROOT).value,
                group=bool(ids.groups) or (self.group or Ownership.WHERE_ROOT).value,
                hard_links=bool(self.hard_links),
                omit_dir_times=bool(self.omit_dir_times),
                omit_link_times=bool(self.omit_link_times),
                xattrs=bool(self.xattrs),
                acls=bool(self.acls),
                atimes=bool(self.atimes),
                executability=bool(self.executability),
                super_user=super_user_of(self),
            ),
            ids=ids,
            rules=RuleOptions(
                patterns=self._filters(),
                gitignore=bool(self.gitignore),
                one_file_system=bool(self.one_file_system),
                prune_empty_dirs=bool(self.prune_empty_dirs),
                implied_dirs=self.implied_dirs is not False,
                missing=self.missing or Missing.FAIL,
            ),
            transfer=rules,
            view=self.view(),
            munge=(bool(self.munge_links), "--munge-links" in self.remote_option),
            fake_super=fake_super_of(self),
            keep_dirlinks=bool(self.keep_dirlinks),
            delete=bool(self.delete or self.delete_excluded),
            force=bool(self.force),
            moves=self.moves is not False,
            ignore_errors=bool(self.ignore_errors),
            remove_source_files=removes_source(self),
            dry_run=bool(self.dry_run),
            hot=self._hot(),
            hot_paths=self.hot_paths,
            verify=bool(self.verify),
            mkpath=bool(self.mkpath),
            conflicts=self.conflicts or Conflicts.KEEP_BOTH,
            merges=self.merge,
            max_delete=self.max_delete,
            allow_empty_source=bool(self.allow_empty_source),
            allow_unmounted=bool(self.allow_unmounted),
            itemize=tells.changes,
            itemize_unchanged=tells.unchanged,
            itemize_left=tells.left,
            count_kinds=told(self).stats > 1,
            algorithm=self.checksum_choice or None,
            compress=self._compress(),
            compress_level=self.compress_level,
            bwlimit=self.bwlimit or 0,
            whole_file=False if self.append else self.whole_file,
            in_place=bool(self.inplace or self.append),
            backup=backup_of(self),
            alternates=alternates_of(self),
            secure=secure_options(self),
            fsync=bool(self.fsync),
            sparse=bool(self.sparse),
            preallocate=bool(self.preallocate),
            scratch=None if self.temp_dir is None else os.fsencode(self.temp_dir),
            delay_updates=self._delays(),
            lock_wait=self.lock_wait or 0.0,
            timeout=DEFAULT_TIMEOUT if self.timeout is None else self.timeout,
        )
