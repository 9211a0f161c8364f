"""``--merge``: what was changed on both sides is put together by a command of the user's, where
the content that both were made of is known.

A policy like any other (`core.twoway.reconcile`), in front of the one that decides otherwise.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Mapping, Sequence

from syncron_lib.core.names import join, shown, split
from syncron_lib.core.options import MergeRule, RunOptions
from syncron_lib.core.twoway.merging import MOST, Base, Merged, filled, named, rule_for
from syncron_lib.core.twoway.reconcile import Choice, Policy
from syncron_lib.core.twoway.records import Record
from syncron_lib.errors import StateUnusable
from syncron_lib.fs.bases import Bases, packed
from syncron_lib.session.observer import Observer
from syncron_lib.session.twoway.ends import End, differing
from syncron_lib.session.twoway.exchange import (
    Scratch,
    merged_of,
    read_bounded,
    write_private,
)

_PATIENCE = 60.0
"""Seconds that one command may take."""
_FILES_AT_ONCE = 500
_BYTES_AT_ONCE = 16 << 20


class Merger:
    """A policy for two replicas: merged where that can be, else what another policy says."""

    def __init__(
        self,
        ends: tuple[End, End],
        options: RunOptions,
        policy: Policy,
        scratch: Scratch,
        observer: Observer,
        patience: float = _PATIENCE,
    ) -> None:
        """Raises StateUnusable where bases cannot be kept."""
        self._ends = ends
        self._rules = options.merges
        self._policy = policy
        self._scratch = scratch
        self._observer = observer
        self._patience = patience
        pair = b"\0".join(sorted(map(_address, ends)))
        self._bases = Bases(os.environ, pair, b"\0".join(rule.pattern for rule in self._rules))
        self.results: dict[bytes, tuple[bytes, Merged]] = {}
        """What was merged, by path."""

    def __call__(self, path: bytes, first: Record, second: Record) -> Choice | Merged:
        """What is to become of one path."""
        rule = rule_for(self._rules, path)
        if rule is not None and first.is_file and second.is_file:
            content = self._merged(rule, path, first, second)
            if content is not None:
                merged = merged_of(content)
                self.results[path] = content, merged
                self._scratch.merged[path] = content
                return merged
        return self._policy(path, first, second)

    def _merged(self, rule: MergeRule, path: bytes, first: Record, second: Record) -> bytes | None:
        found = self._bases.get(*split(path))
        if found is None:
            return self._not(path, "nothing is kept that both versions were made of")
        base, old = found
        for end, record in zip(self._ends, (first, second)):
            if not base.is_before(record, end.knowledge.of(path)):
                return self._not(path, "what is kept is not what both versions were made of")
        one, other = self._scratch.versions(self._ends, path, first, second)
        if one is None or other is None:
            return self._not(path, "a version is too large, or could not be fetched as it was")
        content = self._run(rule, path, {"base": old, "a": one, "b": other})
        if content is not None and not content and one and other:
            return self._not(path, "the command gave nothing; see that its result is its output")
        return content

    def _not(self, path: bytes, why: str) -> bytes | None:
        self._observer.remark(f"{shown(path)} is not merged: {why}.")
        return None

    def _run(self, rule: MergeRule, path: bytes, versions: Mapping[str, bytes]) -> bytes | None:
        """What the command makes of them."""
        top = self._scratch.directory()
        # Tools go by the ending; nothing else of a name is passed on.
        ending = re.search(rb"\.[A-Za-z0-9]{1,16}$", path)
        places = {
            name: top + b"/" + name.encode() + (ending[0] if ending else b"")
            for name in ("base", "a", "b", "out")
        }
        for name, content in versions.items():
            write_private(places[name], content)
        words = filled(rule.words, {name: os.fsdecode(each) for name, each in places.items()})
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=top,
                start_new_session=True,
            )
        except OSError as error:
            what = f"{shown(os.fsencode(words[0]))} cannot be run ({error.strerror})"
            self._observer.warning(f"--merge: {what}; see that it is installed.")
            return None
        with process:
            timer = threading.Timer(self._patience, _kill, (process,))
            timer.start()
            try:
                assert process.stdout is not None
                output = process.stdout.read(MOST + 1)
                if len(output) > MOST:
                    _kill(process)
                status = process.wait()
            finally:
                timer.cancel()
                _kill(process)
        if status < 0 or len(output) > MOST:
            return self._not(path, "the command took too long, made too much, or was killed")
        if status:
            return self._not(path, f"the command ended with status {status}")
        if not named(rule.words, "out"):
            return output
        made = read_bounded(places["out"])
        return made if made is not None else self._not(path, "the command wrote no result")

    # --- bases ----------------------------------------------------------------------------------

    def keep(self) -> None:
        """Keep the contents that both sides have alike now."""
        try:
            try:
                self._keep()
            except sqlite3.DatabaseError as error:
                self._bases.recover(error)
                self._keep()
        except (sqlite3.DatabaseError, StateUnusable) as error:
            why = str(error).rstrip(".")
            self._observer.warning(
                f"--merge: what both sides have now could not be kept ({why}), so what both change"
                " next is not merged."
            )

    def _keep(self) -> None:
        first, second = self._ends
        whole = first.observed.records == second.observed.records
        if whole and self._bases.seen(b"").get(b"") == first.observed.records:
            return
        apart = ({}, {}) if whole else differing(first, second)
        unlike = {
            path
            for path in {*apart[0], *apart[1]}
            if path not in apart[0] or apart[0][path] != apart[1].get(path)
        }
        with self._bases.changing():
            wanted, looked = self._walk(unlike)
            complete = self._fetch(wanted)
            if whole and complete:
                for parent, name, value in (*looked, (b"", b"", first.observed.records)):
                    self._bases.see(parent, name, value)

    def _walk(
        self, unlike: set[bytes]
    ) -> tuple[dict[bytes, Record], list[tuple[bytes, bytes, bytes]]]:
        """Files whose base is another one than what is kept; directories that were looked at."""
        wanted: dict[bytes, Record] = {}
        looked: list[tuple[bytes, bytes, bytes]] = []
        frontier = [b""]
        while frontier:
            below: list[bytes] = []
            for directory, (records, digests) in zip(frontier, self._ends[0].records(frontier)):
                kept = self._bases.known(directory)
                for name, record in records.items():
                    path = join(directory, name)
                    if path in unlike:
                        kept.pop(name, None)  # it is still what both were made of
                        continue
                    version = record.fp, packed(_base(record))
                    if self._is_kept(path, record) and kept.pop(name, None) != version:
                        wanted[path] = record
                for name in kept:
                    if join(directory, name) not in unlike:
                        self._bases.drop(directory, name)
                seen = self._bases.seen(directory)
                for name in seen.keys() - digests.keys() - {b""}:
                    self._bases.drop_tree(directory, name)
                for name, value in digests.items():
                    if seen.get(name) != value:
                        below.append(join(directory, name))
                        looked.append((directory, name, value))
            frontier = below
        return wanted, looked

    def _is_kept(self, path: bytes, record: Record) -> bool:
        small = record.is_file and record.size <= MOST
        return small and rule_for(self._rules, path) is not None

    def _fetch(self, wanted: Mapping[bytes, Record]) -> bool:
        """Have these contents kept; whether all could be had."""
        here = [end for end in self._ends if end.is_local]
        source = (here or self._ends)[0]
        complete, without = True, 0
        for some in _some(wanted):
            contents = self._scratch.fetch(source, some)
            complete &= len(contents) == len(some)
            for path, content in contents.items():
                without += not self._bases.put(*split(path), _base(some[path]), content)
        if without:
            self._observer.remark(
                f"{without:,} files could not be merged if both sides changed them: there is room"
                " for no more contents to merge from. Name fewer with --merge."
            )
        return complete

    def close(self) -> None:
        """Let go of the bases."""
        self._bases.close()


def _base(record: Record) -> Base:
    return Base(record.fp, record.made, record.born)


def _address(end: End) -> bytes:
    """Of a replica, the same whatever stands first, and wherever it is said."""
    if end.is_local:
        return os.path.realpath(end.location.path)
    return os.fsencode(end.location.shown())


def _some(wanted: Mapping[bytes, Record]) -> Sequence[dict[bytes, Record]]:
    """So many as are fetched at once."""
    parts: list[dict[bytes, Record]] = []
    size = 0
    for path, record in wanted.items():
        if not parts or len(parts[-1]) == _FILES_AT_ONCE or size > _BYTES_AT_ONCE:
            parts.append({})
            size = 0
        parts[-1][path] = record
        size += record.size
    return parts


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a command and all that it has started."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
