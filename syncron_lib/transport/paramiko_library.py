"""The one place that imports paramiko, and does so late and fast."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

from syncron_lib.errors import SshFailed

_lock = threading.Lock()


def load() -> ModuleType:
    """paramiko, imported at the first call."""
    with _lock:
        paramiko = sys.modules.get("paramiko")
        if paramiko is not None:
            return paramiko
        try:
            with _without_what_is_slow():
                paramiko = importlib.import_module("paramiko")
        except ImportError as error:
            raise SshFailed(
                f"The built-in SSH client cannot be loaded ({error}); install paramiko, or use "
                "-e ssh."
            ) from error
        # What goes wrong is raised, in words for the user; paramiko would log tracebacks too,
        # and Python prints them where nobody has set up logging.
        logger = logging.getLogger("paramiko")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        logger.setLevel(logging.CRITICAL)
        return paramiko


@contextlib.contextmanager
def _without_what_is_slow() -> Iterator[None]:
    """Two imports of paramiko's are spared, which together take as long as all the rest.

    ``invoke`` is for ``Match exec`` in its own reading of ``ssh_config``: `sshconfig` reads these
    files here. ``importlib.metadata`` tells it its own version, which the name of its directory
    of metadata tells as well.
    """
    metadata = ModuleType("importlib.metadata")
    metadata.version = _version  # type: ignore[attr-defined]
    instead = {"invoke": None, "importlib.metadata": metadata}
    spared = [name for name in instead if name not in sys.modules]
    for name in spared:
        sys.modules[name] = instead[name]  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in spared:
            del sys.modules[name]


def _version(distribution: str) -> str:
    """Of an installed distribution with a package of the same name. ``0`` where it is not known:
    it is told to servers, and used for nothing."""
    spec = importlib.util.find_spec(distribution)
    place = os.path.dirname(os.path.dirname(spec.origin or "")) if spec is not None else ""
    with contextlib.suppress(OSError):
        for name in os.listdir(place or os.devnull):
            if name.startswith(f"{distribution}-") and name.endswith(".dist-info"):
                return name[len(distribution) + 1 : -len(".dist-info")]
    return "0"
