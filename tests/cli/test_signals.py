"""INT, TERM and HUP: orderly the first time, at once when asked again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from syncron_lib.cli.signals import Signals
from syncron_lib.errors import Interrupted

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_raised_where_the_run_is(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=number.name) as caught, Signals():
        os.kill(os.getpid(), number)
        # Not `pause`: where the system chose another thread, nothing would end it.
        while True:
            time.sleep(0.001)
    assert caught.value.signal_number == number
    assert signal.getsignal(number) is before


def test_the_same_request_again_does_not_disturb_the_cleaning_up() -> None:
    with Signals():
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        # Asked again after a second: gone at once, although the cleaning up hangs.
        (
            (
                "with Signals():\n"
                "    try: os.kill(os.getpid(), 15)\n"
                "    except Interrupted: pass\n"
                "    time.sleep(1.05)\n"
                "    os.kill(os.getpid(), 15)\n"
                "    time.sleep(60)\n"
            ),
            -signal.SIGTERM,
        ),
        ("die_of(2)", -signal.SIGINT),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, {1}); die_of(1)", -signal.SIGHUP),
    ],
)
def test_the_end_is_the_signals_own(script: str, status: int) -> None:
    head = (
        "import os, signal, time\n"
        "from syncron_lib.cli.signals import Signals, die_of\n"
        "from syncron_lib.errors import Interrupted\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", head + script],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (status, "")
