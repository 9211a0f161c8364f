"""One message of each kind; ``golden.txt`` has the bytes that it must have on the wire.

Where the protocol is changed on purpose, ``python -m tests.protocol.golden`` writes that file
anew.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from syncron_lib.core.ids import IdRule
from syncron_lib.protocol import messages as m
from syncron_lib.protocol.wire import encode
from tests.core.tables import Row, table

_DIGEST = bytes(range(16))
_PROBLEM = m.Problem(b"a/b", "cannot be read: \u00e9", True)
_PAIRS = [m.IdPair(1000, 1), m.IdPair(1001, 4_000_000_000)]
_TABLE = table(
    Row(b"dir", stat.S_IFDIR | 0o2755, 0, -1, 0, 0, _DIGEST),
    Row(b"fifo", stat.S_IFIFO | 0o600, 0, 2, 3, 4),
    Row(
        b"file\xff", stat.S_IFREG | 0o644, 1 << 40, 1_600_000_000_123_456_789, 1000, 100, b"x" * 16
    ),
    Row(b"gone", 0, 13),
    Row(b"link", stat.S_IFLNK | 0o777, 0, 5, 6, 7, target=b"../to"),
    Row(b"null", stat.S_IFCHR | 0o666, 0x103),
)
_IGNORE_FILES = [m.IgnoreFile(b"", b".gitignore", b"*.o\n"), m.IgnoreFile(b"a", b".git", b"")]

MESSAGES: list[Any] = [
    m.Hello(
        *(1, 2, "syncron 1", "3.9.2", "host", 1000),
        ["xxh3-128", "sha256-128"],
        ["zstd", "zlib"],
        ["fixed"],
        60_000,
        1 << 33,
    ),
    m.Heartbeat(),
    m.Progress(True, 5, 1 << 33),
    m.Done(),
    m.Failed(11, "No space."),
    m.Notice("State was damaged.", True),
    m.Open(
        *(b"~/\xff", 1, b"file", None, [b"- *.o", b"+ *"], True, False, True, True, False, 5000),
        "me",
        m.Chosen(b"a\0b/", True, b"/list", False),
        m.View("Fo-w", 5, 1, True, True),
        b"../tmp",
    ),
    m.Opened(b"/home/me", 1, False, True, _DIGEST, "process 7", True, [_DIGEST], 3),
    m.Scan(True, True, True, [b"a/b", b""]),
    m.GetHot(100),
    m.HotDirectories([m.HotDirectory(b"a/b", 1500)]),
    m.Scanned(1, 2, 3, _DIGEST, [m.IdName(0, b"root")], [m.IdName(65534, b"nogroup")]),
    m.GetIgnoreFiles(7),
    m.IgnoreFiles(_IGNORE_FILES, True),
    m.UseIgnoreFiles(_IGNORE_FILES, False),
    m.Enter([b"lib"]),
    m.Entered(3, 9, 0, [b"lib"], [_PROBLEM], [m.Doubled(b"lib", b"usr/lib")]),
    m.MapIds([m.IdName(1, b"one")], [], True, [IdRule(1, 0, b"*", b"two")], []),
    m.MappedIds(_PAIRS, []),
    m.Seal(
        "xxh3-128", True, True, False, True, _PAIRS, [], False, True, True, 5, True, False, True
    ),
    m.Sealed(_DIGEST, 7, [_PROBLEM], _PAIRS, []),
    m.List([b"", b"a", b"a/b"], b"name"),
    m.Listing(
        [
            m.Directory(stat.S_IFDIR | 0o700, -2, 1, 2, 0, _TABLE, [m.Below(3, 4, True)], False),
            m.Directory(stat.S_IFDIR | 0o700, 0, 0, 0, 13, table(), [], True),
        ]
    ),
    m.GetLinks(7, 1),
    m.Links([m.Linked(3, stat.S_IFREG | 0o644, 5, b"a"), m.Linked(3, 33188, 5, b"b/c")], True),
    m.GetMarks(3),
    m.CountKinds(),
    m.Kinds(5, 4, 3, 2, 1),
    m.Marks([m.Marked(b"a/b", stat.S_IFREG | 0o644, 5, _DIGEST, bytes(16))], True),
    m.GetSets([b"", b"a/b"]),
    m.Sets([b"", b"\6\0\0\0user.x\1\0\0\0v"]),
    m.Hash([b"a\nb"]),
    m.Hashed(_DIGEST, 9, [_PROBLEM]),
    m.GetChanges(True, 1 << 18, 1 << 23),
    m.Changes(
        _DIGEST,
        True,
        stat.S_IFDIR | 0o700,
        -2,
        1,
        2,
        True,
        [
            m.Changed(b"", _DIGEST, m.Below(5, 6, True), None, False),
            m.Changed(
                b"a",
                bytes(16),
                m.Below(3, 4, False),
                m.Directory(0o40700, 0, 0, 0, 0, table(), []),
                True,
            ),
        ],
        7,
    ),
    m.UseAlternates([b"../yesterday", b"/\xff"]),
    m.Alternates([True, False]),
    m.ListAlternate(1, [b"", b"a"], b"name"),
    m.HashAlternate(0, [b"a"]),
    m.TakeEntries(
        [m.SetAttributes(b"d", stat.S_IFDIR | 0o750, 6, 7, 8)],
        0,
        [m.TakenEntry(b"d/\xff", True, False, stat.S_IFDIR | 0o750, 6, 7, 8)],
    ),
    m.TakeBasis(1, [b"large"]),
    m.Backup(b"../kept", b"name", b"~"),
    m.GetSnapshots(b"/\xff"),
    m.Snapshots(1, False, True, [m.Snapshot(b"2026-11-28T034500Z", b"{}")], ["1: busy"]),
    m.KeepSnapshot(b"/s", b"2026-11-28T034500Z", b"{}", True),
    m.DropSnapshots(b"/s", [b"2026-11-28T034500Z"]),
    m.Introduce(),
    m.Introduced(_DIGEST, 7, 2, b"packed"),
    m.Observe(1, False, True, False),
    m.Observed(_DIGEST, 8, bytes(16), 3),
    m.GetKnowledge(1 << 22),
    m.KnowledgePart(b"packed", True),
    m.GetRecords([b"", b"d"], 100),
    m.RecordsPart([b"packed", b""], True),
    m.Tick(),
    m.Ticked(9),
    m.Intend(b"packed", False),
    m.Preserve([m.Moved(b"a", b"a.syncron-conflict-0011223344")]),
    m.Settle([b"a/\xff"]),
    m.Settled(_DIGEST, [b"a"]),
    m.Begin([], _PAIRS, True, True, True, True, True),
    m.Release(),
    m.GetReplicas(_DIGEST),
    m.Replicas(_DIGEST, 1, [m.KnownReplica(_DIGEST, b"desk:/\xff", 9, True)]),
    m.Leftovers([m.Arrived(b"big", 100, -1, 50, _DIGEST)]),
    m.Expect([m.Expected(b"new", True, False), m.Expected(b"old", False, True)]),
    m.Select([m.Selected(b"new", True)], [m.Arrived(b"big", 100, 5, 50, _DIGEST)], True),
    m.GetSizes(),
    m.Sizes(b"\x07" + bytes(7)),
    m.Find(b"\x07" + bytes(7)),
    m.Found(b"\x07" + bytes(7) + _DIGEST),
    m.Offer(b"\x07" + bytes(7) + _DIGEST, [b"big"]),
    m.Wanted(_DIGEST, [b"big"]),
    m.Keep(_DIGEST),
    m.Next(1, 3),
    m.Stored(4, 1_500, [_PROBLEM], [], [b"a/again"]),
    m.Move([m.SetAttributes(b"d", stat.S_IFDIR | 0o750, 6, 7, 8)], [m.Moved(b"old/x", b"d/\xff")]),
    m.Extend([m.Extended(b"a/b", b"\6\0\0\0user.x\1\0\0\0v")], True),
    m.Link([m.Linking(b"d/name", b"leader", True)]),
    m.GetChunks(b"big", "fixed", 0, 1 << 40),
    m.Chunks(4096, b"\0\x10\0\0", b"8 bytes."),
    m.Basis(b"big", "fixed", 4096, b"\0\x10\0\0", b"8 bytes.", False, True),
    m.Adjust([m.SetAttributes(b"f", stat.S_IFREG | 0o4755, 6, 7, 8)]),
    m.Delete([b"old/dir"]),
    m.GetManifest(1 << 33),
    m.Manifest(b"SYNCMAN1", True),
    m.PutManifest(b"SYNCMAN1", False),
    m.UseManifest("host:/\u00e9", b"SYNCMAN1", True),
    m.Viewed(True, True, 7, False, True, b"key id..", True),
    m.GetSealed(3),
    m.SealedFiles([m.SealedFile(b"a/\xff", True, False)], True),
    m.MakeManifest(False, [b"failed"], [b"gone/x"], True),
    m.KeepManifest(),
    m.GetLineage(),
    m.Lineage(bytes(range(16))),
    m.PutLineage(bytes(range(16))),
    m.Judge([b"a/\xff"]),
    m.Judgement([m.Judged(b"a/\xff", True, False, True, 3, 1 << 40, 2, True, b"8 bytes.")]),
    m.Resolve([m.Resolved(b"a", b"8 bytes." * 2)]),
    m.LeaveOut([b"extra/x"]),
    m.Imply([b"", b"a"]),
    m.RemoveSource(),
    m.MakeImplied([b"a/b"]),
    m.Finish([b"extra"], True, True),
    m.Finished(_DIGEST, [], True),
    m.Close(),
]

_FILE = Path(__file__).with_suffix(".txt")


def _recorded() -> dict[str, tuple[int, str]]:
    lines = (line.split() for line in _FILE.read_text().splitlines())
    return {name: (int(number, 16), "".join(rest)) for name, number, *rest in lines}


RECORDED = _recorded() if _FILE.exists() else {}
"""Kind to (number, hexadecimal payload)."""
GOLDEN: dict[str, Any] = {type(message).__name__: message for message in MESSAGES}
"""Kind to its message."""


def _record() -> None:
    lines = []
    for message in MESSAGES:
        number, payload = encode(message)
        lines.append(f"{type(message).__name__} {number:02x} {payload.hex()}".rstrip())
    _FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    _record()
