"""What the user decided about reaching other machines."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from syncron_lib.record import NamedTuple
from syncron_lib.transport.sshconfig import SYSTEM_CONFIG, ConfigFiles

Ask = Callable[[str, bool], "str | None"]
"""``ask(prompt, secret)``: a person's answer, without echo if ``secret``; None if there is none."""

_STEP_TIMEOUT = 60.0


def _ignore(_text: str) -> None:
    """For who wants no notices."""


class ConnectOptions(NamedTuple):
    """How to reach remote machines and start the helper there."""

    rsh: str | None = None
    """An external ssh command (``-e``) instead of the built-in client."""
    port: int | None = None
    identity: tuple[str, ...] = ()
    ssh_config: str | None = None
    """Read this file only, and neither ``~/.ssh/config`` nor the system's."""
    family: str | None = None
    """``inet`` or ``inet6``; None: as ``ssh_config`` says."""
    address: str | None = None
    """Of this machine, to connect from."""
    contimeout: float | None = None
    """Seconds for each step of connecting, if it is not ``timeout``."""
    rsync_path: str | None = None
    """A command for the remote shell in which the last word stands for the helper's program."""
    remote_python: str | None = None
    remote_syncron: str | None = None
    timeout: float = 60.0
    """Seconds of silence before the other side is given up; 0: never."""
    ask: Ask | None = None
    """None: there is no terminal, and nothing is asked."""
    notice: Callable[[str], None] = _ignore
    """Shows a line to the user: host keys recorded, what an external ssh says."""
    home: str | None = None
    """This account's home directory; None where it has none."""
    environment: Mapping[str, str] = os.environ

    @property
    def step_timeout(self) -> float:
        """Seconds for each step of connecting that waits for the other machine; never endless."""
        return self.contimeout or self.timeout or _STEP_TIMEOUT

    def config_files(self) -> ConfigFiles:
        """The ``ssh_config`` files these options mean."""
        if self.ssh_config is not None:
            user: str | None = self.ssh_config
            system = None
        else:
            user = os.path.join(self.home, ".ssh/config") if self.home is not None else None
            system = SYSTEM_CONFIG
        return ConfigFiles(user, system, self.home, self.environment)
