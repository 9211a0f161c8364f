"""Trees that use all that metadata can be, changed at random, and all that is kept of them."""

from __future__ import annotations

import os
import random
import re
import shutil
import stat
import struct
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.trees import MTIME_NS

Kept = dict[str, tuple[Any, ...]]
PLACES = ("", "d/", "d/e/", "f/")


def kept(top: Path) -> Kept:
    """Everything that is kept of each entry but which names are of one file."""
    found: Kept = {}
    for path in [top, *sorted(top.rglob("*"))]:
        st = path.lstat()
        content: object = None
        if stat.S_ISREG(st.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(st.st_mode):
            content = os.readlink(path)
        elif stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
            content = st.st_rdev
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        }
        name = str(path.relative_to(top))
        found[name] = (st.st_mode, st.st_uid, st.st_gid, st.st_mtime_ns, content, attributes)
    return found


def groups(top: Path) -> set[frozenset[str]]:
    """The names of files that have several."""
    names: dict[tuple[int, int], set[str]] = defaultdict(set)
    for path in top.rglob("*"):
        st = path.lstat()
        if not stat.S_ISDIR(st.st_mode):
            names[st.st_dev, st.st_ino].add(str(path.relative_to(top)))
    return {frozenset(each) for each in names.values() if len(each) > 1}


def assert_equal(source: Path, destination: Path, *, extras: bool = False) -> None:
    """``extras``: the destination may have more than the source."""
    mine, theirs = kept(source), kept(destination)
    names = set(mine) if extras else {*mine, *theirs}
    differing = {
        name: (mine.get(name), theirs.get(name))
        for name in names
        if mine.get(name) != theirs.get(name)
    }
    assert differing == {}
    linked = {group & names for group in groups(destination)}
    assert {group for group in linked if len(group) > 1} == groups(source)


def itemized(lines: str) -> list[str]:
    """Lines of ``-i`` less what may be another first name of a group, or another time of the
    root."""
    found = []
    for line in lines.splitlines():
        flags, name = line[:11], re.split(" [-=]> ", line[12:])[0]
        if name != "./" and re.match(r"[<>ch.*][fdLDS]", flags):
            found.append(f"{flags} {name}")
    return sorted(found)


def rsync(source: Path, destination: Path, *options: str) -> str:
    """What rsync says while it does the same; to the nanosecond."""
    command = ["rsync", "--modify-window=-1", *options, f"{source}/", f"{destination}/"]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


ACL_USER = 0x02


def acl(named: tuple[int, int, int], mask: int) -> bytes:
    """An ACL as Linux has it: what its owner and its group may do, one more, and the rest."""
    nobody = 0xFFFFFFFF
    entries = [(1, 6, nobody), named, (4, 5, nobody), (16, mask, nobody), (32, 4, nobody)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in sorted(entries))


