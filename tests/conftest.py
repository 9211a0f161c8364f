"""What every test stands on: an environment of its own, and hypothesis' profiles."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.deep import DEEP

# Whoever runs the tests under nohup has SIGHUP ignored, and so would every program they start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


settings.register_profile(
    "quick",
    max_examples=30,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", max_examples=2000, deadline=None)
settings.load_profile("deep" if DEEP else "quick")

_INHERITED = frozenset(("PATH", "LANG", "TMPDIR", "TERM", "CI", "SYNCRON_DEEP", "PYTHONPATH"))
"""Variables that tests may see; all others could make one person's run unlike another's."""


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_NothingSkipped(), "nothing-skipped")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Sixty times as many examples take sixty times as long.
    for item in items if DEEP else ():
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(7200))


class _NothingSkipped:
    """Where CI is set, a skipped test fails the session: what CI does not run, nobody runs."""

    def __init__(self) -> None:
        self._skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            self._skipped.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._skipped.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if os.environ.get("CI") and self._skipped:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if os.environ.get("CI") and self._skipped:
            terminalreporter.section("skipped, which CI does not accept")
            for nodeid in self._skipped:
                terminalreporter.write_line(nodeid)


def _isolate(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Point the environment into ``home``; what the person at the keyboard has set is gone."""
    for name in os.environ:
        if name not in _INHERITED and not name.startswith(("PYTEST", "COV_", "HYPOTHESIS")):
            patch.delenv(name)
    # The commands of the environment that runs the tests come first.
    patch.setenv("PATH", os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"])
    patch.setenv("HOME", str(home))
    patch.setenv("XDG_STATE_HOME", str(home / "state"))
    patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    patch.setenv("LC_ALL", "C.UTF-8")
    patch.setenv("TZ", "UTC")
    patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


@pytest.fixture(scope="session", autouse=True)
def _session_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Session fixtures (an SSH server, a built archive) start in isolation too."""
    umask = os.umask(0o022)
    with pytest.MonkeyPatch.context() as patch:
        _isolate(patch, tmp_path_factory.mktemp("session-home"))
        yield
    os.umask(umask)


@pytest.fixture(autouse=True)
def home(_session_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The test's own, empty home directory, where HOME and the XDG directories point."""
    umask = os.umask(0o022)
    directory = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(directory))
        for variable in ("STATE", "CACHE", "CONFIG"):
            patch.setenv(f"XDG_{variable}_HOME", str(directory / variable.lower()))
        yield directory
    os.umask(umask)
