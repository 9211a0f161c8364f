"""Walking a whole tree, with two processes where the machine has two processors.

The top of the tree is scanned breadth first until there are enough subtrees to share. Then this
process takes them from the front and a forked one from the back, until they meet. System calls
and the interpreter's own work weigh about the same in a scan, so threads would gain little.

The forked one works in what is left of the processors' time: connecting to another machine, and
scanning the other side on the same one, go first. Since that may be none at all, it is never
waited for. It hands over each subtree that it has scanned; what it is at when this process is
through is scanned here.
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
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NoReturn, Optional

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
_LENGTH = struct.Struct("<Q")
"""Before each value that the other hands over."""


class Walk:
    """One scan of a root: its tree, and what was met."""

    def __init__(
        self,
        subject: Subject,
        state: Optional[State],
        ignore_files: IgnoreFiles,
        on_progress: OnProgress,
        shared: bool,
    ) -> None:
        """``shared``: with a second process, where there is a processor for it."""
        self._subject = subject
        self._state = state
        self._ignore_files = ignore_files
        self._on_progress = on_progress
        self._may_share = shared and processors() > 1
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
        if self._may_share and len(subtrees) >= _FEWEST:
            other = _Other(lambda hand_over: self._from_the_back(subtrees, hand_over))
        scanned: dict[bytes, list[Node]] = {}
        try:
            for index, step in enumerate(subtrees):
                if other is not None:
                    (back,) = struct.unpack_from("<I", meeting, 4)
                    if index >= back:
                        break
                    struct.pack_into("<I", meeting, 0, index + 1)
                scanned[step[0].path] = self._scanner.below(step)
        finally:
            if other is not None:
                other.end()
        for part in () if other is None else other.handed_over():
            self._take(part, subtrees, scanned)
        for step in subtrees:  # what the second process was at, or has left over
            if step[0].path not in scanned:
                scanned[step[0].path] = self._scanner.below(step)
        return scanned

    # --- the second process -------------------------------------------------------------------

    def _from_the_back(self, subtrees: list[Step], hand_over: Callable[[Any], None]) -> None:
        """The second process's work. It hands over, as plain values, what it scanned."""
        # SQLite connections must not be used across a fork.
        state = None if self._state is None else State(self._state.path)
        meeting = self._meeting
        parent = os.getppid()

        def report(entries: int, size: int) -> None:
            struct.pack_into("<QQ", meeting, 8, entries, size)
            if os.getppid() != parent:
                os._exit(1)  # nobody waits for this any more

        scanner = Scanner(self._subject, state, self._ignore_files, report)
        for index in range(len(subtrees) - 1, -1, -1):
            (front,) = struct.unpack_from("<I", meeting, 0)
            if index < front:
                break
            # Both may take the same subtree at the same moment; then both scan it, no more.
            struct.pack_into("<I", meeting, 4, index)
            known = len(self._ignore_files.found)
            nodes = [_plain(node) for node in scanner.below(subtrees[index])]
            if state is not None and (state.warnings or state.damaged):
                raise SyncronError("The state is damaged.")  # this process's to find and to say
            found = [tuple(file) for file in self._ignore_files.found[known:]]
            ids = list(scanner.users), list(scanner.groups)
            displaced = [tuple(each) for each in scanner.displaced]
            hand_over((index, nodes, found, *ids, scanner.vanished, displaced))
            scanner.vanished.clear()
            scanner.displaced.clear()
            report(scanner.entries, scanner.size)

    def _take(self, part: Any, subtrees: list[Step], scanned: dict[bytes, list[Node]]) -> None:
        """Add a subtree that the second process scanned."""
        index, plain, found, users, groups, vanished, displaced = part
        top = subtrees[index][0]
        if top.path in scanned:
            return
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
    """A forked process, and the values that it hands over."""

    def __init__(self, work: Callable[[Callable[[Any], None]], None]) -> None:
        self._pid: Optional[int] = None
        self._file: Optional[BinaryIO] = None
        try:
            self._file = _unnamed_file()
            pid = os.fork()
        except OSError:  # too many processes, or no room: this one does it all
            return
        if pid == 0:
            _live(work, self._file)
        self._pid = pid

    def end(self) -> None:
        """See that the process is gone."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = None

    def handed_over(self) -> Iterator[Any]:
        """The values that came until it was gone."""
        if self._file is not None:
            with self._file as file:
                file.seek(0)
                while len(head := file.read(_LENGTH.size)) == _LENGTH.size:
                    (length,) = _LENGTH.unpack(head)
                    data = file.read(length)
                    if len(data) < length:
                        break  # what it was about to write
                    yield marshal.loads(data)  # noqa: S302  our own fork wrote it


def _live(work: Callable[[Callable[[Any], None]], None], file: BinaryIO) -> NoReturn:
    """The life of the forked process."""

    def hand_over(value: Any) -> None:
        data = marshal.dumps(value)
        file.write(_LENGTH.pack(len(data)) + data)
        file.flush()

    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _step_back()
        work(hand_over)
    finally:
        # Not sys.exit, and no traceback: whatever failed here is done again, and said, there.
        os._exit(0)


def _unnamed_file() -> BinaryIO:
    """A file of this process and those it forks, in memory where the system has such."""
    try:
        return open(os.memfd_create("scan"), "w+b")
    except (AttributeError, OSError):
        import tempfile

        return tempfile.TemporaryFile()


def _step_back() -> None:
    """Let every other process of the machine go first."""
    try:
        # Unlike with any nice value, a processor with nothing else to do counts as free.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):
        os.nice(19)


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
