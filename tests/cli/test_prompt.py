"""Asking on a real terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]

ASK = """
from syncron_lib.cli.prompt import Prompt
held = []
prompt = Prompt(held.append)
assert Prompt.is_possible()
answer = prompt.ask("Pass\\x1bphrase:", SECRET)
print(repr(answer), held, flush=True)
"""


def on_a_terminal(script: str, typed: bytes) -> str:
    """What the terminal shows when ``typed`` is typed after the first output has appeared."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    while b"phrase: " not in shown:
        shown += os.read(ours, 1000)
    os.write(ours, typed)
    while True:
        try:
            more = os.read(ours, 1000)
        except OSError:  # EIO: the other end is closed
            break
        if not more:
            break
        shown += more
    os.close(ours)
    assert process.wait(10) == 0, shown
    return shown.decode().replace("\r\n", "\n")


def test_a_secret_is_not_echoed() -> None:
    shown = on_a_terminal(ASK.replace("SECRET", "True"), b"s3cret\n")
    assert shown == "Pass\\#033phrase: \n's3cret' [True, False]\n"


def test_an_answer_is_echoed() -> None:
    shown = on_a_terminal(ASK.replace("SECRET", "False"), b"yes\n")
    assert shown == "Pass\\#033phrase: yes\n'yes' [True, False]\n"


def test_end_of_input_is_no_answer() -> None:
    assert "None [True, False]" in on_a_terminal(ASK.replace("SECRET", "True"), b"\x04")


def test_nothing_is_asked_without_a_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ("from syncron_lib.cli.prompt import Prompt as P;"
         "print(P.is_possible())")],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.stdout == "False\n"
