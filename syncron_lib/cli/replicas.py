"""`--list-replicas` and `--forget-replica`: which replicas a root has heard of."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from syncron_lib.cli.face import Face
from syncron_lib.cli.jobs.overview import table
from syncron_lib.cli.parser import Invocation, Mode
from syncron_lib.cli.settings import Settings
from syncron_lib.core.location import parse_location
from syncron_lib.core.names import shown
from syncron_lib.core.twoway.identity import Standing
from syncron_lib.errors import UsageError
from syncron_lib.protocol.messages import Replicas
from syncron_lib.transport.settings import ConnectOptions


def about_replicas(
    given: argparse.Namespace, settings: Settings, paths: tuple[str, ...]
) -> Invocation:
    """What is asked for about replicas, rather than a run."""
    name, root = given.forget_replica, given.list_replicas
    if name is not None:
        if not name or not paths or "" in paths:
            raise UsageError(
                "--forget-replica needs the identity or place of a replica (see --list-replicas),"
                " and the roots that are to know that it is gone: --forget-replica=ID ROOT..."
            )
    elif not root:
        raise UsageError("--list-replicas needs the name of a directory.")
    return Invocation(
        Mode.REPLICAS, settings, operands=paths or (root,), config=given.config, replica=name
    )


def carry_out(
    invocation: Invocation,
    settings: Settings,
    connect: ConnectOptions,
    face: Face,
    write: Callable[[str], None],
) -> int:
    """List them, or have one forgotten; the exit status."""
    from syncron_lib.session.twoway import roster

    locations = [parse_location(each) for each in invocation.operands]
    options = settings.run_options()
    if invocation.replica is None:
        found = roster.replicas_of(locations[0], options, connect, face)
        write(_listed(found, json=bool(settings.json)))
        return 0
    if settings.dry_run:
        raise UsageError(
            "--forget-replica and --dry-run do not go together: nothing would be told."
        )
    gone = roster.forget(invocation.replica, locations, options, connect, face)
    face.notice(
        f"{roster.described(gone)} is taken to be gone for good, here and wherever these replicas"
        " are brought together with others. Nothing was deleted."
    )
    return 0


def _listed(found: Replicas, *, json: bool) -> str:
    """The replicas that a root has heard of, as a table or as JSON lines."""
    settled = found.standing == Standing.KNOWN
    known = [each for each in found.known if settled or each.replica != found.replica]
    if json:
        from json import dumps

        from syncron_lib.cli.json_lines import named

        lines = (
            {
                "replica": each.replica.hex(),
                **named("place", each.label),
                "events": each.events,
                "retired": each.retired,
                "here": each.replica == found.replica,
            }
            for each in known
        )
        return "".join(dumps(line) + "\n" for line in lines)
    rows = [["REPLICA", "EVENTS", "PLACE", ""]]
    for each in known:
        note = "gone for good" if each.retired else "this one" * (each.replica == found.replica)
        rows.append([each.replica.hex(), f"{each.events:,}", shown(each.label) or "-", note])
    return table(rows)
