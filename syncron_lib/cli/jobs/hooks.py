"""Hooks: commands of the user's that run around a run, and learn how it went."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping

from syncron_lib.cli.jobs.outcome import Outcome

PUT_OFF = 75
"""What `before` ends with if the run is to be put off without counting as failed: sysexits.h calls
it EX_TEMPFAIL, "temporary failure; try again later"."""

_GRACE = 1.0
"""Seconds that a hook has to end after the run was asked to."""


def run_hook(command: str, environment: Mapping[str, str]) -> int:
    """The exit status of ``command``, run by the shell; 128 and more for a signal. What it prints
    goes to standard error, since standard output may be JSON."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=2,
        env=dict(environment),
        # Ctrl-C is for syncron, which ends it in its own time.
        start_new_session=True,
    )
    try:
        status = process.wait()
    except BaseException:
        _end(process)
        raise
    return 128 - status if status < 0 else status


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
            return


def described(outcome: Outcome) -> dict[str, str]:
    """An outcome as variables of the environment."""
    report = outcome.report
    return {
        "SYNCRON_EXIT_CODE": str(outcome.status),
        "SYNCRON_RESULT": outcome.result,
        "SYNCRON_MESSAGE": outcome.message,
        "SYNCRON_DURATION": f"{outcome.duration:.3f}",
        "SYNCRON_CREATED": str(report.created),
        "SYNCRON_CHANGED": str(report.changed),
        "SYNCRON_MOVED": str(report.moved),
        "SYNCRON_DELETED": str(report.deleted),
        "SYNCRON_METADATA": str(report.metadata),
        "SYNCRON_FAILURES": str(len(report.failures)),
        "SYNCRON_BYTES_SENT": str(report.bytes_sent),
        "SYNCRON_BYTES_RECEIVED": str(report.bytes_received),
        "SYNCRON_ROOT": report.destination_root or "",
    }
