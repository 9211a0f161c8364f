"""A file system that takes ``A`` for ``a``, and é in one code point for é in two: in memory, spoken
with over ``/dev/fuse`` without a library. ``python -m tests.folding PLACE`` mounts it (which only
root may), says so with a line, and serves until it is unmounted."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

_IN = struct.Struct("<IIQQIIII")
_OUT = struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_SET = struct.Struct("<IIQQQQQQIIIIIIII")
_LARGEST = 128 << 10
_MODE, _UID, _GID, _SIZE, _ATIME, _MTIME, _ATIME_NOW, _MTIME_NOW = 1, 2, 4, 8, 16, 32, 128, 256


def folded(name: bytes) -> str:
    """What two names have in common that are one here."""
    return unicodedata.normalize("NFC", name.decode(errors="surrogateescape")).casefold()


@dataclass
class Inode:
    """A file, directory, symlink or special file."""

    number: int
    mode: int
    uid: int
    gid: int
    nlink: int = 1
    rdev: int = 0
    data: bytearray = field(default_factory=bytearray)
    names: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    """Of a directory: names by what they are folded to, as they were given, with their inodes."""
    mtime: int = 0
    ctime: int = 0

    def touch(self, content: bool = True) -> None:
        self.ctime = time.time_ns()
        if content:
            self.mtime = self.ctime


class Folding:
    """The file system. Each operation takes its request's payload and returns the reply's."""

    def __init__(self) -> None:
        self.inodes = {1: Inode(1, stat.S_IFDIR | 0o755, os.geteuid(), os.getegid(), 2)}
        self.inodes[1].touch()
        self._next = 2
        self.owner = 0, 0
        self._operations = {
            1: self.lookup, 3: self.getattr, 4: self.setattr, 5: self.readlink, 6: self.symlink,
            8: self.mknod, 9: self.mkdir, 10: self.unlink, 11: self.rmdir, 12: self.rename,
            13: self.link, 14: self.open, 15: self.read, 16: self.write, 17: self.statfs,
            18: self.nothing, 20: self.nothing, 25: self.nothing, 26: self.init, 27: self.open,
            28: self.readdir, 29: self.nothing, 30: self.nothing, 35: self.create,
            45: self.rename2, 50: self.nothing,
        }  # fmt: skip

    def answer(self, opcode: int, node: int, payload: bytes) -> bytes:
        operation = self._operations.get(opcode)
        if operation is None:
            raise OSError(errno.ENOSYS, "")
        return operation(node, payload)

    # --- replies ------------------------------------------------------------------------------

    def attributes(self, inode: Inode) -> bytes:
        size = len(inode.data)
        seconds = [divmod(each, 1_000_000_000) for each in (inode.mtime, inode.mtime, inode.ctime)]
        return _ATTRIBUTES.pack(
            *(inode.number, size, -(-size // 512), *(each[0] for each in seconds)),
            *(each[1] for each in seconds),
            *(inode.mode, inode.nlink, inode.uid, inode.gid, inode.rdev, 4096, 0),
        )

    def entry(self, inode: Inode) -> bytes:
        return struct.pack("<QQQQII", inode.number, 0, 0, 0, 0, 0) + self.attributes(inode)

    def init(self, _node: int, _payload: bytes) -> bytes:
        return struct.pack(
            "<IIIIHHIIHHI7I", 7, 31, _LARGEST, 0, 1, 1, _LARGEST, 1, 32, 0, 0, *[0] * 7
        )

    def nothing(self, _node: int, _payload: bytes) -> bytes:
        return b""

    def statfs(self, _node: int, _payload: bytes) -> bytes:
        return struct.pack("<5Q4I6I", *[1 << 20] * 5, 4096, 255, 4096, 0, *[0] * 6)

    # --- names --------------------------------------------------------------------------------

    def found(self, node: int, name: bytes) -> Optional[Inode]:
        has = self.inodes[node].names.get(folded(name))
        return None if has is None else self.inodes[has[1]]

    def lookup(self, node: int, payload: bytes) -> bytes:
        inode = self.found(node, payload[:-1])
        if inode is None:
            raise OSError(errno.ENOENT, "")
        return self.entry(inode)

    def named(self, node: int, name: bytes, inode: Inode) -> bytes:
        if self.found(node, name) is not None:
            raise OSError(errno.EEXIST, "")
        self.inodes[node].names[folded(name)] = name, inode.number
        self.inodes[node].touch()
        return self.entry(inode)

    def made(self, node: int, name: bytes, mode: int, rdev: int = 0) -> Inode:
        inode = Inode(self._next, mode, *self.owner, rdev=rdev)
        inode.touch()
        self.named(node, name, inode)
        self.inodes[inode.number] = inode
        self._next += 1
        return inode

    def mknod(self, node: int, payload: bytes) -> bytes:
        mode, rdev, _, _ = struct.unpack_from("<IIII", payload)
        return self.entry(self.made(node, payload[16:-1], mode, rdev))

    def mkdir(self, node: int, payload: bytes) -> bytes:
        mode, _ = struct.unpack_from("<II", payload)
        return self.entry(self.made(node, payload[8:-1], stat.S_IFDIR | mode))

    def symlink(self, node: int, payload: bytes) -> bytes:
        name, target, _ = payload.split(b"\0")
        inode = self.made(node, name, stat.S_IFLNK | 0o777)
        inode.data[:] = target
        return self.entry(inode)

    def create(self, node: int, payload: bytes) -> bytes:
        _, mode, _, _ = struct.unpack_from("<IIII", payload)
        inode = self.made(node, payload[16:-1], mode)
        return self.entry(inode) + self.open(inode.number, b"")

    def link(self, node: int, payload: bytes) -> bytes:
        inode = self.inodes[struct.unpack_from("<Q", payload)[0]]
        self.named(node, payload[8:-1], inode)
        inode.nlink += 1
        inode.touch(content=False)
        return self.entry(inode)

    def gone(self, node: int, name: bytes) -> Inode:
        inode = self.found(node, name)
        if inode is None:
            raise OSError(errno.ENOENT, "")
        del self.inodes[node].names[folded(name)]
        self.inodes[node].touch()
        return inode

    def unlink(self, node: int, payload: bytes) -> bytes:
        inode = self.gone(node, payload[:-1])
        inode.nlink -= 1
        inode.touch(content=False)
        return b""

    def rmdir(self, node: int, payload: bytes) -> bytes:
        inode = self.found(node, payload[:-1])
        if inode is not None and inode.names:
            raise OSError(errno.ENOTEMPTY, "")
        return self.unlink(node, payload)

    def rename(self, node: int, payload: bytes, at: int = 8, exclusive: bool = False) -> bytes:
        (target,) = struct.unpack_from("<Q", payload)
        old, new, _ = payload[at:].split(b"\0")
        there, inode = self.found(target, new), self.found(node, old)
        if there is not None and there is not inode:
            if exclusive:
                raise OSError(errno.EEXIST, "")
            if there.names:
                raise OSError(errno.ENOTEMPTY, "")
            self.gone(target, new).nlink -= 1
        moved = self.gone(node, old)
        self.named(target, new, moved)
        moved.touch(content=False)
        return b""

    def rename2(self, node: int, payload: bytes) -> bytes:
        flags = struct.unpack_from("<QI", payload)[1]
        if flags & ~1:
            raise OSError(errno.EINVAL, "")
        return self.rename(node, payload, 16, bool(flags))

    # --- content ------------------------------------------------------------------------------

    def getattr(self, node: int, _payload: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + self.attributes(self.inodes[node])

    def setattr(self, node: int, payload: bytes) -> bytes:
        inode = self.inodes[node]
        valid, _, _, size, _, _, mtime, _, _, mtime_ns, _, mode, _, uid, gid, _ = _SET.unpack_from(
            payload
        )
        inode.touch(content=bool(valid & (_SIZE | _MTIME_NOW)))
        if valid & _MODE:
            inode.mode = mode
        if valid & _UID:
            inode.uid = uid
        if valid & _GID:
            inode.gid = gid
        if valid & _SIZE:
            inode.data[:] = inode.data[:size].ljust(size, b"\0")
        if valid & _MTIME and not valid & _MTIME_NOW:
            inode.mtime = mtime * 1_000_000_000 + mtime_ns
        return self.getattr(node, b"")

    def readlink(self, node: int, _payload: bytes) -> bytes:
        return bytes(self.inodes[node].data)

    def open(self, _node: int, _payload: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0)

    def read(self, node: int, payload: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", payload)
        return bytes(self.inodes[node].data[offset : offset + size])

    def write(self, node: int, payload: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", payload)
        inode = self.inodes[node]
        inode.data.extend(bytes(max(0, offset - len(inode.data))))
        inode.data[offset : offset + size] = payload[40 : 40 + size]
        inode.touch()
        return struct.pack("<II", size, 0)

    def readdir(self, node: int, payload: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", payload)
        reply = b""
        names = [(b".", node), (b"..", node), *self.inodes[node].names.values()]
        for place, (name, number) in enumerate(names[offset:], offset + 1):
            kind = self.inodes[number].mode >> 12
            one = struct.pack("<QQII", number, place, len(name), kind) + name
            one += bytes(-len(one) % 8)
            if len(reply) + len(one) > size:
                break
            reply += one
        return reply


def serve(place: str) -> None:
    """Mount it, and serve it to its end."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"folding", os.fsencode(place), b"fuse.folding", 0, options):
        raise OSError(ctypes.get_errno(), "mount")
    print("mounted", flush=True)
    system = Folding()
    while True:
        try:
            request = os.read(device, _LARGEST + 4096)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            continue  # what was asked is not wanted any more
        _, opcode, unique, node, uid, gid, _, _ = _IN.unpack_from(request)
        if opcode in (2, 36, 38, 42):  # forget, interrupt, destroy: nothing is to be said
            continue
        system.owner = uid, gid
        code, reply = 0, b""
        try:
            reply = system.answer(opcode, node, request[_IN.size :])
        except OSError as error:
            code = -(error.errno or errno.EIO)
        os.write(device, _OUT.pack(_OUT.size + len(reply), code, unique) + reply)


@contextmanager
def mounted(place: Path) -> Iterator[Path]:
    """Such a file system, gone when the block ends."""
    place.mkdir()
    words = [sys.executable, "-m", "tests.folding", str(place)]
    with subprocess.Popen(words, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"mounted\n"
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", place], check=True)


if __name__ == "__main__":
    serve(sys.argv[1])
