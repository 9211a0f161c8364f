"""Walking a whole tree, with two processes where the machine has two processors, from when on
nothing else needs the second one.

The top of the tree is scanned breadth first until there are enough subtrees to share. System calls
and the interpreter's own work weigh about the same in a scan, so threads would gain little.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any, Optional

from syncron_lib.core.merkle import Attributes
from syncron_lib.errors import SyncronError
from syncron_lib.fs.ignorefiles import IgnoreFile, IgnoreFiles
from syncron_lib.fs.renamed import Displaced, take_over
from syncron_lib.fs.scan import OnProgress, Scanner, Step, Subject
from syncron_lib.fs.second import Halves, SecondProcess, processors
from syncron_lib.fs.state import State
from syncron_lib.fs.tree import Node, Tree, Unread

_SUBTREES = 64
"""Subtrees to share: so many that the last one does not keep one process waiting for long."""
_TOP_ENTRIES = 4000
"""Entries at the top of a tree after which no more is looked for; some 20 ms of work."""
_FEWEST = 4
"""Subtrees below which a second process, which takes some milliseconds to make, cannot help."""


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
        self._halves = Halves(0)
        self._scanner = Scanner(subject, state, ignore_files, self._report)
        self.users = self._scanner.users
        self.groups = self._scanner.groups
        self.vanished = self._scanner.vanished
        self.renamed = False
        """Whether the state may have told what directories under other names hold."""

    def _report(self, entries: int, size: int) -> None:
        more, more_size = self._halves.told()
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
        self._halves = Halves(len(subtrees))
        other = None
        several = processors() > 1
        scanned: dict[bytes, list[Node]] = {}
        try:
            for index in self._halves.from_front():
                left = len(subtrees) - index
                if several and other is None and left >= _FEWEST and self._may_share():
                    other = SecondProcess(lambda: self._from_the_back(subtrees))
                step = subtrees[index]
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
        halves = self._halves
        scanner = Scanner(self._subject, state, self._ignore_files, halves.tell)
        results = []
        for index in halves.from_back():
            results.append((index, [_plain(node) for node in scanner.below(subtrees[index])]))
            halves.tell(scanner.entries, scanner.size)
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
