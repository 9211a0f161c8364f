"""Numbers and results as sentences for a person."""

from __future__ import annotations

from syncron_lib.cli.format import human_number
from syncron_lib.core.choosing import Why
from syncron_lib.core.kinds import KINDS
from syncron_lib.core.names import shown
from syncron_lib.core.report import Action, Clash, Failure, Item, Report

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def in_units(count: float) -> str:
    """Bytes in decimal units, three digits: ``0 B``, ``999 B``, ``1.23 MB``."""
    for unit in _UNITS:
        if count < 999.5 or unit == _UNITS[-1]:
            break
        count /= 1000
    if unit == "B":
        return f"{count:.0f} B"
    digits = 2 if count < 9.995 else 1 if count < 99.95 else 0
    return f"{count:.{digits}f} {unit}"


def duration(seconds: float) -> str:
    """``0.42 s``, ``4.2 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 9.95:
        return f"{seconds:.{2 if seconds < 0.995 else 1}f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def entries(count: int) -> str:
    """``1 entry``, ``1,204 entries``."""
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def item_line(item: Item) -> str:
    """One itemized change as rsync's ``%i %n%L`` shows it; of a run in both directions, with the
    direction."""
    return f"{direction(item)}{item.flags} {item_name(item)}{' (sealed)' if item.sealed else ''}"


def direction(item: Item) -> str:
    """Where a change of a run in both directions happens: ``<-`` at the first, ``->`` at the
    second."""
    return "" if item.at is None else ("<- ", "-> ")[item.at]


def item_name(item: Item) -> str:
    """The path as rsync shows it: a slash after a directory, the target after a symlink. Of what
    is moved, both paths."""
    if item.old is not None:
        slash = "/" if item.is_directory else ""
        return f"{shown(item.old)}{slash} -> {shown(item.path)}{slash}"
    if item.is_directory:
        return "./" if not item.path else f"{shown(item.path)}/"
    if item.action is Action.LINK and item.target is not None:
        return f"{shown(item.path)} => {shown(item.target)}"
    if item.target is not None and item.action is not Action.DELETE:
        return f"{shown(item.path)} -> {shown(item.target)}"
    return shown(item.path) or "."


_LEFT = {
    Why.EXISTS: "{name} exists",
    Why.NEW: 'not creating new {kind} "{name}"',
    Why.NEWER: "{name} is newer",
    Why.LARGE: "{name} is over max-size",
    Why.SMALL: "{name} is under min-size",
    Why.KIND: 'skipping non-regular file "{name}"',
    Why.UNSAFE: 'ignoring unsafe symlink "{name}" -> "{target}"',
}


def left_line(item: Item) -> str:
    """rsync's line for what the options leave."""
    assert item.why is not None
    kind = "directory" if item.is_directory else "file"
    target = shown(item.target or b"")
    return _LEFT[item.why].format(name=shown(item.path), kind=kind, target=target)


_PREFIXES = {Action.DELETE: "deleting ", Action.MOVE: "moving "}


def verbose_line(item: Item) -> str:
    """One change under ``-v``: the name, and a word before it where it goes away."""
    return direction(item) + _PREFIXES.get(item.action, "") + item_name(item)


def failure_line(failure: Failure) -> str:
    """One file that was not done."""
    return f"{shown(failure.path) or '.'}: {failure.what} ({failure.side})"


def clash_line(clash: Clash) -> str:
    """One conflict, and what became of it."""
    path = shown(clash.path)
    kept = f"; the other version is {shown(clash.kept)}" if clash.kept is not None else ""
    whose = "" if clash.winner is None else ("the first side's", "the second side's")[clash.winner]
    said = {
        "content": f"changed on both sides: {whose} keeps the name{kept}",
        "kind": f"a directory on one side only: {whose} keeps the name{kept}",
        "deleted": f"deleted on one side and changed on the other: {whose} is kept",
        "revived": "deleted on one side, and kept for what is new in it",
        "permissions": "its permissions were changed on both sides: the larger number holds",
        "merged": "changed on both sides, and merged",
        "repaired": "taken away by somebody without the key, and put back",
        "skipped": "changed on both sides, and left as it is",
    }
    return f"{path}: {said[clash.what]}"


