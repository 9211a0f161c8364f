"""What a run was asked to do. Made once by the command line, read by everything below it.

Named tuples, not dataclasses: the helper needs some of them, and importing `dataclasses` would
cost its start as much as all of its protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Optional

from syncron_lib.core.ids import IdOptions
from syncron_lib.core.view import View
from syncron_lib.record import NamedTuple


class DeleteCap(NamedTuple):
    """``--max-delete``: at most ``entries`` deletes, or ``percent`` of what the destination has."""

    entries: Optional[int] = None
    percent: Optional[float] = None


class FileList(NamedTuple):
    """What of the tree a run is over (``--files-from``). ``paths``: joined by NUL, as
    `core.rules.chosen.listed_paths` gives them; or ``file``: a file at the source that lists them,
    ``nul``: each ended by NUL. ``whole``: directories with all below."""

    paths: bytes
    whole: bool = False
    file: bytes = b""
    nul: bool = False


NOT_THERE = "is not there"
"""What is said of a listed path that does not exist."""
DIRECTLY_IN = FileList(b".")
"""What is directly in the root (``--dirs``)."""


class Missing(Enum):
    """What becomes of sources, and of paths in a list, that are not there."""

    FAIL = "fail"
    IGNORE = "ignore"
    DELETE = "delete"
    """They go at the destination too."""


class RuleOptions(NamedTuple):
    """What belongs to the tree.

    ``patterns``: rsync filter rules in order, each ``b"- PATTERN"`` or ``b"+ PATTERN"``; the
    first that matches decides. ``gitignore``: honour ``.gitignore`` as git does.
    ``.syncronignore`` is always honoured. ``one_file_system``: stay on the root's device.
    """

    patterns: tuple[bytes, ...] = ()
    gitignore: bool = False
    one_file_system: bool = False
    prune_empty_dirs: bool = False
    """Directories of the source without a file in or below them are no part of the tree."""
    chosen: Optional[FileList] = None
    implied_dirs: bool = True
    """The directories that what is ``chosen`` lies in get the source's attributes."""
    missing: Missing = Missing.FAIL

    def passes_over(self, what: str) -> bool:
        """Whether what is said of something listed is no failure."""
        return self.missing is not Missing.FAIL and self.chosen is not None and what == NOT_THERE


class Keep(NamedTuple):
    """Attributes a run carries over and compares; ``None`` for owner and group means "where
    the receiver is root"."""

    permissions: bool = True
    times: bool = True
    owner: Optional[bool] = None
    group: Optional[bool] = None
    hard_links: bool = False
    """Which names are names of one file."""
    xattrs: bool = False
    """Extended attributes: as root all but the system's, else the user's."""
    acls: bool = False
    atimes: bool = False
    omit_dir_times: bool = False
    omit_link_times: bool = False
    """Times, but not those of directories, or of symlinks."""
    executability: bool = False
    """Whether files may be executed, where permissions are not kept."""
    super_user: Optional[bool] = None
    """Whether the receiver is to do what only root may; None: if it is root."""


class TransferRules(NamedTuple):
    """What of the tree is brought over, rsync's *transfer rules*: what they leave as it is still
    belongs to the tree, and is not deleted.

    ``modify_window``: seconds that times may differ by; 0 for any two in one second, None for
    none. ``max_size`` and ``min_size``: in bytes, of regular files.
    """

    existing: bool = False
    ignore_existing: bool = False
    update: bool = False
    size_only: bool = False
    ignore_times: bool = False
    max_size: Optional[int] = None
    min_size: Optional[int] = None
    modify_window: Optional[int] = None
    no_links: bool = False
    safe_links: bool = False
    """Leave symlinks that point out of the tree."""
    above: int = 0
    """Directories above the root that are of the same tree, for links that go up."""
    append: bool = False
    """Leave the content of files that are no shorter at the destination."""
    no_devices: bool = False
    no_specials: bool = False
    """Leave device nodes; leave fifos and sockets."""

    @property
    def has_window(self) -> bool:
        """Whether times that differ a little are equal."""
        return self.modify_window is not None and self.modify_window >= 0

    @property
    def equality(self) -> TransferRules:
        """Those that say what is equal, and leave nothing."""
        return TransferRules(
            size_only=self.size_only,
            ignore_times=self.ignore_times,
            modify_window=self.modify_window,
        )

    @property
    def divides_new(self) -> bool:
        """Whether something in a directory that is created may be left."""
        bounded = self.max_size is not None or self.min_size is not None
        kinds = self.no_links or self.safe_links or self.no_devices or self.no_specials
        return bounded or self.existing or kinds


class Backup(NamedTuple):
    """Where what is replaced or deleted is kept. ``directory``: relative to the destination's
    root, if it is; None: beside what it was. ``suffix``: what its name gets at the end."""

    directory: Optional[bytes] = None
    suffix: bytes = b"~"


class FakeSuper(NamedTuple):
    """Whether what only root may do is noted in an extended attribute, and read from there: on this
    machine, and on the other; None: nothing was said of that."""

    here: bool = False
    there: Optional[bool] = None


class Use(Enum):
    """What is done about an entry that did not change from an alternate."""

    LINK = "link"
    COPY = "copy"
    COMPARE = "compare"
    """It is left out of the destination."""


