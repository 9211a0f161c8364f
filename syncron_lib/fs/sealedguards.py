"""What a run may not do with a tree in which something is to be sealed."""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from syncron_lib.core.names import join, shown, split
from syncron_lib.core.options import SecureOptions
from syncron_lib.core.sealing import RULES
from syncron_lib.errors import GuardRefused
from syncron_lib.fs.sealedrules import files_in

if TYPE_CHECKING:
    from syncron_lib.fs.root import Root
    from syncron_lib.fs.sealedrules import SealedRules


def require_none(root: Root, rules: SealedRules, option: str) -> None:
    """See that nothing is to be sealed, for ``option`` cannot do that."""
    if rules.is_empty:
        return
    for node in root.tree.nodes.values():
        for name, mode in files_in(node, rules):
            path = join(node.path, name)
            if stat.S_ISREG(mode) and rules.matches(path) and name != RULES:
                raise GuardRefused(
                    f"{shown(path)} is to be sealed, as .secure says, and sealed files cannot"
                    f" be had together with {option}. Nothing was sent: leave that out and push or"
                    " pull from the machine with the key, and have others pass sealed files on with"
                    " --ciphertext; or take .secure away, if all may go in clear."
                )


def require_no_key(
    root: Root, rules: SealedRules, manifest: bytes, where: str, options: SecureOptions
) -> None:
    """See that nothing happens that takes a key."""
    if manifest and not options.ciphertext:
        raise GuardRefused(
            f"{where} holds sealed files, and there is no key: name it with --key. To"
            " bring them as they are, without opening them, say --ciphertext. Nothing was"
            " changed."
        )
    if not root.choice.reading or options.declassify or rules.is_empty:
        return
    for node in root.tree.nodes.values():
        for name, mode in files_in(node, rules):
            path = root.choice.only or join(node.path, name)
            if stat.S_ISREG(mode) and rules.matches(path) and split(path)[1] != RULES:
                raise GuardRefused(
                    f"{shown(path)} is to be sealed, as .secure says, and"
                    " there is no key: make one with syncron --keygen, or name it with --key."
                    " Nothing was sent; to send all in clear say --declassify."
                )


def require_told(root: Root, is_sealed: Callable[[bytes], bool]) -> None:
    """See that what the other side is told of rules is nothing that is sealed."""
    for file in root.ignore_files if root.choice.reading else ():
        path = join(file.directory, file.name)
        if is_sealed(path):
            raise GuardRefused(
                f"{shown(path)} is to be sealed, and the other side is told"
                " the rules in it: write them into a file above that is not. Nothing was sent."
            )
