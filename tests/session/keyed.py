"""Replicas of which some have the key and show their trees sealed, synchronised in this process."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syncron_lib.core.options import Conflicts, RunOptions, SecureOptions
from syncron_lib.core.report import Report
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.fs.sealed import KeySource
from syncron_lib.fs.sealedreplica import ReplicaView
from syncron_lib.secure import keyfile
from syncron_lib.secure.keys import Keyring
from syncron_lib.secure.manifest import Manifest
from syncron_lib.secure.sealed import Opener, unseal
from syncron_lib.session.twoway.exchange import Scratch
from syncron_lib.session.twoway.pair import PairRun
from syncron_lib.session.twoway.policies import policy_of
from tests.session.twoway import Near, Told, end_of, files

RING = keyfile.new(random.Random(7).randbytes)
MANIFEST = ".syncron/secure-manifest"


class KeyedNear(Near):
    """An endpoint that has the key, on a machine that has seen what it has seen."""

    def __init__(self, options: SecureOptions, machine: Path, ring: Keyring = RING) -> None:
        environment = {**os.environ, "XDG_STATE_HOME": str(machine)}
        self.unsaved = []
        self.said = []
        self.on_warning = self.said.append
        self.on_progress = lambda _: None
        key = KeySource(lambda: ring, lambda _: None, False, b"/nowhere/key")
        view = ReplicaView(options, key, environment)
        LocalEndpoint.__init__(self, environment, 0o022, self._heard, view=view)


class Met(Told):
    """One run between a replica with the key and another, which has it too or has not."""

    def __init__(
        self,
        one: Path,
        other: Path,
        *,
        sealed: tuple[Path, ...],
        ring: Keyring = RING,
        **options: Any,
    ) -> None:
        super().__init__()
        secure = options.pop("secure", SecureOptions())
        run_options = RunOptions(itemize=True, secure=secure, **options)
        self.report = Report(str(one), str(other))
        ends = []
        for path in (one, other):
            machine = path.parent / f"machine-of-{path.name}"
            keyed = path not in sealed
            near = KeyedNear(secure, machine, ring) if keyed else Near()
            end = end_of(path, near)
            end.guarded = end.keyed = keyed
            ends.append(end)
        policy = policy_of(options.get("conflicts", Conflicts.KEEP_BOTH))
        scratch = Scratch(run_options)
        how = run_options, policy, self, self.report, None, scratch, lambda: ring
        try:
            PairRun(ends[0], ends[1], *how).run()
        finally:
            scratch.close()
            for end in ends:
                end.endpoint.close()


def opened(top: Path, ring: Keyring = RING) -> Mapping[str, Any]:
    """What who has the key finds in a sealed tree; what is in clear as it is."""
    found = dict(files(top))
    for name, content in found.items():
        if isinstance(content, bytes) and content.startswith(b"SYNCSEC1"):
            path = os.fsencode(name)
            assert Opener.fits(ring, path, content[:200]), name
            found[name] = unseal(ring, path, content, name)[1]
    return found


def manifest(top: Path, ring: Keyring = RING) -> Manifest:
    """The manifest that is kept in a tree."""
    return Manifest.opened((top / MANIFEST).read_bytes(), ring, str(top))
