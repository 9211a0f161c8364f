"""The one place that imports paramiko, and does so late and fast."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from types import ModuleType

from syncron_lib.errors import SshFailed

_lock = threading.Lock()


def load() -> ModuleType:
    """paramiko, imported at the first call.

    ``invoke``, which paramiko tries to import for ``Match exec`` in its own reading of
    ``ssh_config``, takes longer than all the rest together and is kept out: `sshconfig` reads
    these files here.
    """
    with _lock:
        paramiko = sys.modules.get("paramiko")
        if paramiko is not None:
            return paramiko
        hide = "invoke" not in sys.modules
        if hide:
            sys.modules["invoke"] = None  # type: ignore[assignment]
        try:
            paramiko = importlib.import_module("paramiko")
        except ImportError as error:
            raise SshFailed(
                f"The built-in SSH client cannot be loaded ({error}); install paramiko, or use "
                "-e ssh."
            ) from error
        finally:
            if hide:
                del sys.modules["invoke"]
        # What goes wrong is raised, in words for the user; paramiko would log tracebacks too,
        # and Python prints them where nobody has set up logging.
        logger = logging.getLogger("paramiko")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        logger.setLevel(logging.CRITICAL)
        return paramiko
