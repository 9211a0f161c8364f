"""Replicas on disk, synchronised in this process: every layer but the wire is the real one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syncron_lib.core.location import Local
from syncron_lib.core.options import Conflicts, RunOptions
from syncron_lib.core.report import Clash, Failure, Item, Phase, Report
from syncron_lib.core.twoway.reconcile import Policy
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.protocol import messages
from syncron_lib.session.twoway.ends import End
from syncron_lib.session.twoway.pair import PairRun
from syncron_lib.session.twoway.policies import policy_of


class Near(LocalEndpoint):
    """A local endpoint as a session sees one."""

    def __init__(self) -> None:
        self.unsaved: list[str] = []
        self.said: list[str] = []
        self.on_warning = self.said.append
        self.on_progress = lambda _: None
        super().__init__(dict(os.environ), 0o022, self._heard)

    def _heard(self, message: messages.Progress | messages.Notice) -> None:
        if isinstance(message, messages.Notice):
            self.on_warning(message.text)


class Told:
    """Keeps what a run tells."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.clashes: list[Clash] = []
        self.failures: list[Failure] = []
        self.warnings: list[str] = []
        self.progresses: list[tuple[Phase, int, int | None]] = []

    def phase(self, phase: Phase) -> None:
        pass

    def progress(self, phase: Phase, done: int, total: int | None, size: int) -> None:
        self.progresses.append((phase, done, total))

    def item(self, item: Item) -> None:
        self.items.append(item)

    def clash(self, clash: Clash) -> None:
        self.clashes.append(clash)

    def failure(self, failure: Failure) -> None:
        self.failures.append(failure)

    def remark(self, text: str) -> None:
        pass

    def warning(self, text: str) -> None:
        self.warnings.append(text)


def end_of(path: Path, endpoint: Any) -> End:
    """One side of a run, which is connected already."""
    return End(Local(os.fsencode(path)), lambda: endpoint)


class Met(Told):
    """One run, and what it said."""

    def __init__(
        self, one: Path, other: Path, policy: Policy | None = None, **options: Any
    ) -> None:
        super().__init__()
        self.ends = Near(), Near()
        run_options = RunOptions(itemize=True, **options)
        self.report = Report(str(one), str(other))
        first, second = map(end_of, (one, other), self.ends)
        policy = policy or policy_of(options.get("conflicts", Conflicts.KEEP_BOTH))
        self.run = PairRun(first, second, run_options, policy, self, self.report)
        try:
            self.run.run()
        finally:
            for end in self.ends:
                end.close()


def files(root: Path) -> Mapping[str, Any]:
    """Contents by path; of a symlink its target, of a directory None."""
    found: dict[str, Any] = {}
    for above, directories, names in os.walk(root):
        if ".syncron" in directories:
            directories.remove(".syncron")
        for name in [*directories, *names]:
            path = Path(above, name)
            shown = str(path.relative_to(root))
            if path.is_symlink():
                found[shown] = os.readlink(path)
            elif path.is_dir():
                found[shown] = None
            elif not path.is_file():
                found[shown] = "special"
            else:
                found[shown] = path.read_bytes()
    return found
