"""Digests of files on demand, with what stands in their way as values."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from syncron_lib.core import digest
from syncron_lib.core.names import join
from syncron_lib.core.table import PROBLEM
from syncron_lib.endpoint.parts import bounded
from syncron_lib.fs import seal
from syncron_lib.fs.hashing import Changed, FileHasher
from syncron_lib.fs.tree import Node, Tree
from syncron_lib.protocol.messages import Hashed, Problem


def hash_one(hasher: FileHasher, path: bytes) -> tuple[bytes, list[Problem]]:
    """The digest of one file, or `digest.UNKNOWN` and why."""
    try:
        return hasher.hash(path), []
    except (Changed, FileNotFoundError) as error:
        what = str(error) if isinstance(error, Changed) else "vanished"
        return digest.UNKNOWN, [Problem(path, what, True)]
    except OSError as error:
        return digest.UNKNOWN, [Problem(path, f"cannot be read: {error.strerror}", False)]


def hashed(hasher: FileHasher, paths: Sequence[bytes]) -> Hashed:
    """The digests of files, as a reply."""
    before = hasher.size
    digests = []
    problems: list[Problem] = []
    for path in paths:
        value, problem = hash_one(hasher, path)
        digests.append(value)
        problems.extend(problem)
    return Hashed(b"".join(digests), hasher.size - before, bounded(problems))


def hash_all(tree: Tree, hasher: FileHasher) -> list[Problem]:
    """Hash every file whose digest is unknown; what could not be read."""
    problems = []
    for node in tree.present():
        if node.problem:
            problems.append(_problem_of(node))
        unknown = list(seal.unknown_rows(node, (stat.S_IFREG, PROBLEM)))
        if not unknown:
            continue
        columns = node.columns()
        for row in unknown:
            path = join(node.path, columns.names[row])
            if columns.modes[row] == PROBLEM:
                reason = os.strerror(columns.sizes[row])
                problems.append(Problem(path, f"cannot be read: {reason}", False))
            else:
                _, problem = hash_one(hasher, path)
                problems.extend(problem)
    return problems


def _problem_of(node: Node) -> Problem:
    return Problem(node.path, f"cannot be read: {os.strerror(node.problem)}", False)
