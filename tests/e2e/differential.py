"""Trees and command lines for rsync and for syncron called as rsync, and what came of both.

Everything is made from a seed. A file's size and time say its content, as rsync's quick check
believes; times are whole seconds, which is all that it compares.
"""

from __future__ import annotations

import os
import random
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from syncron_lib.core.names import shown
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


@dataclass
class Case:
    """One command line. ``words``: without the program's name; both are run in a directory that
    holds ``dst`` perhaps, beside ``src`` in the one above."""

    seed: int
    words: list[str] = field(default_factory=list)
    flags: set[str] = field(default_factory=set)

    def has(self, *flags: str) -> bool:
        """Whether one of the options is given."""
        return any(flag in self.flags for flag in flags)


class _Builder:
    """Makes a tree at random."""

    def __init__(self, choice: random.Random, links: bool, sets_ids: bool, adds: bool) -> None:
        """``links`` and ``sets_ids``: whether there are hard links, and set-id files.
        ``adds``: whether something is there that the source has not, or has as another kind."""
        self._choice = choice
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
        if seconds is None:
            seconds = _BEGIN + choice.choice((0, 0, 5, 10**6))
        os.utime(path, ns=(seconds * _SECOND,) * 2, follow_symlinks=False)

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


def make_source(top: Path, seed: int) -> None:
    """The source of a case."""
    builder = _Builder(random.Random(f"source {seed}"), True, True, True)
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
    )
    for name in names:
        if not (source / name).is_symlink() and (source / name).is_dir():
            builder.like(os.fsencode(source / name), os.fsencode(top / name))
    if not names:
        builder.like(os.fsencode(source), os.fsencode(top))


Facts = dict[str, tuple[object, ...]]


