"""From a remote location to a helper that is ready to be spoken with."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from syncron_lib.core.location import Remote
from syncron_lib.errors import SyncronError
from syncron_lib.record import NamedTuple
from syncron_lib.transport.bootstrap import (
    InstalledFailed,
    Pushback,
    RemoteStream,
    Start,
    signal_text,
)
from syncron_lib.transport.process import ProcessStream, rsh_arguments
from syncron_lib.transport.settings import ConnectOptions
from syncron_lib.transport.ssh import run_command
from syncron_lib.transport.startcommand import Recipe, command_line
from syncron_lib.transport.stream import ByteStream
from syncron_lib.transport.timelimit import abort_after

if TYPE_CHECKING:
    from syncron_lib.transport.archive import Archive

__all__ = ["ConnectOptions", "Connection", "connect"]

_END_GRACE = 1.0
"""Seconds to wait for the word on how the helper ended."""


def _packed() -> Archive:
    """This installation's own helper."""
    from syncron_lib.transport import archive

    return archive.build()


def _ignore() -> None:
    """For who does nothing meanwhile."""


class Connection(NamedTuple):
    """A helper that is running. The next byte of ``stream`` is the first of its first frame."""

    stream: ByteStream
    how: str
    """``installed``, ``cached`` (shipped at an earlier run) or ``shipped``."""
    account: str
    """``user@host``, for messages."""
    remote: RemoteStream

    def stderr_tail(self) -> str:
        """The last lines of the helper's standard error, escaped; empty if there were none."""
        return self.remote.stderr_tail()

    def exit_status_text(self) -> str:
        """How the helper ended, as the end of a sentence: ``ended with status 1 (it said: …)``."""
        status = self.remote.exit_status(_END_GRACE)
        tail = self.stderr_tail()
        said = f" (it said: {tail})" if tail else ""
        if status is None:
            return f"is out of reach{said}"
        if status < 0 or status > 128:
            return f"was killed{signal_text(status)}{said}"
        return f"ended with status {status}{said}"


def connect(
    remote: Remote,
    options: ConnectOptions,
    *,
    ship: bool = False,
    packed: Archive | None = None,
    on_asked: Callable[[], None] = _ignore,
) -> Connection:
    """Connect to ``remote`` and start the helper there.

    ``ship``: do not use an installed syncron (it turned out to be of another version).
    ``packed``: what to ship instead of this installation's own helper. ``on_asked``: called when
    it is mostly the other machine that has something to do, for a tenth of a second or more.
    Raises `SshFailed`, `HelperNotStarted`, `UncleanShell`, `TimedOut` or `ConnectionLost`; nothing
    is left running.
    """
    recipe = Recipe(options.remote_python, options.remote_syncron, options.rsync_path, ship)
    build = functools.lru_cache(_packed if packed is None else lambda: packed)
    try:
        return _attempt(remote, options, recipe, build, on_asked)
    except InstalledFailed as error:
        options.notice(f"{error.message} Sending the helper instead.")
        return _attempt(remote, options, recipe._replace(ship=True), build, on_asked)


def _attempt(
    remote: Remote,
    options: ConnectOptions,
    recipe: Recipe,
    build: Callable[[], Archive],
    on_asked: Callable[[], None],
) -> Connection:
    marker = os.urandom(8).hex()
    port = remote.port if remote.port is not None else options.port

    def command() -> str:
        return command_line(recipe, marker, build)

    stream: RemoteStream
    if options.rsh is not None:
        arguments = rsh_arguments(
            options.rsh,
            remote,
            command(),
            port=port,
            identity=options.identity,
            family=options.family,
            address=options.address,
        )
        stream = ProcessStream(arguments, options.notice)
    else:

        def authenticated() -> str:
            # It takes its time now to open a session, and then to start what it is asked for.
            on_asked()
            return command()

        stream = run_command(remote.host, remote.user, port, authenticated, options)
    on_asked()
    account = remote.account()
    early = Pushback(stream)
    try:
        beginning = Start(early, account, recipe, marker)
        with abort_after(options.step_timeout, early.abort) as expired:
            try:
                how = beginning.run(build)
            except SyncronError as error:
                if not expired.is_set():
                    raise
                raise beginning.overdue(options.step_timeout) from error
    except BaseException:
        early.abort()
        early.close()
        raise
    return Connection(early, how, account, stream)
