"""How many entries of a scanned tree are of which kind."""

from __future__ import annotations

from collections import Counter

from syncron_lib.core.kinds import KINDS, kind_of
from syncron_lib.core.table import PROBLEM
from syncron_lib.fs.tree import Tree


def count_kinds(tree: Tree) -> list[int]:
    """Of each of `core.kinds.KINDS`, below the root."""
    tree.complete()
    modes: Counter[int] = Counter()
    for node in tree.nodes.values():
        if node.stats:
            modes.update(node.columns().modes)
    found = [0] * len(KINDS)
    for mode, count in modes.items():
        if mode != PROBLEM:
            found[kind_of(mode)] += count
    return found