class Changing:
    """A tree that changes at random, in ways that people's trees do."""

    def __init__(self, top: Path, seed: int) -> None:
        self.top = top
        self.random = random.Random(seed)
        self._number = 0
        for place in PLACES:
            (top / place).mkdir(parents=True, exist_ok=True)
        for _ in range(12):
            self.create()
        for _ in range(6):
            self.link()

    def files(self) -> list[Path]:
        """All that can have several names."""
        return [path for path in sorted(self.top.rglob("*")) if not _is_directory(path)]

    def any(self) -> Path:
        """One of these."""
        return self.random.choice(self.files())

    def free(self) -> Path:
        """A path that nothing has."""
        self._number += 1
        directories = [self.top, *self.directories()]
        return self.random.choice(directories) / f"{self.random.choice('akz')}{self._number}"

    def create(self) -> None:
        """One more entry, or a directory."""
        path = self.free()
        kind = self.random.randrange(10)
        if kind == 0:
            path.symlink_to(self.random.choice(("a1", "../x", "/nowhere")))
        elif kind == 1:
            os.mkfifo(path)
        elif kind == 2:
            path.mkdir()
        else:
            size = self.random.choice((0, 3, 50, 5000))
            path.write_bytes(self.random.randbytes(size))

    def link(self) -> None:
        """One more name of a file."""
        os.link(self.any(), self.free(), follow_symlinks=False)

    def relink(self) -> None:
        """A name of one file becomes a name of another."""
        one, other = self.any(), self.any()
        if one != other:
            other.unlink()
            os.link(one, other, follow_symlinks=False)

    def part(self) -> None:
        """A name of a file becomes a file of its own, with the same content and time."""
        path = self.any()
        st = path.lstat()
        if stat.S_ISREG(st.st_mode):
            data = path.read_bytes()
            path.unlink()
            path.write_bytes(data)
            path.chmod(stat.S_IMODE(st.st_mode))
            os.utime(path, ns=(MTIME_NS, st.st_mtime_ns))

    def edit(self) -> None:
        """New content under all names of a file."""
        path = self.any()
        if stat.S_ISREG(path.lstat().st_mode):
            path.write_bytes(self.random.randbytes(self.random.choice((3, 50, 5000))))

    def mode(self) -> None:
        """Another mode."""
        path = self.any()
        if not path.is_symlink():
            path.chmod(self.random.choice((0o600, 0o644, 0o4755, 0o640)))

    def extend(self) -> None:
        """An extended attribute more, fewer, or another."""
        path = self.random.choice([self.any(), *self.directories()])
        spaces = ["user"] if stat.S_ISREG(path.lstat().st_mode) or _is_directory(path) else []
        if os.geteuid() == 0:
            spaces.append("trusted")
        if not spaces:
            return
        name = f"{self.random.choice(spaces)}.{self.random.choice('xyz')}"
        try:
            os.removexattr(path, name, follow_symlinks=False)
        except OSError:
            value = self.random.randbytes(self.random.choice((0, 1, 200)))
            os.setxattr(path, name, value, follow_symlinks=False)

    def allow(self) -> None:
        """An ACL more or fewer; or a default one, of a directory."""
        path = self.random.choice([self.any(), *self.directories()])
        if path.is_symlink():
            return
        names = ["access", "default"] if _is_directory(path) else ["access"]
        name = f"system.posix_acl_{self.random.choice(names)}"
        try:
            os.removexattr(path, name)
        except OSError:
            named = (ACL_USER, self.random.randrange(8), self.random.choice((0, 1000, 4_000_000)))
            os.setxattr(path, name, acl(named, self.random.randrange(8)))

    def directories(self) -> list[Path]:
        """All directories but the top one."""
        return [path for path in sorted(self.top.rglob("*")) if _is_directory(path)]

    def adjust(self, times: int = 6) -> None:
        """Other modes, extended attributes and ACLs, and nothing else."""
        for _ in range(times):
            self.random.choice((self.mode, self.extend, self.extend, self.allow, self.allow))()

    def remove(self) -> None:
        """One name fewer."""
        if len(self.files()) > 5:
            self.any().unlink()

    def rename(self) -> None:
        """Another name for a file, or for a directory with all in it."""
        directories = self.directories()
        path = self.random.choice([self.any(), *directories])
        target = self.free()
        if path not in target.parents:
            path.rename(target)

    def clear(self) -> None:
        """A directory with all in it goes."""
        directories = self.directories()
        if len(directories) > 4 and len(self.files()) > 12:
            shutil.rmtree(self.random.choice(directories))
        if not self.files():
            self.create()

    def change(self, times: int = 6) -> None:
        """Some of all that."""
        steps = (
            *(self.create, self.link, self.link, self.relink, self.relink, self.part, self.part),
            *(self.edit, self.mode, self.remove, self.rename, self.clear),
        )
        for _ in range(times):
            if not self.files():
                (self.top / "file").write_bytes(b"x")
            self.random.choice(steps)()


def _is_directory(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)
