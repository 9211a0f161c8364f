"""Walking a whole tree, with two processes where the machine has two processors, from when on
nothing else needs the second one.

The top of the tree is scanned breadth first until there are enough subtrees to share. Then this
process takes them from the front and a forked one from the back, until they meet. System calls
and the interpreter's own work weigh about the same in a scan, so threads would gain little.
"""

from __future__ import annotations

import contextlib
import marshal
import mmap
import os
import signal
import sqlite3
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, Optional

from syncron_lib.core.merkle import Attributes
from syncron_lib.errors import SyncronError
from syncron_lib.fs.ignorefiles import IgnoreFile, IgnoreFiles
from syncron_lib.fs.renamed import Displaced, take_over
from syncron_lib.fs.scan import OnProgress, Scanner, Step, Subject
from syncron_lib.fs.state import State
from syncron_lib.fs.tree import Node, Tree, Unread

_SUBTREES = 64
"""Subtrees to share: so many that the last one does not keep one process waiting for long."""
_TOP_ENTRIES = 4000
"""Entries at the top of a tree after which no more is looked for; some 20 ms of work."""
_FEWEST = 4
"""Subtrees below which a second process, which takes some milliseconds to make, cannot help."""
_MEETING = struct.Struct("<IIQQ")
"""Shared memory: subtrees taken from the front, where the back begins, the other's tally."""


class Walk:
    """One scan of a root: its tree, and what was met."""

    def __init__(
        self,
        subject: Subject,
        state: Optional[State],
        ignore_files: IgnoreFiles,
        on_progress: OnProgress,
        may_share: Callable[[], bool],
    ) -> None:
        """``may_share``: whether a second process may be used from now on."""
        self._subject = subject
        self._state = state
        self._ignore_files = ignore_files
        self._on_progress = on_progress
        self._may_share = may_share
        self._meeting = mmap.mmap(-1, _MEETING.size)
        self._scanner = Scanner(subject, state, ignore_files, self._report)
        self.users = self._scanner.users
        self.groups = self._scanner.groups
        self.vanished = self._scanner.vanished
        self.renamed = False
        """Whether the state may have told what directories under other names hold."""

    def _report(self, entries: int, size: int) -> None:
        _, _, more, more_size = _MEETING.unpack(self._meeting)
        self._on_progress(entries + more, size + more_size)

    def tree(self) -> Tree:
        """Scan. Raises OSError where the root itself cannot be read."""
        scanner = self._scanner
        top: dict[bytes, list[Step]] = {}
        first = scanner.root()
        waiting = deque([first])
        # Where most is left unread, what is read is found by name and not in the state's order.
        few = self._subject.may_leave_unread
        while waiting and (few or (len(waiting) < _SUBTREES and scanner.entries < _TOP_ENTRIES)):
            step = waiting.popleft()
            top[step[0].path] = below = scanner.one(step)
            waiting.extend(below)
        subtrees = sorted(waiting, key=lambda step: step[0].path.replace(b"/", b"\0"))
        scanned = self._shared(subtrees)
        tree = Tree(Unread(scanner.unread, scanner.read) if scanner.unread else None)
        stack = [first]
        while stack:
            step = stack.pop()
            path = step[0].path
            below_top = top.get(path)
            if below_top is None:
                for node in scanned[path]:
                    tree.add(node)
            else:
                tree.add(step[0])
                stack.extend(reversed(below_top))
        self._take_over(tree)
        tree.total()
        return tree

    def _take_over(self, tree: Tree) -> None:
        """Use what the state knows of directories under the names that they had."""
        displaced = self._scanner.displaced
        if displaced and self._state is not None:
            try:
                self.renamed = True
                take_over(tree, self._state, displaced)
            except sqlite3.DatabaseError:
                self._state.reset()

    def _shared(self, subtrees: list[Step]) -> dict[bytes, list[Node]]:
        """Scan all subtrees; their nodes by the path of their top."""
        meeting = self._meeting
        _MEETING.pack_into(meeting, 0, 0, len(subtrees), 0, 0)
        other = None
        several = processors() > 1
        scanned: dict[bytes, list[Node]] = {}
        try:
            for index, step in enumerate(subtrees):
                left = len(subtrees) - index
                if several and other is None and left >= _FEWEST and self._may_share():
                    struct.pack_into("<I", meeting, 0, index)
                    other = _Other(lambda: self._from_the_back(subtrees))
                if other is not None:
                    (back,) = struct.unpack_from("<I", meeting, 4)
                    if index >= back:
                        break
                    struct.pack_into("<I", meeting, 0, index + 1)
                scanned[step[0].path] = self._scanner.below(step)
            if other is not None:
                self._take(other.result(), subtrees, scanned)
        finally:
            if other is not None:
                other.end()
        for step in subtrees:  # what a second process that failed has left over
            if step[0].path not in scanned:
                scanned[step[0].path] = self._scanner.below(step)
        return scanned

    # --- the second process -------------------------------------------------------------------

    def _from_the_back(self, subtrees: list[Step]) -> Any:
        """The second process's work: what it scanned, as plain values."""
        # SQLite connections must not be used across a fork.
        state = None if self._state is None else State(self._state.path)
        known = len(self._ignore_files.found)
        meeting = self._meeting
        parent = os.getppid()

        def report(entries: int, size: int) -> None:
            struct.pack_into("<QQ", meeting, 8, entries, size)
            if os.getppid() != parent:
                os._exit(1)  # nobody waits for this any more

        scanner = Scanner(self._subject, state, self._ignore_files, report)
        results = []
        for index in range(len(subtrees) - 1, -1, -1):
            (front,) = struct.unpack_from("<I", meeting, 0)
            if index < front:
                break
            # Both may take the same subtree at the same moment; then both scan it, no more.
            struct.pack_into("<I", meeting, 4, index)
            results.append((index, [_plain(node) for node in scanner.below(subtrees[index])]))
            report(scanner.entries, scanner.size)
        if state is not None and (state.warnings or state.damaged):
            raise SyncronError("The state is damaged.")  # this process's to find and to say
        found = [tuple(file) for file in self._ignore_files.found[known:]]
        ids = list(scanner.users), list(scanner.groups)
        displaced = [tuple(each) for each in scanner.displaced]
        return results, found, *ids, scanner.vanished, displaced

    def _take(self, result: Any, subtrees: list[Step], scanned: dict[bytes, list[Node]]) -> None:
        """Add what the second process scanned."""
        if result is None:
            return
        results, found, users, groups, vanished, displaced = result
        for index, plain in results:
            top = subtrees[index][0]
            if top.path in scanned:
                continue
            nodes: dict[bytes, Node] = {}
            for fields in plain:
                node = _node(fields, top, nodes)
                nodes[node.path] = node
                self._scanner.entries += node.own_entries
                self._scanner.size += node.own_size
            scanned[top.path] = list(nodes.values())
        self._ignore_files.found.extend(IgnoreFile(*file) for file in found)
        self.users.update(users)
        self.groups.update(groups)
        self.vanished.extend(vanished)
        self._scanner.displaced.extend(Displaced(*each) for each in displaced)


