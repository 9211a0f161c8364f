"""Options about how files are written."""

from __future__ import annotations

from syncron_lib.cli import values
from syncron_lib.cli.option import Kind, Option

_HOW = "How"

WRITING: tuple[Option, ...] = (
    Option(
        _HOW,
        "whole-file",
        Kind.SWITCH,
        "send changed files whole (default between two local roots)",
        "W",
    ),
    Option(_HOW, "inplace", Kind.SWITCH, "write what changed into the files of DST; not atomic"),
    Option(
        _HOW,
        "append",
        Kind.SWITCH,
        "write what files of DST lack at their ends; leave those that are no shorter",
        alias="append-verify",
    ),
    Option(_HOW, "sparse", Kind.SWITCH, "have holes where new files have zeros", "S"),
    Option(_HOW, "preallocate", Kind.SWITCH, "take room for a file before it is written"),
    Option(_HOW, "delay-updates", Kind.SWITCH, "put all files in their places at the end"),
    Option(
        _HOW,
        "temp-dir",
        Kind.TEXT,
        "put together what comes in DIR, relative to DST, instead of in DST",
        "T",
        metavar="DIR",
        convert=values.not_empty,
    ),
    Option(
        _HOW,
        "partial",
        Kind.PRESET,
        "keep what an interrupted run has brought over (always)",
        on={},
    ),
)
"""A part of `syncron_lib.cli.catalog.OPTIONS`."""
