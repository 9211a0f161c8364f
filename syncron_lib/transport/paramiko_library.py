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
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from syncron_lib.errors import SshFailed

_NAME = "paramiko"
_lock = threading.Lock()


def load() -> ModuleType:
    """paramiko, imported at the first call: its transport, and what that needs.

    The package itself imports all that there is, a whole client, and ``importlib.metadata`` for
    its own version. To spare that is a quarter of the time until the first byte is sent. It is
    made up for when anybody asks the package for anything else.
    """
    with _lock:
        paramiko = sys.modules.get(_NAME)
        if paramiko is None:
            paramiko = _loaded()
        return paramiko


def _loaded() -> ModuleType:
    spec = importlib.util.find_spec(_NAME)
    try:
        if spec is None:
            raise ModuleNotFoundError(f"No module named {_NAME!r}")
        paramiko = sys.modules[_NAME] = _package(spec)
        with _without_invoke():
            importlib.import_module(f"{_NAME}.transport")
    except ImportError as error:
        sys.modules.pop(_NAME, None)
        raise SshFailed(
            f"The built-in SSH client cannot be loaded ({error}); install paramiko, or use -e ssh."
        ) from error
    # What goes wrong is raised, in words for the user; paramiko would log tracebacks too,
    # and Python prints them where nobody has set up logging.
    logger = logging.getLogger(_NAME)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logger.setLevel(logging.CRITICAL)
    return paramiko


def _package(spec: ModuleSpec) -> ModuleType:
    """The package, with what it does when it is imported put off until that is missed."""
    package: Any = importlib.util.module_from_spec(spec)
    lock = threading.RLock()

    def missed(name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        if importlib.util.find_spec(f"{_NAME}.{name}") is not None:
            return importlib.import_module(f"{_NAME}.{name}")
        found = _defined(name)
        if found is not None:
            return found
        with lock, _without_invoke():
            if hasattr(package, "__getattr__"):
                spec.loader.exec_module(package)  # type: ignore[union-attr]
                del package.__getattr__
        return getattr(package, name)

    package.__getattr__ = missed
    package.__version__ = _version(spec)
    return package  # type: ignore[no-any-return]


def _defined(name: str) -> type | None:
    """The class of that name, where a module that is there defines it: to read a key, paramiko asks
    its own package for the kinds of keys."""
    for place, module in list(sys.modules.items()):
        if place.startswith(f"{_NAME}."):
            found = vars(module).get(name)
            if isinstance(found, type) and found.__module__ == place:
                return found
    return None


@contextlib.contextmanager
def _without_invoke() -> Iterator[None]:
    """``invoke``, which paramiko tries to import for ``Match exec`` in its own reading of
    ``ssh_config``, takes longer than all the rest together and is kept out: `sshconfig` reads
    these files here."""
    hide = "invoke" not in sys.modules
    if hide:
        sys.modules["invoke"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hide:
            del sys.modules["invoke"]


def _version(spec: ModuleSpec) -> str:
    """As the name of the directory of its metadata tells it. ``0`` where that is not found: it is
    told to servers, and used for nothing."""
    place = os.path.dirname(os.path.dirname(spec.origin or ""))
    with contextlib.suppress(OSError):
        for name in os.listdir(place or os.devnull):
            if name.startswith(f"{spec.name}-") and name.endswith(".dist-info"):
                return name[len(spec.name) + 1 : -len(".dist-info")]
    return "0"
