"""Digests of files on demand, with what stands in their way as values."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import Any

from syncron_lib.core import digest
from syncron_lib.core.names import join
from syncron_lib.core.table import PROBLEM
from syncron_lib.endpoint.parts import bounded
from syncron_lib.fs import seal
from syncron_lib.fs.hashing import Changed, FileHasher
from syncron_lib.fs.second import Halves, SecondProcess, processors
from syncron_lib.fs.tree import Node, Tree
from syncron_lib.protocol.messages import Hashed, Problem

_PIECE = 64
"""Files that one process takes at once."""
_FEWEST = 32
"""Pieces below which a second process, which takes some milliseconds to make, cannot help."""


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
    """Hash every file of a sealed tree whose digest is unknown; what could not be read. With two
    processes, where that helps."""
    problems: list[Problem] = []
    pieces: list[_Piece] = []
    for node in tree.present():
        if node.merkle != digest.UNKNOWN:
            continue  # it covers them all
        if node.problem:
            problems.append(_problem_of(node))
        unknown = list(seal.unknown_rows(node, (stat.S_IFREG, PROBLEM)))
        pieces.extend(
            (node, unknown[start : start + _PIECE]) for start in range(0, len(unknown), _PIECE)
        )
    halves = Halves(len(pieces))
    several = len(pieces) >= _FEWEST and processors() > 1 and not hasher.is_entangled
    other = SecondProcess(lambda: _from_the_back(pieces, hasher, halves)) if several else None
    found: dict[int, list[Problem]] = {}
    before = hasher.elsewhere
    try:
        for index in halves.from_front():
            found[index] = _hash_piece(pieces[index], hasher)
            hasher.elsewhere = before + halves.told()[1]
        if other is not None:
            results = other.result()
            hasher.elsewhere = before
            if results is not None:
                _take(results, pieces, found)
                hasher.elsewhere += halves.told()[1]
    finally:
        if other is not None:
            other.end()
    for index, piece in enumerate(pieces):
        if index not in found:  # what a second process that failed has left over
            found[index] = _hash_piece(piece, hasher)
        problems.extend(found[index])
    return problems


_Piece = tuple[Node, list[int]]
"""Rows of one directory that are to be hashed."""


def _hash_piece(piece: _Piece, hasher: FileHasher) -> list[Problem]:
    node, rows = piece
    problems: list[Problem] = []
    columns = node.columns()
    for row in rows:
        path = join(node.path, columns.names[row])
        if columns.modes[row] == PROBLEM:
            reason = os.strerror(columns.sizes[row])
            problems.append(Problem(path, f"cannot be read: {reason}", False))
        else:
            problems.extend(hash_one(hasher, path)[1])
    return problems


def _from_the_back(pieces: Sequence[_Piece], hasher: FileHasher, halves: Halves) -> Any:
    """The second process's work: by piece, digests and whether they are settled, and problems."""
    before = hasher.size
    hasher.on_bytes = lambda _count: halves.tell(0, hasher.size - before)
    results = []
    for index in halves.from_back():
        node, rows = pieces[index]
        problems = [tuple(each) for each in _hash_piece(pieces[index], hasher)]
        unsettled = node.unsettled or ()
        digests = [(node.digest_of(row), row not in unsettled) for row in rows]
        results.append((index, digests, problems))
    return results


def _take(results: Any, pieces: Sequence[_Piece], found: dict[int, list[Problem]]) -> None:
    """Note what the second process has found."""
    for index, digests, problems in results:
        if index in found:
            continue
        found[index] = [Problem(*each) for each in problems]
        node, rows = pieces[index]
        for row, (value, settled) in zip(rows, digests):
            if value != digest.UNKNOWN:
                node.set_digest(row, value, settled)


def _problem_of(node: Node) -> Problem:
    return Problem(node.path, f"cannot be read: {os.strerror(node.problem)}", False)
