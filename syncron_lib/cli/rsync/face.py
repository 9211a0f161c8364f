"""rsync's way of telling a run: its lines, in its words, with its flags."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from syncron_lib.cli.face import Face, PassingFace
from syncron_lib.cli.format import human_number
from syncron_lib.core.choosing import Why
from syncron_lib.core.kinds import KINDS, kind_of
from syncron_lib.core.location import Location
from syncron_lib.core.names import join, shown
from syncron_lib.core.report import Action, Item, Report
from syncron_lib.protocol.messages import RootKind
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from syncron_lib.session.each import Given


class Telling(NamedTuple):
    """What of rsync's lines there is to be, decided once.

    ``header``: what comes before the first, if anything does. ``deltas``: what is said of parts of
    files, if anything is. ``made``: it is told that the
    destination is made, and ``skipped`` that a directory is not wanted. ``mark``: of a file that is
    brought over. ``root``: it is told that the destination is new. ``times``: they are kept, and
    ``link_times`` those of symlinks. ``quick``: a file of another time is brought over,
    whatever is in it. ``checksum``: it is known what is in it. ``human``: see
    `cli.format.human_number`. ``place``: the name that a single file gets, and ``flags``: lines say
    what changes, with the name that it had.
    """

    header: str
    deltas: str
    totals: bool
    stats: bool
    made: bool
    skipped: bool
    mark: str
    root: bool
    times: bool
    link_times: bool
    quick: bool
    checksum: bool
    human: int
    place: bytes
    flags: bool


class RsyncFace(PassingFace):
    """Another face, which is given items as rsync has them, and what rsync says beside them."""

    def __init__(self, face: Face, say: Callable[[str], None], telling: Telling) -> None:
        """``say``: writes a line, without what ends it."""
        super().__init__(face)
        self._say = say
        self._telling = telling
        self._prefix = b""
        self._name: bytes | None = None
        self._place = b""
        self._created: dict[str, int] = {}
        self._deleted: dict[str, int] = {}
        self._brought = 0
        self._size = 0
        self._deltas = telling.deltas

    def begin(self) -> None:
        """The run begins."""
        if self._telling.header:
            self._say(self._telling.header)

    def source(self, given: Given) -> None:
        """What follows is about this source."""
        self._tell_deltas()
        name = os.path.basename(given.source.path.rstrip(b"/"))
        is_file = given.kind in (RootKind.FILE, RootKind.OTHER)
        self._name = name if is_file else None
        self._place = name if given.into else self._telling.place or name
        self._prefix = name if given.into and not is_file else b""

    def _tell_deltas(self) -> None:
        if self._deltas:
            self._say(self._deltas)
            self._deltas = ""

    def skipped(self, given: Given) -> None:
        """A directory was not wanted."""
        if self._telling.skipped:
            path = given.source.path
            name = b"." if path.endswith(b"/") else os.path.basename(path)
            self._say(f"skipping directory {shown(name)}")

    def makes(self, destination: Location, made: int) -> None:
        """The destination is not there and is made, the last of so many directories."""
        if self._telling.made:
            path = shown(destination.path.rstrip(b"/"))
            said = f"directory {path}" if made < 2 else f"{made} directories for {path}"
            self._say(f"created {said}")

    def item(self, item: Item) -> None:
        """One line, as rsync has it; the directory that a single file goes to is none of it."""
        if not item.path and (self._name is not None or self._is_untold(item)):
            return
        item = self._as_rsync(item)
        self._count(item)
        self._face.item(item)

    def _is_untold(self, item: Item) -> bool:
        return item.action is Action.CREATE and not self._telling.root

    def _as_rsync(self, item: Item) -> Item:
        flags, action = self._flags(item), item.action
        if action is Action.METADATA and flags[0] in "<>":
            action = Action.CHANGE
        path = item.path
        if self._name is not None:
            path = self._place if self._is_by_place(action, item.why) else self._name
        elif self._prefix:
            path = join(self._prefix, path) if path else self._prefix
        target = item.target
        if item.action is Action.LINK and target is not None and self._prefix:
            target = join(self._prefix, target)
        return item._replace(action=action, path=path, target=target, flags=flags)

    def _is_by_place(self, action: Action, why: Why | None) -> bool:
        """Whether a single file is told of by the name that it gets."""
        if action is Action.LEAVE:
            return why not in (Why.LARGE, Why.SMALL)
        return action in (Action.UNCHANGED, Action.METADATA) and not self._telling.flags

    def _flags(self, item: Item) -> str:
        """The same flags in the light of rsync's quick check: a file whose size or time differs is
        brought over, and nobody has looked at what is in it."""
        telling, flags = self._telling, item.flags
        if item.action in (Action.UNCHANGED, Action.LEAVE):
            return flags
        if flags[1] == "f" and flags[4] == "t" and flags[0] in ".c" and telling.quick:
            flags = telling.mark + flags[1:]
        if flags[1] == "f" and flags[2] != "+" and flags[0] in "<>":
            changed = "c" if telling.checksum and item.action is Action.CHANGE else "."
            flags = flags[:2] + changed + flags[3:]
        if telling.times and not telling.link_times and flags[:2] == "cL" and flags[2] != "+":
            flags = flags[:4] + "t" + flags[5:]  # it is a new one, of now
        if not telling.times and flags[0] in "<>c" and flags[2] != "+":
            flags = flags[:4] + "T" + flags[5:]
        return flags

    def _count(self, item: Item) -> None:
        kind = _kind(item)
        if item.action is Action.DELETE:
            self._deleted[kind] = self._deleted.get(kind, 0) + 1
        elif "+" in item.flags:
            self._created[kind] = self._created.get(kind, 0) + 1
        if item.flags[0] in "<>" and item.flags[1] == "f":
            self._brought += 1
            self._size += item.size

    def finished(self, report: Report) -> None:
        """rsync's statistics and totals, and after them what is amiss."""
        self._tell_deltas()
        lines = self._statistics(report) if self._telling.stats else []
        lines += self._totals(report) if self._telling.totals else []
        for line in lines:
            self._say(line)
        self._face.finished(report)

    def _number(self, number: int) -> str:
        return human_number(number, self._telling.human)

    def _statistics(self, report: Report) -> list[str]:
        number = self._number
        rows = (
            ("Number of files", self._kinds(dict(zip(KINDS, report.source_kinds)))),
            ("Number of created files", self._kinds(self._created)),
            ("Number of deleted files", self._kinds(self._deleted)),
            ("Number of regular files transferred", number(self._brought)),
            ("Total file size", f"{number(report.source_bytes)} bytes"),
            ("Total transferred file size", f"{number(self._size)} bytes"),
            ("Literal data", f"{number(report.bytes_transferred)} bytes"),
            ("Matched data", f"{number(max(0, self._size - report.bytes_transferred))} bytes"),
            ("File list size", number(0)),
            ("File list generation time", "0.001 seconds"),
            ("File list transfer time", "0.000 seconds"),
            ("Total bytes sent", number(report.bytes_sent)),
            ("Total bytes received", number(report.bytes_received)),
        )
        return ["", *(f"{name}: {value}" for name, value in rows)]

    def _kinds(self, counts: dict[str, int]) -> str:
        total = sum(counts.values())
        parts = [f"{kind}: {self._number(counts[kind])}" for kind in KINDS if counts.get(kind)]
        return self._number(total) + (f" ({', '.join(parts)})" if parts else "")

    def _totals(self, report: Report) -> list[str]:
        number, human = self._number, self._telling.human
        # Between two local roots nothing is sent, but what a script looks at is not to be nothing.
        sent = report.bytes_sent or report.bytes_transferred
        received, size = report.bytes_received, report.source_bytes
        rate = _decimal((sent + received) / (0.5 + report.duration), human)
        speedup = _decimal(size / (sent + received) if sent + received else 0.0, human)
        dry = " (DRY RUN)" if report.dry_run else ""
        return [
            "",
            f"sent {number(sent)} bytes  received {number(received)} bytes  {rate} bytes/sec",
            f"total size is {number(size)}  speedup is {speedup}{dry}",
        ]


_OF_LETTER = {"f": "reg", "d": "dir", "L": "link", "D": "dev", "S": "special"}


def _kind(item: Item) -> str:
    if item.action is Action.DELETE:
        return KINDS[kind_of(item.mode)]
    return _OF_LETTER.get(item.flags[1], "reg")


def _decimal(number: float, human: int) -> str:
    if human > 1 and number >= (1000 if human == 2 else 1024):
        return human_number(int(number), human)
    return f"{number:,.2f}" if human else f"{number:.2f}"
