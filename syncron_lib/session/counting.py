"""What came of a plan: counts, and the exit code."""

from __future__ import annotations

from collections.abc import Set

from syncron_lib.core import digest
from syncron_lib.core.places import places
from syncron_lib.core.plan import Plan
from syncron_lib.core.report import Cause, Report
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.errors import Exit
from syncron_lib.protocol import messages
from syncron_lib.session.asking import reply_of

UNEQUAL = (
    "The two trees are not equal after the run, though every step of it succeeded: one of them was"
    " changed meanwhile, or the destination's file system cannot keep what was asked for. Run it"
    " again to see what differs."
)


def count(report: Report, plan: Plan, failed: Set[bytes]) -> None:
    """Say in ``report`` what was done of ``plan``; ``failed``: paths that were not."""
    report.places = places(plan)
    report.created = plan.created
    changed = [change.path for change in plan.changes]
    changed.extend(link.path for link in plan.links if not link.new)
    report.changed = sum(1 for path in changed if path not in failed)
    adjusted = {adjust.path for adjust in plan.adjusts}
    adjusted.update(step.path for step in plan.extends if step.flags)
    report.metadata = len(adjusted - failed)
    report.moved = plan.moved
    report.linked, report.copied = plan.linked, plan.copied
    report.deleted = plan.deleted
    trees = [create.path for create in plan.creates]
    trees.extend(link.path for link in plan.links if link.new)
    lost = sum(1 for path in failed if any(is_in(path, tree) for tree in trees))
    report.created -= min(lost, report.created)
    report.deleted -= sum(1 for remove in plan.removes if remove.path in failed)
    report.left_out = sum(left.entries for left in plan.left.values())
    taken = plan.linked + plan.copied
    touched = plan.created + plan.moved + taken + len(changed) + len(adjusted)
    report.unchanged = max(0, report.source_entries - touched - report.left_out)


def decide_exit(report: Report, plan: Plan, verify: bool) -> bool:
    """Decide on the exit code; whether the roots differ though nothing failed."""
    if verify:
        report.match = plan.is_empty and not report.failures
    if report.unsaved and not (verify and not plan.is_empty):
        report.exit_code = Exit.FILE_FATAL
    elif any(failure.cause is Cause.ERROR for failure in report.failures):
        report.exit_code = Exit.PARTIAL
    elif report.failures:
        report.exit_code = Exit.VANISHED
    elif verify and not plan.is_empty:
        report.exit_code = Exit.DIFFERENT
    elif report.match is False and not report.dry_run:
        report.exit_code = Exit.PARTIAL
        return True
    return False


def is_in(path: bytes, tree: bytes) -> bool:
    """Whether ``path`` is ``tree`` or in it."""
    return path == tree or path.startswith(tree + b"/")


def kinds_of(source: Endpoint, root: bool) -> list[int]:
    """How many entries the source has of each of `core.kinds.KINDS`. ``root``: its root is one."""
    found = reply_of(source.submit(messages.CountKinds()), messages.Kinds)
    return [found.files, found.directories + root, *found[2:]]


def shown_root(value: bytes) -> str | None:
    """A root's digest as it is told; None where it is not known."""
    return None if value == digest.UNKNOWN else value.hex()