class Alternates(NamedTuple):
    """Directories in which what did not change is found, relative to the destination's root if
    they are."""

    option: str
    directories: tuple[bytes, ...]
    use: Use

    def paths(self, name: Optional[bytes] = None) -> Sequence[bytes]:
        """The directories as a root takes them. ``name``: the root's in the directory that they
        are relative to, where it is not that itself."""
        if name is None:
            return self.directories
        above = ((b"" if each.startswith(b"/") else b"../") + each for each in self.directories)
        return [each.rstrip(b"/") + b"/" + name for each in above]


class Conflicts(Enum):
    """Who keeps the name of what was changed on both sides; the other version gets another name,
    but where it is skipped."""

    KEEP_BOTH = "keep-both"
    PREFER_FIRST = "prefer-first"
    PREFER_SECOND = "prefer-second"
    NEWER = "newer"
    SKIP = "skip"
    ASK = "ask"
    """A person says, for each."""


class MergeRule(NamedTuple):
    """``--merge``: files that match ``pattern`` are merged by the command ``words``."""

    pattern: bytes
    words: tuple[str, ...]


class SecureOptions(NamedTuple):
    """What is sealed on the other side, and what is believed of it. ``patterns``: as in a
    ``.secure`` file in the root. ``declassify``: what the rules do not name any more may go, and
    come, in clear. ``rekey``: seal all with a new key. ``ciphertext``: open nothing."""

    patterns: tuple[bytes, ...] = ()
    declassify: bool = False
    accept_rollback: bool = False
    rekey: bool = False
    ciphertext: bool = False
    names: bool = False
    """Names of what is sealed are sealed too."""
    excluded_by: str = ""
    """An option of the run that sealed files cannot be had with."""


class RunOptions(NamedTuple):
    """One run's options, named as on the command line."""

    keep: Keep = Keep()
    ids: IdOptions = IdOptions()
    rules: RuleOptions = RuleOptions()
    transfer: TransferRules = TransferRules()
    view: View = View()
    """What the source's entries are taken to be."""
    munge: tuple[bool, bool] = (False, False)
    """Whether symlinks are munged on this machine, and on the other."""
    fake_super: FakeSuper = FakeSuper()
    fakes: tuple[bool, bool] = (False, False)
    """What follows from it for the source and for the destination."""
    keep_dirlinks: bool = False
    """Take a symlink of the destination for the directory that it leads to, where the source has
    a directory."""
    delete: bool = False
    force: bool = False
    moves: bool = True
    """Rename at the destination what was renamed at the source."""
    ignore_errors: bool = False
    """Delete although a part of the source could not be read; below that, never."""
    remove_source_files: bool = False
    """Remove from the source what the destination has of it in the end, but for directories."""
    dry_run: bool = False
    hot: bool = False
    """Look only at the directories of the source that changed most often, and believe of all others
    what is remembered."""
    hot_paths: Sequence[bytes] = ()
    """These, and not those that changed most often."""
    verify: bool = False
    mkpath: bool = False
    max_delete: Optional[DeleteCap] = None
    allow_empty_source: bool = False
    allow_unmounted: bool = False
    itemize: bool = False
    """Tell the observer of every single entry, also of those below a new directory."""
    itemize_unchanged: bool = False
    """... and of those that are the same on both sides."""
    itemize_left: bool = False
    """... and of those that `transfer` leaves, and why."""
    count_kinds: bool = False
    """Count how many entries of each kind the source has."""
    deletes_told_first: bool = False
    """... of what is deleted before anything else, as rsync does, whenever it is done."""
    algorithm: Optional[str] = None
    """By which digests files are compared; None: by the best that both ends have."""
    compress: str = "auto"
    """``auto``: where it helps; ``always``: by the best way that both have; ``zstd``; ``zlib``;
    ``none``."""
    compress_level: Optional[int] = None
    """None: the way's own."""
    bwlimit: int = 0
    """Bytes a second that each link carries at most, in each direction; 0 for no limit."""
    whole_file: Optional[bool] = None
    """Send changed large files whole; None: where both roots are on this machine."""
    in_place: bool = False
    """Write what changed into the files that are there."""
    backup: Optional[Backup] = None
    """Keep what is replaced or deleted; None: do not."""
    alternates: Optional[Alternates] = None
    secure: SecureOptions = SecureOptions()
    fsync: bool = False
    """Have all on the destination's disk before the run ends, and content before its name."""
    sparse: bool = False
    """Have holes where the destination's new files have zeros."""
    preallocate: bool = False
    """Take room for a file before it is written."""
    scratch: Optional[bytes] = None
    """Where what comes is put together, relative to the destination's root if it is."""
    delay_updates: bool = False
    """Give what comes its name only when all has come."""
    lock_wait: float = 0.0
    """Seconds to wait for a root that another run holds."""
    conflicts: Conflicts = Conflicts.KEEP_BOTH
    """Of runs in both directions."""
    merges: tuple[MergeRule, ...] = ()
    """What both sides changed in one is merged by these, where that can be."""
    timeout: float = 60.0
    """Seconds without a sign of life from the other side before the run is given up."""
