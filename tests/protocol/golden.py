"""One message of each kind with the bytes that it must have on the wire."""

from __future__ import annotations

import stat
from typing import Any

from syncron_lib.protocol import messages as m
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

_MESSAGES: list[Any] = [
    m.Hello(1, 2, "syncron 1", "3.9.2", "host", 1000, ["xxh3-128", "sha256-128"], ["zstd"], 60_000),
    m.Heartbeat(),
    m.Progress(True, 5, 1 << 33),
    m.Done(),
    m.Failed(11, "No space."),
    m.Open(
        b"~/\xff", 1, b"file", None, [b"- *.o", b"+ *"], True, False, True, True, False, 5000, "me"
    ),
    m.Opened(b"/home/me", 1, False, True),
    m.Scan(),
    m.Scanned(1, 2, 3, _DIGEST, [m.IdName(0, b"root")], [m.IdName(65534, b"nogroup")]),
    m.GetIgnoreFiles(),
    m.IgnoreFiles(_IGNORE_FILES),
    m.UseIgnoreFiles(_IGNORE_FILES),
    m.MapIds([m.IdName(1, b"one")], []),
    m.MappedIds(_PAIRS, []),
    m.Seal("xxh3-128", True, True, False, True, _PAIRS, [], False),
    m.Sealed(_DIGEST, 7, [_PROBLEM]),
    m.List([b"", b"a", b"a/b"]),
    m.Listing(
        [
            m.Directory(stat.S_IFDIR | 0o700, -2, 1, 2, 0, _TABLE, [m.Below(3, 4)]),
            m.Directory(stat.S_IFDIR | 0o700, 0, 0, 0, 13, table(), []),
        ]
    ),
    m.Hash([b"a\nb"]),
    m.Hashed(_DIGEST, 9, [_PROBLEM]),
    m.Begin([], _PAIRS),
    m.Leftovers([m.Arrived(b"big", 100, -1, 50, _DIGEST)]),
    m.Expect([m.Expected(b"new", True, False), m.Expected(b"old", False, True)]),
    m.Select([m.Selected(b"new", True)], [m.Arrived(b"big", 100, 5, 50, _DIGEST)]),
    m.Next(3),
    m.Stored(4, 1_500, [_PROBLEM], []),
    m.Adjust([m.SetAttributes(b"f", stat.S_IFREG | 0o4755, 6, 7, 8)]),
    m.Delete([b"old/dir"]),
    m.Finish([b"extra"], True),
    m.Finished(_DIGEST, []),
    m.Close(),
]

_BYTES = {
    "Hello": (
        "01000000020000000900000073796e63726f6e203105000000332e392e3204000000686f7374e803"
        "00000200000008000000787868332d3132380a0000007368613235362d3132380100000004000000"
        "7a73746460ea0000"
    ),
    "Heartbeat": "",
    "Progress": "0105000000000000000000000002000000",
    "Done": "",
    "Failed": "0b000000090000004e6f2073706163652e",
    "Open": (
        "030000007e2fff01010400000066696c650002000000050000002d202a2e6f030000002b202a0100"
        "01010088130000020000006d65"
    ),
    "Opened": "080000002f686f6d652f6d65010001",
    "Scan": "",
    "Scanned": (
        "010000000000000002000000000000000300000000000000000102030405060708090a0b0c0d0e0f"
        "010000000000000004000000726f6f7401000000feff0000070000006e6f67726f7570"
    ),
    "GetIgnoreFiles": "",
    "IgnoreFiles": (
        "02000000000000000a0000002e67697469676e6f7265040000002a2e6f0a0100000061040000002e"
        "67697400000000"
    ),
    "UseIgnoreFiles": (
        "02000000000000000a0000002e67697469676e6f7265040000002a2e6f0a0100000061040000002e"
        "67697400000000"
    ),
    "MapIds": "0100000001000000030000006f6e6500000000",
    "MappedIds": "02000000e803000001000000e903000000286bee00000000",
    "Seal": ("08000000787868332d3132380101000102000000e803000001000000e903000000286bee0000000000"),
    "Sealed": (
        "000102030405060708090a0b0c0d0e0f07000000000000000100000003000000612f621200000063"
        "616e6e6f7420626520726561643a20c3a901"
    ),
    "List": "0300000000000000010000006103000000612f62",
    "Listing": (
        "02000000c0410000feffffffffffffff010000000200000000000000060000001d00000064697200"
        "6669666f0066696c65ff00676f6e65006c696e6b006e756c6ced45000080110000a4810000000000"
        "00ffa10000b62100000000000000000000000000000000000000000000000100000d000000000000"
        "0000000000000000000301000000000000ffffffffffffffff020000000000000015cdfbdf855734"
        "160000000000000000050000000000000000000000000000000000000003000000e8030000000000"
        "00060000000000000000000000040000006400000000000000070000000000000000010203040506"
        "0708090a0b0c0d0e0f00000000000000000000000000000000787878787878787878787878787878"
        "78000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "000000000000000000050000002e2e2f746f0100000003000000000000000400000000000000c041"
        "0000000000000000000000000000000000000d00000000000000000000000000000000000000"
    ),
    "Hash": "0100000003000000610a62",
    "Hashed": (
        "10000000000102030405060708090a0b0c0d0e0f09000000000000000100000003000000612f6212"
        "00000063616e6e6f7420626520726561643a20c3a901"
    ),
    "Begin": "0000000002000000e803000001000000e903000000286bee",
    "Leftovers": (
        "01000000030000006269676400000000000000ffffffffffffffff32000000000000000001020304"
        "05060708090a0b0c0d0e0f"
    ),
    "Expect": "02000000030000006e65770100030000006f6c640001",
    "Select": (
        "01000000030000006e65770101000000030000006269676400000000000000050000000000000032"
        "00000000000000000102030405060708090a0b0c0d0e0f"
    ),
    "Next": "03",
    "Stored": (
        "0400000000000000dc050000000000000100000003000000612f621200000063616e6e6f74206265"
        "20726561643a20c3a90100000000"
    ),
    "Adjust": "010000000100000066ed89000006000000000000000700000008000000",
    "Delete": "01000000070000006f6c642f646972",
    "Finish": "0100000005000000657874726101",
    "Finished": "000102030405060708090a0b0c0d0e0f00000000",
    "Close": "",
}

GOLDEN: dict[str, tuple[Any, str]] = {
    type(message).__name__: (message, _BYTES[type(message).__name__]) for message in _MESSAGES
}
"""Kind to (message, hexadecimal payload)."""

NUMBERS = {
    "Hello": 0x01,
    "Heartbeat": 0x02,
    "Progress": 0x03,
    "Done": 0x04,
    "Failed": 0x05,
    "Open": 0x10,
    "Opened": 0x11,
    "Scan": 0x12,
    "Scanned": 0x13,
    "GetIgnoreFiles": 0x14,
    "IgnoreFiles": 0x15,
    "UseIgnoreFiles": 0x16,
    "MapIds": 0x18,
    "MappedIds": 0x19,
    "Seal": 0x1A,
    "Sealed": 0x1B,
    "List": 0x20,
    "Listing": 0x21,
    "Hash": 0x22,
    "Hashed": 0x23,
    "Begin": 0x30,
    "Leftovers": 0x31,
    "Expect": 0x34,
    "Select": 0x32,
    "Next": 0x33,
    "Stored": 0x42,
    "Adjust": 0x43,
    "Delete": 0x44,
    "Finish": 0x50,
    "Finished": 0x51,
    "Close": 0x52,
}
"""Kind to its number on the wire."""
