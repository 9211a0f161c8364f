"""How a run can end: one exception class a way of ending, each with its exit code.

What ends the run is an exception from this module. What spoils one file only is a value
(`core.report.Failure`) and never raised across a layer.

Every message is one sentence, or two, that says what happened, where, and what to do next.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes; rsync's numbers where scripts expect them."""

    OK = 0
    USAGE = 1
    PROTOCOL = 2
    REFUSED = 3
    CONFLICTS = 4
    STATE = 5
    LOCKED = 6
    PEER = 7
    DIFFERENT = 9
    FILE_FATAL = 11
    CONNECTION = 12
    PARTIAL = 23
    VANISHED = 24
    DELETE_CAP = 25
    TIMEOUT = 30
    NOT_EXECUTABLE = 126
    NO_PYTHON = 127
    SSH = 255


class SyncronError(Exception):
    """The run ends here. ``message`` is shown to the user as it is; ``exit_code`` is final."""

    exit_code: Exit = Exit.FILE_FATAL

    def __init__(self, message: str, *, exit_code: Exit | None = None) -> None:
        super().__init__(message)
        self.message = message
        if exit_code is not None:
            self.exit_code = exit_code

    @property
    def status(self) -> int:
        """What the process ends with."""
        return int(self.exit_code)


class UsageError(SyncronError):
    """The command line or the configuration cannot be carried out as written."""

    exit_code = Exit.USAGE


class VersionMismatch(SyncronError):
    """Both ends speak, but no common protocol version."""

    exit_code = Exit.PROTOCOL


class UncleanShell(SyncronError):
    """The remote shell printed so much, or such, that the helper's bytes cannot be told apart."""

    exit_code = Exit.PROTOCOL


class RootError(SyncronError):
    """A root is missing or of the wrong type. Nothing was changed."""

    exit_code = Exit.REFUSED


class SourceMissing(RootError):
    """There is no source. Nothing was changed."""


class GuardRefused(SyncronError):
    """A safety guard looked at the whole plan and said no. Nothing was changed."""

    exit_code = Exit.REFUSED


class DeleteCapRefused(GuardRefused):
    """More deletes are planned than ``--max-delete`` allows. Nothing was changed."""

    exit_code = Exit.DELETE_CAP


class StateUnusable(SyncronError):
    """The state of a root is from a newer version, or cannot be written."""

    exit_code = Exit.STATE


class Locked(SyncronError):
    """Another run holds a root."""

    exit_code = Exit.LOCKED


class PeerViolation(SyncronError):
    """The other side broke the rules of the protocol."""

    exit_code = Exit.PEER


class NotAuthentic(SyncronError):
    """Something sealed is not what the key sealed there. Nothing of it was taken."""

    exit_code = Exit.PEER


class SealedByAnotherKey(NotAuthentic):
    """It is sealed with a key that the key file does not hold."""


class RolledBack(NotAuthentic):
    """It is authentic, and older than what was there before."""


class KeyUnusable(SyncronError):
    """The key file is missing, damaged, open to others, or not to be believed."""

    exit_code = Exit.REFUSED


class WrongPassphrase(KeyUnusable):
    """The passphrase does not open the key file."""


class FileFatal(SyncronError):
    """No further file can succeed: destination full or read-only, root unreadable."""

    exit_code = Exit.FILE_FATAL


class ConnectionLost(SyncronError):
    """The byte stream to the other side ended before the run did."""

    exit_code = Exit.CONNECTION


class TimedOut(SyncronError):
    """Nothing was heard from the other side for ``--timeout`` seconds."""

    exit_code = Exit.TIMEOUT


class HelperNotStarted(SyncronError):
    """The remote could not start the helper: no Python, too old, not executable, killed."""

    exit_code = Exit.NO_PYTHON


class SshFailed(SyncronError):
    """Connecting, the host key, or authentication failed."""

    exit_code = Exit.SSH


class Unreachable(SshFailed):
    """The network between the two machines failed before SSH was set up; it may work again."""


class Halted(SyncronError):
    """This side asked the run to end; raised wherever the main thread is."""


class Interrupted(Halted):
    """A signal asked the run to end; ``exit_code`` is 128 plus its number."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number

    @property
    def status(self) -> int:
        """As a shell tells of a signal."""
        return 128 + self.signal_number


class OutOfTime(Halted):
    """The run took longer than ``--max-duration`` allows."""

    exit_code = Exit.TIMEOUT
