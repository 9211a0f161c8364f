"""Roots opened as an endpoint opens them, for tests of what lies below."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import stat
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from syncron_lib.core import digest
from syncron_lib.core.merkle import Profile
from syncron_lib.core.names import join
from syncron_lib.core.options import RuleOptions
from syncron_lib.fs.hashing import FileHasher
from syncron_lib.fs.reach import ANYWHERE
from syncron_lib.fs.root import Choice, Root
from syncron_lib.fs.scan import OnProgress
from syncron_lib.fs.state import State
from syncron_lib.fs.tree import Tree
from tests import trees
from tests.core.tables import ALL

XXH3 = digest.available()[0]
NOBODY = 65534


def no_progress(_entries: int, _size: int) -> None:
    """For scans that nobody watches."""


def settle() -> None:
    """Wait until digests computed from now on may be kept: see `fs.stats.is_settled`."""
    time.sleep(0.08)


@contextlib.contextmanager
def opened(
    path: Path | str,
    *,
    reading: bool = True,
    rules: RuleOptions | None = None,
    only: bytes | None = None,
    alias: bytes | None = None,
    trust_state: bool = True,
) -> Iterator[Root]:
    """The root at ``path``, its state where the environment says."""
    choice = Choice(only, alias, rules or RuleOptions(), trust_state, reading)
    root = Root(ANYWHERE.look(os.fsencode(path)), choice, os.environ)
    try:
        yield root
    finally:
        root.close()


@contextlib.contextmanager
def scanned(
    path: Path | str, on_progress: OnProgress = no_progress, **choice: Any
) -> Iterator[Root]:
    """The same, scanned and sealed."""
    with opened(path, **choice) as root:
        root.scan(None, on_progress)
        root.seal(XXH3, ALL)
        yield root


@contextlib.contextmanager
def killed_children() -> Iterator[set[str]]:
    """Every process that this thread forks is killed, as soon as it is seen; which were."""
    main = threading.get_native_id()
    killed: set[str] = set()
    over = threading.Event()

    def kill() -> None:
        children = Path(f"/proc/self/task/{main}/children")
        while not over.is_set():
            for pid in set(children.read_text().split()) - killed:
                os.kill(int(pid), signal.SIGKILL)
                killed.add(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def hash_all(root: Root, profile: Profile = ALL) -> bytes:
    """Hash what is unknown; the root's digest."""
    assert root.directories is not None
    hasher = FileHasher(root.tree, root.directories, XXH3, lambda _: None, root.real_name)
    for path in unknown_files(root.tree):
        hasher.hash(path)
    return root.seal(XXH3, profile)


def remember(path: Path | str, **choice: Any) -> bytes:
    """Scan and hash the tree at ``path`` and keep what is known; the root's digest."""
    settle()
    with scanned(path, **choice) as root:
        value = hash_all(root)
        assert root.save() is None
        return value


def state_of(root: Root) -> State:
    """The open state, which the root of a run over a single file has not."""
    assert root.state is not None
    return root.state


def file_digests(tree: Tree) -> dict[bytes, bytes]:
    """Path to digest of every file, `digest.UNKNOWN` among them."""
    found = {}
    for node in tree.nodes.values():
        columns = node.columns()
        for row, (name, mode) in enumerate(zip(columns.names, columns.modes)):
            if stat.S_ISREG(mode):
                value = bytes(node.digests[row * digest.SIZE : (row + 1) * digest.SIZE])
                found[join(node.path, name)] = value
    return found


def unknown_files(tree: Tree) -> set[bytes]:
    """Files whose digest is unknown."""
    return {path for path, value in file_digests(tree).items() if value == digest.UNKNOWN}


def paths_of(tree: Tree) -> list[bytes]:
    """Every entry of the tree, in order of path."""
    return sorted(
        join(node.path, name) for node in tree.nodes.values() for name in node.columns().names
    )


def literal_paths(top: trees.Directory) -> list[bytes]:
    """Every entry of a literal, in order of path."""
    found = []
    stack: list[tuple[bytes, trees.Node]] = [(b"", top)]
    while stack:
        path, node = stack.pop()
        if path:
            found.append(path)
        if isinstance(node, trees.Directory):
            stack.extend((join(path, name), below) for name, below in node.entries.items())
    return sorted(found)


@contextlib.contextmanager
def public_directory() -> Iterator[Path]:
    """A directory that every user can reach, which pytest's own are not."""
    path = Path(tempfile.mkdtemp(prefix="syncron-test-"))
    try:
        path.chmod(0o777)
        yield path
    finally:
        # What is not writable to its owner would stay.
        for directory, _, _ in os.walk(path):
            os.chmod(directory, 0o700)
        shutil.rmtree(path)


def as_user(work: Callable[[], Any]) -> Any:
    """What ``work`` returns, done by a process that is not root."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            result: tuple[bool, Any] = (True, work())
        except BaseException:
            result = (False, traceback.format_exc())
        with os.fdopen(write, "wb") as out:
            pickle.dump(result, out)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as source:
        data = source.read()
    os.waitpid(child, 0)
    done, result = pickle.loads(data)
    assert done, result
    return result
