"""An installed syncron to measure: a copy that is compiled, not a checkout."""

from __future__ import annotations

import compileall
import shutil
import sys
from pathlib import Path

import syncron
import syncron_lib

_LAUNCHER = """\
#!{python}
import sys
sys.path.insert(0, {place!r})
from syncron import main
sys.exit(main())
"""
"""What pip writes for an entry point, but for the path."""


def installed(place: Path) -> Path:
    """Install the code that the benchmarks were started from; the command's path.

    Its dependencies are those of the running interpreter. Bytecode is written here and now: in an
    environment that keeps Python from writing any (``PYTHONDONTWRITEBYTECODE``, a read-only
    checkout) every run would otherwise compile all that it imports, which takes longer than a
    small copy does.
    """
    place.mkdir(parents=True)
    package = Path(syncron_lib.__file__).parent
    shutil.copytree(package, place / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(syncron.__file__), place)
    if not compileall.compile_dir(place, quiet=1):
        raise RuntimeError(f"cannot compile {place}")
    command = place / "bin/syncron"
    command.parent.mkdir()
    command.write_text(_LAUNCHER.format(python=sys.executable, place=str(place)))
    command.chmod(0o755)
    return command