def facts(top: Path, case: Case) -> Facts:
    """What is below ``top``, with every attribute that the options keep."""
    found: Facts = {}
    groups: dict[int, list[str]] = {}
    for path in _walk(os.fsencode(top)):
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
        timed = timed and not (case.has("J") and stat.S_ISLNK(kind))
        xattrs: dict[str, bytes] = {}
        if name.split("/")[0] == "old" and stat.S_ISDIR(kind):
            pass
        elif case.has("X") and (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            xattrs = {each: os.getxattr(path, each) for each in os.listxattr(path)}
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


def _walk(top: bytes) -> Iterator[bytes]:
    if os.path.lexists(top):
        yield top
    for above, directories, files in os.walk(top):
        directories[:] = sorted(each for each in directories if each != b".syncron")
        yield from (os.path.join(above, each) for each in (*directories, *files))


_ITEM = re.compile(r"(\*deleting  |[<>ch.][fdLDS].{9}) .*")
_QUIET = re.compile(
    # What syncron does not say: see docs/rsync.md.
    r"skipping non-regular file .*|cannot delete non-empty directory: .*|"
    r"ignoring unsafe symlink .*"
    r"|sent .* bytes/sec|total size is .*"
)


_SAME_FILE, _SAME_DIRECTORY = ".f" + 10 * " ", ".d" + 10 * " "
_ANY_TIME = ("*deleting", "deleting ", "skipping directory", "created directory")


def lines(output: str, case: Case, linked: set[str]) -> tuple[list[str], list[str]]:
    """What a run said, in order; and what it said to delete, which comes when it happens to.
    ``linked``: names of files that have several, which of them comes first is left open."""
    said = [line for line in output.split("\n") if line and not _QUIET.fullmatch(line)]
    if case.has("H"):
        said = [line for line in said if _named(line) not in linked]
    if case.has("delete"):
        # By deleting rsync changes a directory's time before it compares it.
        said = [re.sub(r"^\.d\.\.t", ".d...", line) for line in said]
        said = [line for line in said if not line.startswith((".d......... ", _SAME_DIRECTORY))]
        said = [line for line in said if case.has("-i") or not line.endswith("/")]
    if case.has("-R"):  # where all is left out there is no root to be told of
        said = [line for line in said if line != f"{_SAME_DIRECTORY}./"]
    if loses_backups(case):
        said = [line for line in said if line[:9] != "*deleting" or not is_lost(line[12:], case)]
    deleted = sorted(line for line in said if line.startswith(_ANY_TIME))
    rest = [line for line in said if line not in deleted]
    if not case.has("t") and not case.has("c"):
        rest = [each for each in map(_without_time, rest) if each]
    if case.has("prev"):
        # Made a link anew; copied and told as unchanged; made anew for other attributes.
        rest = [re.sub(r"^[hc](?=[fLSD] {9} |f\.{3}[pog.]{3})", ".", each) for each in rest]
    return rest, deleted


def loses_backups(case: Case) -> bool:
    """Whether rsync deletes backups, even those that it has just made."""
    return case.has("b") and case.has("--delete-excluded") and not case.has("--backup-dir")


def is_lost(path: str, case: Case) -> bool:
    """Whether that is done to it."""
    return any(name.endswith(suffix(case)) for name in path.split("/"))


def suffix(case: Case) -> str:
    """How backups are called."""
    return ".old" if case.has("--suffix=.old") else "~"


def _named(line: str) -> str:
    name = line[12:] if _ITEM.fullmatch(line) else line
    return name.partition(" => ")[0].removeprefix("src/")


def linked_names(source: Path) -> set[str]:
    """The paths of all files that have several names, as they are shown."""
    found = set()
    for path in _walk(os.fsencode(source)):
        st = os.lstat(path)
        if st.st_nlink > 1 and not stat.S_ISDIR(st.st_mode):
            found.add(shown(os.path.relpath(path, os.fsencode(source))))
    return found


def _without_time(line: str) -> str:
    """Without times rsync brings over whatever has another one, each time anew; syncron looks at
    what is in it."""
    if not re.match(r">f\.\.T|\.f {10}", line):
        return line
    return "" if line.startswith((">f..T...... ", _SAME_FILE)) else f".f...{line[5:]}"


_BASES = (
    (5, "-a"),
    (1, "-rlt"),
    (1, "-rltp"),
    (1, "-rtD"),
    (1, "-r"),
    (1, "-rl"),
    (1, "-rlD"),
    (1, "-lt"),
    (1, "-a --no-perms"),
    (1, "-a --no-o --no-g"),
    (1, "-a --no-links"),
    (1, "-a --no-devices --no-specials"),
    (1, "-a --no-times"),
    (1, "-rlpgo"),
)
_SHORT = {"--no-devices": "D", "--no-specials": "D"}
_LEAVING = (
    "-u",
    "--existing",
    "--ignore-existing",
    "--max-size=5k",
    "--min-size=8",
    "--safe-links",
)
_RULES = (
    "--exclude=*.o",
    "--exclude=a",
    "--exclude=/src/a",
    "--exclude=/sub/",
    "--exclude=sub/a",
    "--include=*/ --exclude=*.?",
    "--include=keep --exclude=[a-c]",
    "--exclude=/src/dir/***",
    "--filter=-_y~ --exclude=dir/",
    "--filter=P_b",
    "--filter=H_c",
    "-C",
    "--exclude=**/b",
)


def case(seed: int) -> Case:
    """The command line of a case, as far as it does not depend on what is in the source."""
    choice = random.Random(f"options {seed}")

    def luck(chance: float) -> bool:
        return choice.random() < chance

    weights, bases = zip(*_BASES)
    words = choice.choices(bases, weights)[0].split()
    base = words[0]
    flags = set("rlptgoD") if base == "-a" else set(base[1:])
    for word in words[1:]:
        flags -= {_SHORT.get(word, word[5:6])}
    made = Case(seed, words, flags)

    def give(option: str, *more: str) -> None:
        words.extend(option.split())
        made.flags.update(more or (option,))

    # What rsync names without times says nothing of what is in it, see `lines`.
    give("-i") if luck(0.8) or "t" not in flags else give("-v")
    if luck(0.15):
        give("-n")
    leaves = luck(0.35)
    for option in choice.sample(_LEAVING, choice.randint(1, 2)) if leaves else ():
        give(option)
    no_links = "l" not in flags or "D" not in flags
    links = luck(0.25) and not leaves and not no_links
    if links:
        give("-H", "H")
    # Without -p rsync gives what has other attributes the source's permissions too.
    if luck(0.25) and "p" in flags:
        give("-X", "X")
    if luck(0.1):
        give("-c", "c")
    elif luck(0.1):
        give("-I", "I")
    elif luck(0.1) and not links:
        give("--size-only")
    if luck(0.15) and "t" in flags:
        give("-O", "O")
    if luck(0.1) and "t" in flags:
        give("-J", "J")
    if "r" in flags and luck(0.5):
        give(choice.choice(("--delete", "--delete", "--del", "--delete-after", "--delete-before")))
        made.flags.add("delete")
        if luck(0.15):
            give("--delete-excluded")
    if luck(0.1):
        give("--force")
    # In a dry run rsync says that it deletes directories which hold what is left out, and so do
    # those that backups stay in.
    if luck(0.35) and not (made.has("-n") and made.has("delete")):
        words.extend(each.replace("_", " ") for each in choice.choice(_RULES).split())
    if luck(0.12) and not links and not (made.has("-n") and made.has("delete")):
        # A file of another time is brought over by rsync whatever is in it, and leaves a backup.
        give("-b", "b")
        give("-c", "c")
        if luck(0.5):
            give("--backup-dir=../old", "--backup-dir")
        elif luck(0.5):
            give("--suffix=.old")
    if luck(0.1):
        give("-S")
    if luck(0.1):
        give(choice.choice(("-W", "--no-whole-file", "-W" if made.has("b") else "--inplace")))
    if luck(0.12) and not links and not no_links and not leaves:
        give(choice.choice(("-L", "-k", "--copy-unsafe-links", "--munge-links")))
    follows = made.has("-L", "-k", "--copy-unsafe-links")
    if luck(0.1) and "r" in flags and not follows:
        give("-m", "m")
    if luck(0.1):
        give("--numeric-ids")
    if luck(0.15) and not links and "p" in flags:
        give(choice.choice(("--chmod=Dg-w,Fo=", "--chmod=F640", "--chmod=u+x,go-w")))
    if luck(0.1) and "p" not in flags:
        give("-E")
    chooses = leaves or made.has("X", "H", "I", "--size-only", "b", "m") or no_links
    # A destination that is made is told by rsync as what it was in the other directory.
    if luck(0.2) and seed % 4 and not chooses and {"r", "t", "p", "o", "g"} <= flags:
        give(choice.choice(("--link-dest=../prev", "--copy-dest=../prev")), "prev")
    elif luck(0.1) and "r" in flags and not made.has("m"):
        give("-R")
    # What was chosen before stays what it is. rsync uses no directory on the way to which is "..".
    apart = random.Random(f"scratch {seed}")
    if apart.random() < 0.15:
        give(apart.choice((f"--temp-dir={tempfile.gettempdir()}", "-T /dev/shm")))
    if made.has("prev"):  # in which -v names what is made anew
        words[:] = ["-i" if word == "-v" else word for word in words]
    if "-i" in words and apart.random() < 0.5:
        words[words.index("-i")] = "-ii"
    return made


def add_places(made: Case, source: Path) -> list[str]:
    """Add SRC and DST to a command line; the names under which sources go there."""
    choice = random.Random(f"places {made.seed}")
    inside = sorted(os.listdir(source))
    # rsync leaves out a source too that holds no file.
    how = 0 if made.has("m") else choice.random()
    if made.has("-R") and inside:
        names = choice.sample(inside, 1)
        made.words += [f"../src/./{names[0]}", "dst/"]
        return names
    destination = choice.choice(("dst", "dst/", "./dst"))
    if how < 0.45 or not inside:
        made.words += ["../src/", destination]
        made.flags.add("contents")
        return []
    if how < 0.75:
        made.words += ["../src", destination]
        return ["src"]
    # Names of one file in two sources are not one file at the destination.
    most = 1 if made.has("H") else choice.choice((1, 2, 3))
    names = choice.sample(inside, min(len(inside), most))
    made.words += [f"../src/{name}" for name in names]
    made.words.append("dst/" if how < 0.9 else destination)
    return names
