"""Standard streams as a run writes to them."""

from __future__ import annotations

import os

from syncron_lib.cli.output import Output


def test_output_comes_as_it_is_asked_for() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)

    def come() -> bytes:
        try:
            return os.read(ours, 100)
        except BlockingIOError:
            return b""

    with open(theirs, "w", encoding="utf-8") as stream:
        output = Output(stream)
        output.write("block\n")
        assert come() == b""
        output.buffer("none")
        output.write("a")
        assert come() == b"block\na"
        output.buffer("line")
        output.write("b")
        assert come() == b""
        output.write("c\n")
        assert come() == b"bc\n"
        output.buffer("block")
        output.write("d\n")
        output.buffer(None)
        assert come() == b""
    assert come() == b"d\n"
    os.close(ours)
