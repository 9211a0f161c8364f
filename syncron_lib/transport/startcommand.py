"""The one command line that starts the helper, in whatever shell the account has."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from syncron_lib.record import NamedTuple
from syncron_lib.transport.marker import VARIABLE

if TYPE_CHECKING:
    from syncron_lib.transport.archive import Archive

_PYTHONS = "python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python"

_TOO_OLD = 77
"""Exit status of a Python before 3.9; 2 is that of Python 2, which knows no ``-I``."""

_RUN_FIRST_STAGE = (
    f"import sys,zlib,binascii;sys.version_info<(3,9)and sys.exit({_TOO_OLD});"
    "exec(zlib.decompress(binascii.a2b_base64(sys.argv[1])))"
)

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_./+,@%:=-]")


class Recipe(NamedTuple):
    """How the helper is to be started."""

    remote_python: str | None = None
    remote_syncron: str | None = None
    rsync_path: str | None = None
    """As of `ConnectOptions`."""
    ship: bool = False
    """Do not look for an installed syncron."""


def command_line(recipe: Recipe, marker: str, build: Callable[[], Archive]) -> str:
    """The command for the account's login shell, whichever that is. ``build`` gives what would
    be shipped, and is called only where that could be needed.

    Constant but for the marker, the digest and the overrides. Within the single quotes there is
    no quote, backslash before a quote, newline or exclamation mark, which sh, csh and fish
    read differently.
    """
    before, program = _divided(recipe.rsync_path)
    parts = [f"{VARIABLE}={marker}; export {VARIABLE}; M=syncron-{marker}; set -f"]
    installed = recipe.remote_syncron or program
    if installed is not None:
        parts.append(f"echo $M trying; exec {_sh_word(installed)} --serve")
    else:
        if not recipe.ship and recipe.remote_python is None:
            parts.append(
                "for S in syncron $HOME/.local/bin/syncron; do "
                "if command -v $S >/dev/null 2>&1; then echo $M trying; exec $S --serve; fi; done"
            )
        parts.append(_with_python(recipe.remote_python, marker, build()))
    return f"{before or 'exec '}/bin/sh -c '{'; '.join(parts)}'"


def _divided(command: str | None) -> tuple[str, str | None]:
    """What stands before the program in a command for a shell, and the program; None for rsync,
    in whose place the helper is looked for as ever."""
    if command is None:
        return "", None
    words = command.rstrip()
    before = words[: len(words) - len(words.split()[-1])] if words else ""
    program = words[len(before) :]
    return before, None if program.rpartition("/")[2] in ("", "rsync") else program


def _with_python(named: str | None, marker: str, packed: Archive) -> str:
    """Run the first stage with the first Python that is new enough.

    Whether it is, the Python says itself: to ask each for its version first would cost a start,
    of which a version manager's shim makes a slow one. The shell stays for the answer, and so
    the helper's end by a signal is seen as 128 plus its number.
    """
    from syncron_lib.transport.archive import first_stage

    stage = binascii.b2a_base64(first_stage(), newline=False).decode("ascii")
    return (
        f"O=; R=127; for P in {_PYTHONS if named is None else _sh_word(named)}; do "
        + ("command -v $P >/dev/null 2>&1 || continue; " if named is None else "")
        + f'"$P" -I -c "{_RUN_FIRST_STAGE}" {stage} {marker} {packed.digest} {packed.entry}; '
        f"R=$?; case $R in 2|{_TOO_OLD}|126|127) ;; *) exit $R;; esac; "
        'V=$("$P" -V 2>&1); case $R$V in "2Python 3"*) exit 2;; esac; '
        'O="$O $P: $V;"; done; echo $M no-python $R $O; exit 127'
    )


def _sh_word(text: str) -> str:
    """``text`` as one word of the script, in which single quotes and backslash-quote are taken."""
    home = text == "~" or text.startswith("~/")
    rest = text[1:] if home else text
    if not _NOT_PLAIN.search(rest):
        word = rest
    else:
        octal = "".join(f"\\0{byte:03o}" for byte in rest.encode("utf-8", "surrogateescape"))
        word = f'$(printf "%b" "{octal}")'
    return f'"$HOME{word}"' if home else f'"{word}"'