def summary(report: Report, *, verify: bool) -> str:
    """The one line at the end of a run that was carried out."""
    if verify:
        return _verify_summary(report)
    counts = _counts(report)
    took = f"in {duration(report.duration)}"
    if report.dry_run:
        doing = f"would {counts}" if counts else "nothing to do"
        return f"Dry run: {doing}; {report.unchanged:,} unchanged{_left(report)}; {took}"
    if not counts and not report.failures:
        of = f" ({in_units(report.bytes_scanned)})" if report.bytes_scanned else ""
        took += _left(report)
        return f"Nothing to do for {entries(report.source_entries)}{of} {took}{_roots(report)}"
    wire = f"{in_units(report.bytes_sent)} sent, {in_units(report.bytes_received)} received"
    if not report.bytes_sent and not report.bytes_received:  # both sides are on this machine
        wire = f"{in_units(report.bytes_transferred)} copied"
    not_done = _left(report) + _failed(report)
    return f"{counts or 'Nothing done'}; {wire} {took}{not_done}{_roots(report)}"


def _left(report: Report) -> str:
    left = f"; {report.left_out:,} left as they were" if report.left_out else ""
    return left + (f"; {report.removed:,} removed from the source" if report.removed else "")


def _verify_summary(report: Report) -> str:
    took = f"in {duration(report.duration)}"
    if report.failures:
        return f"Not known{_failed(report)}, {took}"
    different = report.created + report.changed + report.metadata + report.deleted
    if report.match is False or different:
        return f"Different: {entries(different)} of {report.source_entries:,}, {took}"
    of = f" ({in_units(report.bytes_scanned)})" if report.bytes_scanned else ""
    root = f"; root {report.source_root[:12]}" if report.source_root else ""
    of += _left(report)
    return f"Equal: {entries(report.source_entries)}{of}, {took}{root}"


def did_something(report: Report) -> bool:
    """Whether anything was done that a person should hear of, should the run break off."""
    return any(_numbers(report)) or report.removed > 0


def _numbers(report: Report) -> tuple[int, ...]:
    return (
        *(report.created, report.changed, report.moved, report.linked, report.copied),
        *(report.deleted, report.metadata),
    )


def _counts(report: Report) -> str:
    verbs = ("create", "change", "move", "link", "copy", "delete", "set metadata of")
    past = ("created", "changed", "moved", "linked", "copied", "deleted", "metadata only")
    numbers = _numbers(report)
    if report.dry_run:
        parts = [f"{verb} {number:,}" for verb, number in zip(verbs, numbers) if number]
    else:
        parts = [f"{number:,} {word}" for word, number in zip(past, numbers) if number]
    return ", ".join(parts)


def _failed(report: Report) -> str:
    count = len(report.failures)
    return f"; {count:,} {'file' if count == 1 else 'files'} not done" if count else ""


def _roots(report: Report) -> str:
    if report.match is None:
        return ""
    if not report.match:
        return "; not in sync"
    return f"; in sync, root {report.source_root[:12]}" if report.source_root else "; in sync"


def _kinds(report: Report) -> str:
    counts = zip(KINDS, report.source_kinds)
    return ", ".join(f"{kind}: {count:,}" for kind, count in counts if count) or "none"


def stats(report: Report, human: int = 1) -> str:
    """The block of ``--stats``. ``human``: see `cli.format.human_number`; 1 is our own way."""

    def bytes_(count: int) -> str:
        return _exact(count) if human == 1 else f"{human_number(count, human)} bytes"

    rows = [
        ("Source", report.source),
        ("Destination", report.destination),
        ("Entries", f"{report.source_entries:,} ({in_units(report.bytes_scanned)})"),
        *([("By kind", _kinds(report))] if report.source_kinds else []),
        ("Created", f"{report.created:,}"),
        ("Changed", f"{report.changed:,}"),
        ("Moved", f"{report.moved:,}"),
        ("Linked", f"{report.linked:,}"),
        ("Copied", f"{report.copied:,}"),
        ("Metadata only", f"{report.metadata:,}"),
        ("Deleted", f"{report.deleted:,}"),
        ("Unchanged", f"{report.unchanged:,}"),
        ("Left as they were", f"{report.left_out:,}"),
        *([("Removed from the source", f"{report.removed:,}")] if report.removed else []),
        ("Not done", f"{len(report.failures):,}"),
        ("Literal data", bytes_(report.bytes_transferred)),
        ("Matched data", bytes_(report.bytes_matched)),
        ("Hashed", bytes_(report.bytes_hashed)),
        ("Sent", bytes_(report.bytes_sent)),
        ("Received", bytes_(report.bytes_received)),
        ("Source root", report.source_root or "not known"),
        ("Destination root", report.destination_root or "not known"),
        ("Roots", {True: "equal", False: "different", None: "not compared"}[report.match]),
        ("Root algorithm", report.algorithm or "not known"),
        ("Time", duration(report.duration)),
    ]
    return "".join(f"{name + ': ':<19}{value}\n" for name, value in rows)


def _exact(count: int) -> str:
    return f"{in_units(count)} ({count:,} bytes)" if count >= 1000 else f"{count:,} bytes"
