"""The command, loaded once and forked for each run: faults at some hundred points of a run would
otherwise be mostly the start of interpreters. Any of the run's own processes can be held until it
is traced, so that system calls are counted from the same moment each time, in that process alone.

Run as a module this is the process that is forked from.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import pkgutil
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.e2e.conftest import CHECKOUT, Ended, children, eventually, is_alive

CLIENT, SOURCE, DESTINATION = 0, 1, 2
"""Which of a run's processes is traced: the client, or a local helper by its side."""


class Forked:
    """Runs of the command, one after the other."""

    def __init__(self, directory: Path, patience: float = 30) -> None:
        """``patience``: seconds that a run may take."""
        self._directory = directory
        self._patience = patience
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.forking"],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._line(30) == [b"ready"]

    def close(self) -> None:
        """No more runs."""
        for pid in [*children(self._process.pid), self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.communicate()

    def _line(self, patience: float) -> list[bytes]:
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], patience)[0], "it hangs"
        return self._process.stdout.readline().split()

    def __call__(
        self,
        *words: str | Path,
        who: int = CLIENT,
        strace: Sequence[str | Path] = (),
        cwd: Path | None = None,
    ) -> Ended:
        """Run to the end; ``strace``: with which options ``who`` is traced, if it is."""
        out, err = self._directory / "out", self._directory / "err"
        request = {
            "words": [str(word) for word in words],
            "environ": {name: os.environ[name] for name in os.environ if name.startswith("XDG_")},
            "who": who if strace else None,
            "helpers": sum(":" not in str(word) for word in words[-2:]),
            "out": str(out),
            "err": str(err),
            "cwd": str(cwd or CHECKOUT),
        }
        began = time.monotonic()
        try:
            status = self._status(request, strace)
        except BaseException:
            # What a run that hangs says in the end is no answer to the next one.
            self.close()
            self._start()
            raise
        ended = Ended(status, *_texts(out, err), time.monotonic() - began)
        assert "Traceback" not in ended.err, ended.err
        return ended

    def _status(self, request: Mapping[str, object], strace: Sequence[str | Path]) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        tracer = None
        line = self._line(self._patience)
        if line[0] == b"stopped":
            tracer = _traced(int(line[1]), strace)
            line = self._line(self._patience)
        assert line[0] == b"ended", line
        if tracer is not None:
            tracer.wait(timeout=10)
        return int(line[1])

    def left(self) -> list[int]:
        """The processes of a run that outlive it by five seconds."""
        eventually(lambda: not self._alive(), 5)
        return self._alive()

    def _alive(self) -> list[int]:
        return [pid for pid in children(self._process.pid) if is_alive(pid)]


def _texts(*files: Path) -> tuple[str, str]:
    out, err = (file.read_text(errors="surrogateescape") for file in files)
    return out, err


def _traced(pid: int, options: Sequence[str | Path]) -> subprocess.Popen[bytes]:
    tracer = subprocess.Popen(["strace", "-f", "-qq", *options, "-p", str(pid)])
    status = Path(f"/proc/{pid}/status")
    assert eventually(lambda: "TracerPid:\t0\n" not in status.read_text())
    time.sleep(0.003)  # from then on it is a matter of some instructions
    os.kill(pid, signal.SIGUSR1)
    return tracer


def _serve() -> None:
    import syncron_lib

    for module in pkgutil.walk_packages(syncron_lib.__path__, "syncron_lib."):
        importlib.import_module(module.name)
    for library in ("pyfastcdc", "xxhash", "zstandard"):
        importlib.import_module(library)
    # What loses its parent becomes ours, and is found there.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    answers = os.dup(1)
    os.write(answers, b"ready\n")
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run(request, answers)
        while True:
            ended, status = os.wait()
            if ended == pid:
                break
        os.write(answers, b"ended %d\n" % os.waitstatus_to_exitcode(status))


def _run(request: dict[str, object], answers: int) -> None:
    import syncron

    os.environ.update(request["environ"])  # type: ignore[call-overload]
    os.chdir(str(request["cwd"]))
    for name, fd in (("out", 1), ("err", 2)):
        os.dup2(os.open(str(request[name]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), fd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    client, forks = os.getpid(), 0

    def stop() -> None:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        os.write(answers, b"stopped %d\n" % os.getpid())
        signal.sigwait({signal.SIGUSR1})
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def forked() -> None:
        if os.getppid() == client and forks == request["who"]:
            stop()

    def count() -> None:
        nonlocal forks
        forks += 1

    os.register_at_fork(before=count, after_in_child=forked)
    if request["who"] == CLIENT:
        # Once its helpers are there, so that they are not traced with it.
        os.register_at_fork(after_in_parent=lambda: stop() if forks == request["helpers"] else None)
    sys.argv = ["syncron", *request["words"]]  # type: ignore[misc]
    syncron.main()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        _serve()
