"""Driving an endpoint: whole runs in a line, and single requests with their replies."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from syncron_lib.core import digest
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.options import RuleOptions, RunOptions
from syncron_lib.core.plan import Plan
from syncron_lib.core.report import Failure
from syncron_lib.core.role import Role
from syncron_lib.core.table import Table
from syncron_lib.endpoint.base import Endpoint, RawPack
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.fs.reach import ANYWHERE, Reach
from syncron_lib.protocol import messages
from syncron_lib.protocol.compression import Method
from syncron_lib.protocol.messages import Expected, Selected
from syncron_lib.protocol.pack import PLAIN, Group, Groups, Packer, Piece
from syncron_lib.session.comparison import Comparison
from syncron_lib.session.compression import Chosen, Compression
from syncron_lib.session.moving import MoveSearch
from syncron_lib.session.transfer import Transfer
from tests.core.tables import ALL

XXH3 = digest.available()[0]
PATIENCE = 30.0
"""Seconds until a reply that does not come fails the test."""


def local(reach: Reach = ANYWHERE) -> LocalEndpoint:
    """An endpoint in this process."""
    umask = os.umask(0o022)
    os.umask(umask)
    return LocalEndpoint(os.environ, umask, reach=reach)


def ask(endpoint: Endpoint, request: Any) -> Any:
    """The reply to one request; raises what ended the conversation."""
    return endpoint.submit(request).result(PATIENCE)


def opening(path: Path | str | bytes, role: Role, **changes: Any) -> messages.Open:
    """A request to open a root, with every option off."""
    request = messages.Open(
        os.fsencode(path),
        role,
        only=None,
        alias=None,
        patterns=[],
        gitignore=False,
        one_file_system=False,
        trust_state=True,
        writing=role is Role.DESTINATION,
        parents=False,
        lock_wait_ms=0,
        holder="a test",
    )
    return request._replace(**changes)


SEAL = messages.Seal(XXH3.name, *ALL[:4], (), (), False)


def begin(endpoint: Endpoint, path: Path | str, role: Role, **changes: Any) -> messages.Scanned:
    """Open, scan and seal a root; a destination is then ready to be written to."""
    ask(endpoint, opening(path, role, **changes))
    scanned: messages.Scanned = ask(endpoint, messages.Scan())
    ask(endpoint, SEAL)
    return scanned


class Outcome(NamedTuple):
    """How a run between two endpoints went."""

    plan: Plan
    failures: list[Failure]
    roots: tuple[bytes, bytes]
    content: int


def compared(source: Endpoint, destination: Endpoint, *, delete: bool = True) -> Plan:
    """What a run would do between two endpoints that are begun."""
    return _comparison(source, destination, delete, [])


def _comparison(
    source: Endpoint, destination: Endpoint, delete: bool, failures: list[Failure]
) -> Plan:
    options = RunOptions(delete=delete, rules=RuleOptions())
    return Comparison(
        source,
        destination,
        ALL,
        options,
        whole=True,
        missing=False,
        unreadable=0,
        on_failure=failures.append,
        on_hashed=_unwatched,
    ).run()


def _unwatched(_done: int, _total: int) -> None:
    """For progress that nobody watches."""


def carry_out(
    source: Endpoint,
    destination: Endpoint,
    *,
    delete: bool = True,
    compress: bool = False,
    when_planned: Callable[[], None] = lambda: None,
) -> Outcome:
    """Compare two endpoints that are begun, and make the destination like the source."""
    failures: list[Failure] = []
    plan = _comparison(source, destination, delete, failures)
    if delete:
        MoveSearch(source, destination, ALL, lambda _: None).apply_to(plan)
    when_planned()
    compression = Compression(Chosen(Method(compress), (int(compress),), adaptive=False))
    transfer = Transfer(source, destination, failures.append, lambda _: None, compression)
    transfer.run(plan, messages.Begin((), ()), lambda: None)
    transfer.settle()
    finished = [
        ask(end, messages.Finish(extras, not failures))
        for end, extras in ((source, ()), (destination, plan.extras))
    ]
    return Outcome(plan, failures, (finished[0].root, finished[1].root), transfer.content)


def synchronize(
    source: Endpoint, destination: Endpoint, source_path: Path, destination_path: Path
) -> Outcome:
    """A whole run; both ends are closed in the end."""
    begin(source, source_path, Role.SOURCE)
    begin(destination, destination_path, Role.DESTINATION)
    outcome = carry_out(source, destination)
    for end in (source, destination):
        ask(end, messages.Close())
    return outcome


# --- writing by hand -----------------------------------------------------------------------------


def start_writing(
    endpoint: Endpoint, path: Path, expected: Sequence[Expected] = (), **changes: Any
) -> messages.Leftovers:
    """A destination that expects these paths."""
    begin(endpoint, path, Role.DESTINATION, **changes)
    leftovers: messages.Leftovers = ask(endpoint, messages.Begin((), ()))
    ask(endpoint, messages.Expect(expected))
    return leftovers


def store_groups(endpoint: Endpoint, groups: Sequence[Group], body: bytes = b"") -> messages.Stored:
    """Store small files."""
    parts = Packer().groups(Groups(groups, (), body), PLAIN)
    stored: messages.Stored = ask(endpoint, RawPack(b"".join(parts)))
    return stored


def store_piece(endpoint: Endpoint, piece: Piece) -> messages.Stored:
    """Store a piece of a large file."""
    stored: messages.Stored = ask(endpoint, RawPack(b"".join(Packer().piece(piece, PLAIN))))
    return stored


OWN = Attributes(0o040755, 1_000_000_000, os.geteuid(), os.getegid())


def group(path: bytes, table: Table, *, new: bool = False, last: bool = True) -> Group:
    """Entries of one directory."""
    return Group(path, new, last, False, OWN, table)


def expected(path: bytes, *, tree: bool = False, replace: bool = False) -> Expected:
    """A path whose content will come."""
    return Expected(path, tree, replace)


def selected(path: bytes, *, tree: bool = False) -> Selected:
    """A path whose content is wanted."""
    return Selected(path, tree)
