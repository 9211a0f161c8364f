"""Trees, made from a seed, and what is in them.

A file's size and time say its content, as rsync's quick check
believes; times are whole seconds, which is all that it compares.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from syncron_lib.core.names import shown
from tests.e2e.differential.cases import Case
from tests.e2e.everything import ACL_USER, acl
from tests.trees import ODD_NAMES

_NAMES = (
    b"a",
    b"b",
    b"c",
    b"a-b",
    b"a.c",
    b"dir",
    b"sub",
    b"x.o",
    b"y~",
    b"keep",
    *ODD_NAMES[:8],
    *ODD_NAMES[9:12],
)
_SECOND = 10**9
_BEGIN = 1_500_000_000
_IDS = (0, 1, 1000)
ACL_NAMES = ("system.posix_acl_access", "system.posix_acl_default")
NOTE = "user.rsync.%"


class _Builder:
    """Makes a tree at random."""

    def __init__(
        self, choice: random.Random, links: bool, sets_ids: bool, adds: bool, acls: bool
    ) -> None:
        """``links``, ``sets_ids`` and ``acls``: whether there are hard links, set-id files and
        ACLs. ``adds``: whether something is there that the source has not, or has as another
        kind."""
        self._choice = choice
        self._acls = random.Random(choice.getstate()[1][0]) if acls else None
        self._as_root = os.geteuid() == 0
        self._links = links
        self._sets_ids = sets_ids
        self._adds = adds
        self._files: list[bytes] = []

    def tree(self, top: bytes, depth: int = 2) -> None:
        choice = self._choice
        os.makedirs(top, exist_ok=True)
        for name in choice.sample(_NAMES, choice.randint(1, 6)):
            path = os.path.join(top, name)
            if os.path.lexists(path):
                continue
            if depth and choice.random() < 0.35:
                self.tree(path, depth - 1)
            else:
                self.leaf(path)
        self._finish(top)

    def leaf(self, path: bytes) -> None:
        choice = self._choice
        kind = 0.19 if path.endswith(b".sock") else choice.random()
        if kind < 0.12:
            targets = (b"a", b"b", b"../a", b"../../x", b"/etc/nothing", b"sub", b"no where")
            os.symlink(choice.choice(targets), path)
        elif kind < 0.16:
            os.mkfifo(path)
        elif kind < 0.18 and self._as_root:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, choice.choice((3, 5))))
        elif kind < 0.20:
            # rsync tells of a fifo in a socket's place that it is changed.
            path = path.removesuffix(b".sock") + b".sock"
            os.mknod(path, stat.S_IFSOCK | 0o600)
        elif kind < 0.27 and self._files and self._links:
            os.link(choice.choice(self._files), path)
            return
        else:
            self._file(path, choice.randrange(12))
            return
        self._finish(path)

    def _file(self, path: bytes, which: int) -> None:
        """One of a dozen files: that one has its size and its time for itself."""
        choice = self._choice
        size = (0, 1, 7, 7, 300, 300, 4096, 5000, 70_000, 70_000, 200_000, 3)[which]
        with open(path, "wb") as out:
            if which == 9:  # holes
                out.seek(size // 2)
                out.write(b"x" * 10)
                out.truncate(size)
            else:
                out.write(random.Random(which).randbytes(size))
        self._files.append(path)
        self._finish(path, _BEGIN + 1000 * which + choice.choice((0, 0, 0, 1)))

    def _finish(self, path: bytes, seconds: int | None = None) -> None:
        choice = self._choice
        mode = os.lstat(path).st_mode
        if self._as_root and choice.random() < 0.2:
            os.chown(path, choice.choice(_IDS), choice.choice(_IDS), follow_symlinks=False)
        if not stat.S_ISLNK(mode):
            modes = (0o755, 0o755, 0o700, 0o775, 0o1777, 0o2755)
            if not stat.S_ISDIR(mode):
                # What is done to a set-id file first, rsync sees when it tells of it.
                modes = (0o644, 0o644, 0o600, 0o640, 0o755, 0o4755 if self._sets_ids else 0o755)
            os.chmod(path, choice.choice(modes))
            if choice.random() < 0.1 and (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                os.setxattr(path, "user.note", choice.choice((b"1", b"22", b"\0bin")))
            if self._acls is not None and self._acls.random() < 0.3:
                self._allow(path, stat.S_ISDIR(mode))
        if seconds is None:
            seconds = _BEGIN + choice.choice((0, 0, 5, 10**6))
        os.utime(path, ns=(seconds * _SECOND,) * 2, follow_symlinks=False)

    def _allow(self, path: bytes, is_directory: bool) -> None:
        assert self._acls is not None
        name = self._acls.choice(ACL_NAMES if is_directory else ACL_NAMES[:1])
        named = (ACL_USER, self._acls.randrange(8), self._acls.choice((0, 1000)))
        os.setxattr(path, name, acl(named, self._acls.randrange(8)))

    def like(self, source: bytes, path: bytes) -> None:
        """Something like the source: parts of it are missing, other, or of other kinds."""
        choice = self._choice
        os.makedirs(path, exist_ok=True)
        with os.scandir(source) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            target = os.path.join(path, entry.name)
            luck = choice.random()
            if luck < 0.2 or (luck < 0.3 and not self._adds):
                continue
            if entry.is_dir(follow_symlinks=False):
                self.like(entry.path, target)
            elif luck < 0.3:
                self.leaf(target)
            elif entry.is_symlink():
                os.symlink(os.readlink(entry.path), target)
                self._like(entry, target)
            elif entry.is_file(follow_symlinks=False):
                with open(entry.path, "rb") as content, open(target, "wb") as out:
                    out.write(content.read())
                self._like(entry, target)
                if luck < 0.4:
                    os.utime(target, ns=(0, (_BEGIN + 77) * _SECOND))
            else:
                self.leaf(target)
        for name in choice.sample(_NAMES, choice.randint(0, 2) if self._adds else 0):
            target = os.path.join(path, name)
            if not os.path.lexists(target):
                (self.tree(target, 1) if choice.random() < 0.3 else self.leaf(target))
        self._like(os.lstat(source), path)

    def _like(self, what: os.DirEntry[bytes] | os.stat_result, target: bytes) -> None:
        st = what if isinstance(what, os.stat_result) else what.stat(follow_symlinks=False)
        if self._choice.random() < 0.15:
            self._finish(target, None if stat.S_ISDIR(st.st_mode) else st.st_mtime_ns // _SECOND)
            return
        if self._as_root:
            os.chown(target, st.st_uid, st.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(st.st_mode):
            os.chmod(target, st.st_mode & (0o3777 if stat.S_ISDIR(st.st_mode) else 0o777))
        os.utime(target, ns=(st.st_mtime_ns, st.st_mtime_ns), follow_symlinks=False)


def make_source(top: Path, case: Case) -> None:
    """The source of a case."""
    builder = _Builder(random.Random(f"source {case.seed}"), True, True, True, case.has("A"))
    builder.tree(os.fsencode(top), 3)


def make_destination(top: Path, source: Path, case: Case, names: list[str]) -> None:
    """The destination as it is before the run: something like what is to come. ``names``: what
    goes there by its own name; empty where it is the source's contents. Without ``-H`` no file has
    several names there: what is done to one shows under the others, by the order of doing it."""
    builder = _Builder(
        random.Random(f"destination {case.seed}"),
        case.has("H"),
        False,
        not case.has("--ignore-existing"),
        case.has("A"),
    )
    for name in names:
        if not (source / name).is_symlink() and (source / name).is_dir():
            builder.like(os.fsencode(source / name), os.fsencode(top / name))
    if not names:
        builder.like(os.fsencode(source), os.fsencode(top))
    if case.has("fake") and top.exists():  # as an earlier run would have noted it
        plain = top.with_name("plain")
        top.rename(plain)
        command = ["rsync", "-aHAX", "-M--fake-super", f"{plain}/", f"{top}/"]
        subprocess.run(command, check=True)
        shutil.rmtree(plain)


Facts = dict[str, tuple[object, ...]]


def facts(top: Path, case: Case) -> Facts:
    """What is below ``top``, with every attribute that the options keep."""
    found: Facts = {}
    groups: dict[int, list[str]] = {}
    for path in walk(os.fsencode(top)):
        if path == os.fsencode(top):
            continue
        st = os.lstat(path)
        name = os.fsdecode(os.path.relpath(path, os.fsencode(top)))
        kind = stat.S_IFMT(st.st_mode)
        content: object = None
        if stat.S_ISREG(kind):
            content = Path(os.fsdecode(path)).read_bytes()
            groups.setdefault(st.st_ino, []).append(name)
        elif stat.S_ISLNK(kind):
            content = os.readlink(path)
        elif not stat.S_ISDIR(kind):
            content = st.st_rdev
        # Where sources go by their names, the directory that they go to is no part of the run.
        timed = case.has("t") and not (case.has("O") and stat.S_ISDIR(kind))
        timed = timed and (name != "dst" or (case.has("contents") and case.has("r")))
        timed = timed and not (name.split("/")[0] == "old" and stat.S_ISDIR(kind))
        timed = timed and not (
            case.has("b") and not case.has("--backup-dir") and stat.S_ISDIR(kind)
        )
        timed = timed and not (case.has("J") and (stat.S_ISLNK(kind) or _is_noted_link(path)))
        xattrs: dict[str, bytes] = {}
        if name.split("/")[0] == "old" and stat.S_ISDIR(kind):
            pass
        elif stat.S_ISREG(kind) or stat.S_ISDIR(kind):
            names = [each for each in os.listxattr(path) if _is_kept(each, case)]
            xattrs = {each: os.getxattr(path, each) for each in names}
            if f"{NOTE}aacl" in xattrs:  # whose mask is the mode's, whatever it says
                noted = xattrs.pop(f"{NOTE}aacl")
                if noted != struct.pack("<4I", *[0x80] * 4):  # that one has gone
                    xattrs[f"{NOTE}aacl"] = noted[:8] + noted[12:]
        mode = 0 if stat.S_ISLNK(kind) else stat.S_IMODE(st.st_mode)
        if case.has("H") and not case.has("p") and st.st_nlink > 1 and stat.S_ISREG(kind):
            mode = 0  # that of whichever name was first
        if not case.has("p") and stat.S_ISREG(kind):
            mode &= 0o1777  # a set-id bit that was another owner's
        special = not (stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISLNK(kind))
        if (special and not case.has("p")) or name.split("/")[0] == "old":
            mode = 0
        kept = name.split("/")[0] != "old"  # directories of backups are whoever's
        found[name] = (
            *(oct(kind), oct(mode), st.st_mtime_ns if timed else None),
            *(
                (st.st_uid if kept and case.has("o") else None),
                (st.st_gid if kept and case.has("g") else None),
            ),
            *(content, sorted(xattrs.items())),
        )
    if case.has("H"):
        groups_found = sorted(tuple(sorted(each)) for each in groups.values())
        found["hard links"] = (None, None, None, *groups_found)
    return found


def _is_noted_link(path: bytes) -> bool:
    try:
        return os.getxattr(path, f"{NOTE}stat", follow_symlinks=False).startswith(b"120")
    except OSError:
        return False


def _is_kept(name: str, case: Case) -> bool:
    if name in ACL_NAMES or name in (f"{NOTE}aacl", f"{NOTE}dacl"):
        return case.has("A")
    return case.has("fake") if name.startswith(NOTE) else case.has("X")


def walk(top: bytes) -> Iterator[bytes]:
    if os.path.lexists(top):
        yield top
    for above, directories, files in os.walk(top):
        directories[:] = sorted(each for each in directories if each != b".syncron")
        yield from (os.path.join(above, each) for each in (*directories, *files))


def linked_names(source: Path) -> set[str]:
    """The paths of all files that have several names, as they are shown."""
    found = set()
    for path in walk(os.fsencode(source)):
        st = os.lstat(path)
        if st.st_nlink > 1 and not stat.S_ISDIR(st.st_mode):
            found.add(shown(os.path.relpath(path, os.fsencode(source))))
    return found