class _Other:
    """A forked process that computes one value."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._pid: Optional[int] = None
        self._fd = -1
        read_fd, write_fd = os.pipe()
        try:
            pid = os.fork()
        except OSError:  # too many processes: this one does it all
            os.close(read_fd)
            os.close(write_fd)
            return
        if pid == 0:
            _work(work, write_fd)
        os.close(write_fd)
        self._pid, self._fd = pid, read_fd

    def result(self) -> Any:
        """Wait for the value; None if it did not come to one."""
        if self._pid is None:
            return None
        with os.fdopen(self._fd, "rb") as file:
            self._fd = -1
            data = file.read()
        try:
            return marshal.loads(data)  # noqa: S302  our own fork wrote it
        except (EOFError, ValueError, TypeError):
            return None

    def end(self) -> None:
        """See that the process is gone."""
        if self._pid is not None:
            if self._fd >= 0:
                os.close(self._fd)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = None


def _work(work: Callable[[], Any], write_fd: int) -> None:
    """The life of the forked process. Does not return."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        data = memoryview(marshal.dumps(work()))
        while data:
            data = data[os.write(write_fd, data) :]
    finally:
        # Not sys.exit, and no traceback: whatever failed here is done again, and said, there.
        os._exit(0)


def _plain(node: Node) -> tuple[Any, ...]:
    return (
        node.path,
        node.row,
        node.stats,
        bytes(node.digests),
        node.targets,
        node.excluded,
        node.scope,
        node.merkle,
        tuple(node.attributes),
        node.identity,
        node.own_entries,
        node.own_size,
        node.problem,
        node.stored,
        node.own_rules,
        node.kept,
    )


def _node(fields: tuple[Any, ...], top: Node, nodes: dict[bytes, Node]) -> Node:
    """The inverse of `_plain`, for a subtree whose top this process knows."""
    path = fields[0]
    if path == top.path:
        node = Node(path, top.parent, top.row)
    else:
        node = Node(path, nodes[path[: path.rindex(b"/")]], fields[1])
    (
        _,
        _,
        node.stats,
        node.digests,
        node.targets,
        node.excluded,
        node.scope,
        node.merkle,
        attributes,
        node.identity,
        node.own_entries,
        node.own_size,
        node.problem,
        node.stored,
        node.own_rules,
        node.kept,
    ) = fields
    node.attributes = Attributes(*attributes)
    return node


def processors() -> int:
    """Processors that this process may use."""
    with contextlib.suppress(AttributeError, OSError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
