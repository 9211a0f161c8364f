"""The options about sealed files."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from syncron_lib.cli import values
from syncron_lib.cli.option import Kind, Option

GROUP = "Sealed files"

SEALING: tuple[Option, ...] = (
    Option(
        GROUP,
        "key",
        Kind.FILE,
        "what seals (default ~/.config/syncron/key)",
        metavar="FILE",
        convert=values.not_empty,
    ),
    Option(
        GROUP,
        "passphrase-command",
        Kind.TEXT,
        "what prints the passphrase of the key",
        metavar="COMMAND",
        convert=values.not_empty,
    ),
    Option(
        GROUP,
        "secure",
        Kind.TEXTS,
        "seal what PATTERN matches too, as in .secure; repeatable",
        metavar="PATTERN",
        convert=values.not_empty,
    ),
    Option(
        GROUP,
        "secure-names",
        Kind.SWITCH,
        "seal the names of what is sealed, too",
    ),
    Option(
        GROUP,
        "declassify",
        Kind.SWITCH,
        "let what .secure names no more go and come in clear",
    ),
    Option(
        GROUP,
        "accept-rollback",
        Kind.SWITCH,
        "believe older versions of sealed files",
    ),
    Option(
        GROUP,
        "ciphertext",
        Kind.SWITCH,
        "carry sealed files as they are; no key is used",
    ),
    Option(
        GROUP,
        "sealed",
        Kind.FILES,
        "with --two-way: sealed files are sealed in REPLICA, too; repeatable",
        metavar="REPLICA",
        convert=values.not_empty,
    ),
)
"""Options for the command line and for jobs alike; `cli.catalog` has the others."""

_ABOUT_KEYS = (
    ("--keygen", "keygen", "make a key, in FILE if one follows"),
    ("--change-passphrase", "change passphrase", "of the key; it seals the same"),
    ("--rekey", "rekey", "seal all in DST with a new key"),
    ("--secure-check", "secure check", "is all that is sealed in DIR as it was sealed?"),
    ("--seal", "seal", "make DST like SRC, sealed, both on this machine"),
    ("--unseal", "unseal", "the other way round"),
)
"""What is asked for instead of a run, what `cli.parser.Mode` calls it, and what it does."""


def add_about_keys(group: argparse._ArgumentGroup, mode: Callable[[str], Any]) -> None:
    """Have a parser know these; ``mode`` gives the mode by its value."""
    for name, value, text in _ABOUT_KEYS:
        of = mode(value)
        group.add_argument(name, dest="sealed", action="append_const", const=of, help=text)
    group.add_argument("--passphrase", action="store_true", help="wrap the new key by one")
