"""The first stage of a helper that is shipped: runs on the remote, before anything else is there.

Sent as the text of this file and run by ``python3 -I -c``, so it imports nothing of syncron's,
and little else: every import is paid at every start. Python 3.9.

Arguments: the marker, the SHA-256 of the archive (hexadecimal), and the entry point
``module:function``. The archive is a JSON object of module names and sources (a package's name
ends in a dot), compressed with zlib. What is said on standard output, each a line
``syncron-MARKER WORDS``:

- ``send``: the archive is not in the cache; it is to come on standard input, after its length
  in eight bytes, big-endian.
- ``started cached`` and ``started shipped``: the next byte either way belongs to the helper.
- ``failed TEXT``: it cannot be started.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys
from typing import Any

LIMIT = 8 << 20
"""Most bytes of an archive, compressed and not."""

KEPT = 3
"""Archives kept in the cache: other versions of syncron may call here too."""

GONE = 12
"""Exit code of a helper whose client has gone: nobody is there to be told."""


class Shipped:
    """Imports syncron's modules from memory."""

    def __init__(self, codes: dict[str, Any]) -> None:
        self.codes = codes

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        for key in (name, name + "."):
            if key in self.codes:
                # Without importing importlib.machinery for it.
                module_spec: Any = type(sys.__spec__)
                return module_spec(name, self, is_package=key != name)
        return None

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        name = module.__name__
        code = self.codes[name] if name in self.codes else self.codes[name + "."]
        exec(code, module.__dict__)  # noqa: S102 - the code is syncron's own, checked by digest


class Unusable(Exception):
    """The archive that was sent is not the one that was announced."""


def say(marker: str, words: str) -> None:
    data = ("syncron-%s %s\n" % (marker, words)).encode("ascii", "backslashreplace")
    try:
        while data:
            data = data[os.write(1, data) :]
    except BrokenPipeError:
        os._exit(GONE)


def read_exactly(size: int) -> bytes:
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            raise Unusable("the input ended before the archive did")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def sha256(data: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(data).digest()


def receive(digest: str) -> dict[str, str]:
    """The archive from standard input, once it has proved to be the right one."""
    import json
    import zlib

    size = int.from_bytes(read_exactly(8), "big")
    if size > LIMIT:
        raise Unusable("the archive is too large")
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(read_exactly(size), LIMIT)
    except zlib.error:
        raise Unusable("the archive is damaged") from None
    if sha256(data).hex() != digest:
        raise Unusable("the archive is damaged")
    sources: dict[str, str] = json.loads(data)
    return sources


def cache_directory() -> str | None:
    """Where helpers are kept; None for an account without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base[:1] != "/":
        base = os.path.expanduser("~")
        if base[:1] != "/":
            return None
        base += "/.cache"
    return base + "/syncron"


def is_ours(found: os.stat_result) -> bool:
    """Whether nobody but this account can have written there."""
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def header(payload: bytes) -> bytes:
    """Stands before cached code: the interpreter's version, and the digest of what follows."""
    return sys.version.encode() + b"\n" + sha256(payload)


def file_name() -> str:
    return "%s.code" % sys.implementation.cache_tag


def load(directory: str | None, digest: str) -> dict[str, Any] | None:
    """The compiled modules from the cache, if they are there, whole, and ours alone."""
    if directory is None:
        return None
    try:
        for path in (directory, directory + "/" + digest):
            found = os.lstat(path)
            if not stat.S_ISDIR(found.st_mode) or not is_ours(found):
                return None
        fd = os.open("%s/%s/%s" % (directory, digest, file_name()), os.O_RDONLY | os.O_NOFOLLOW)
        with open(fd, "rb") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode) or not is_ours(found):
                return None
            data = file.read()
    except OSError:
        return None
    start = len(header(b""))
    payload = data[start:]
    # Checked first: marshal crashes the interpreter on damaged data.
    if data[:start] != header(payload):
        return None
    codes: dict[str, Any] = marshal.loads(payload)  # noqa: S302 - checked just above
    return codes


def store(directory: str | None, digest: str, codes: dict[str, Any]) -> None:
    """Keep the compiled modules for the next start. A cache that cannot be written is no fault."""
    if directory is None:
        return
    payload = marshal.dumps(codes)
    own = directory + "/" + digest
    new = "%s/.%d.new" % (own, os.getpid())
    try:
        os.makedirs(os.path.dirname(directory), 0o700, exist_ok=True)
        for path in (directory, own):
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                found = os.lstat(path)
                if not stat.S_ISDIR(found.st_mode) or not is_ours(found):
                    return
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(header(payload) + payload)
            os.rename(new, own + "/" + file_name())
        except OSError:
            os.unlink(new)
            return
        prune(directory, digest)
    except OSError:
        return


def prune(directory: str, digest: str) -> None:
    """Remove the archives of other versions, but for the newest few."""
    with os.scandir(directory) as entries:
        others = [
            (entry.stat(follow_symlinks=False).st_mtime_ns, entry.path)
            for entry in entries
            if len(entry.name) == len(digest)
            and entry.name != digest
            and entry.is_dir(follow_symlinks=False)
        ]
    for _, path in sorted(others, reverse=True)[KEPT - 1 :]:
        for name in os.listdir(path):
            os.unlink(path + "/" + name)
        os.rmdir(path)


def start(marker: str, digest: str, entry: str) -> int:
    """Start the helper; returns what its entry point returns."""
    directory = cache_directory()
    how = "cached"
    module, _, function = entry.partition(":")
    try:
        codes = load(directory, digest)
        if codes is None:
            how = "shipped"
            say(marker, "send")
            sources = receive(digest)
            codes = {
                name: compile(text, "<syncron>/" + name, "exec", dont_inherit=True)
                for name, text in sources.items()
            }
            store(directory, digest, codes)
        sys.meta_path.insert(0, Shipped(codes))
        main = getattr(__import__(module, fromlist=[function]), function)
    except Exception as error:
        say(marker, "failed %s: %s" % (type(error).__name__, " ".join(str(error).split())))
        return 1
    say(marker, "started " + how)
    status: int = main()
    return status


if __name__ == "__main__":
    sys.exit(start(*sys.argv[-3:]))
