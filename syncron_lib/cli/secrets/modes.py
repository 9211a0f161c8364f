"""Command lines about keys and sealed files, rather than a run like others."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from syncron_lib.cli.face import Face
from syncron_lib.cli.parser import Invocation, Mode
from syncron_lib.cli.settings import Settings
from syncron_lib.core.location import parse_location
from syncron_lib.errors import UsageError
from syncron_lib.transport.settings import ConnectOptions

_OPERANDS = {
    Mode.KEYGEN: (0, 1, "at most the name of a file"),
    Mode.REWRAP: (0, 0, "no paths, but --key"),
    Mode.SECURE_CHECK: (1, 1, "one directory"),
    Mode.SEAL: (2, 2, "SRC and DST"),
    Mode.UNSEAL: (2, 2, "SRC and DST"),
    Mode.REKEY: (2, 2, "SRC and DST"),
}
"""How many paths each takes: at least, at most, in words."""


def about_keys(given: argparse.Namespace, settings: Settings, paths: tuple[str, ...]) -> Invocation:
    """What is asked for about keys and sealed files, rather than a run like others."""
    modes: list[Mode] = given.sealed or []
    if given.passphrase and modes != [Mode.KEYGEN]:
        raise UsageError("--passphrase is about a key that is made: it goes with --keygen.")
    names = ["--" + mode.value.replace(" ", "-") for mode in modes]
    others = [name for name, said in (("--job", given.job), ("--all-jobs", given.all_jobs)) if said]
    if len(names) + len(others) > 1:
        first, second = (*names, *others)[:2]
        raise UsageError(f"{first} and {second} exclude each other: give one of them.")
    least, most, words = _OPERANDS[modes[0]]
    if not least <= len(paths) <= most:
        raise UsageError(f"{names[0]} takes {words}, and {len(paths)} paths were given.")
    if "" in paths:
        raise UsageError('A path is empty; "." is the current directory.')
    return Invocation(
        modes[0], settings, operands=paths, config=given.config, passphrase=given.passphrase
    )


def carry_out(
    invocation: Invocation,
    settings: Settings,
    connect: ConnectOptions,
    face: Face,
    write: Callable[[str], None],
) -> int:
    """Make or change a key, or look at what it sealed; the exit status."""
    from syncron_lib.cli.secrets import keys

    around = keys.Surroundings(connect.environment, connect.home, connect.ask)
    if invocation.mode is Mode.KEYGEN:
        file = invocation.operands[0] if invocation.operands else None
        write(keys.make(settings, file, invocation.passphrase, around))
    elif invocation.mode is Mode.REWRAP:
        write(keys.change_passphrase(settings, around))
    else:
        from syncron_lib.cli.secrets.checking import check

        return check(parse_location(invocation.operands[0]), settings, connect, face, around)
    return 0
