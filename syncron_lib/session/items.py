"""A plan as itemized lines: one for every entry, those below new directories included."""

from __future__ import annotations

import stat
from array import array
from collections.abc import Container, Iterator, Mapping, Sequence

from syncron_lib.core.compare import new_flags
from syncron_lib.core.links import up
from syncron_lib.core.merkle import Attributes
from syncron_lib.core.names import join, split
from syncron_lib.core.options import RunOptions
from syncron_lib.core.plan import Create, Extend, Link, Make, Plan, Remove, Take
from syncron_lib.core.report import Action, Item
from syncron_lib.core.table import link_targets
from syncron_lib.endpoint.base import Endpoint
from syncron_lib.record import NamedTuple
from syncron_lib.session.listings import listings

_DELETING = "*deleting  "
_MOVING = "*moving    "
_NO_TARGETS: Mapping[int, bytes] = {}


def of_plan(
    plan: Plan,
    source: Endpoint,
    destination: Endpoint,
    transfer: str,
    options: RunOptions,
    whole: bool,
) -> Iterator[Item]:
    """Items in rsync's order: of each directory first what is no directory, each by name. Deletes
    come last, or first if that is asked for, whenever they are done. ``transfer``: ``<`` or ``>``,
    rsync's mark for a file that is sent or received. ``whole``: see `Ends`."""
    if options.deletes_told_first:
        yield from _deleted(plan, destination)
    if plan.makes_root and b"" not in plan.implied:
        own = plan.touched.get(b"")
        yield Item(Action.CREATE, "cd" + "+" * 9, b"", True, 0, attributes=own)
    trees = [create.path for create in plan.creates if stat.S_ISDIR(create.mode)]
    below = _below(trees, source)
    links = {link.path: _linked(link) for link in plan.links}
    made = [_created(create, transfer) for create in plan.creates]
    made.extend(
        Item(
            Action.CREATE,
            "c" + (make.flags or new_flags(make.attributes.mode)),
            make.path,
            True,
            0,
            attributes=make.attributes,
        )
        for make in (*plan.makes, *plan.parents)
        if make.flags is None or make.flags.strip("d.")
    )
    made.extend(
        Item(
            Action.CREATE, "c" + link.flags, link.path, False, link.size, attributes=link.attributes
        )
        for link in plan.takes
        if link.flags is not None and link.copy
    )
    for move in plan.moves:
        directory = stat.S_ISDIR(move.attributes.mode)
        made.append(
            Item(
                Action.MOVE,
                _MOVING,
                move.path,
                directory,
                move.size,
                None,
                move.old,
                move.attributes,
            )
        )
    for change in plan.changes:
        mark = transfer if change.flags.startswith("f") else "c"
        made.append(
            Item(
                Action.CHANGE,
                mark + change.flags,
                change.path,
                False,
                change.size,
                change.target,
                None,
                change.attributes,
            )
        )
    for adjust in plan.adjusts:
        directory = stat.S_ISDIR(adjust.attributes.mode)
        made.append(
            Item(
                Action.METADATA,
                "." + adjust.flags,
                adjust.path,
                directory,
                adjust.size,
                adjust.target,
                None,
                adjust.attributes,
            )
        )
    adjusted = {adjust.path for adjust in plan.adjusts}
    made.extend(
        _extended(step) for step in plan.extends if step.path not in adjusted and step.flags
    )
    tops = frozenset(trees)
    made.extend(item for path, item in links.items() if tops.isdisjoint(up(path)))
    if options.itemize_unchanged or options.itemize_left:
        from syncron_lib.session.unchanged import left_items, unchanged

        made.extend(left_items(plan) if options.itemize_left else ())
        if options.itemize_unchanged:
            told = {item.path for item in made} | ({b""} if plan.makes_root else set())
            made.extend(unchanged(plan, told, source, whole, options.transfer))
    made.sort(key=lambda item: order_of(item.path, item.is_directory))
    for item in made:
        yield item
        if item.path in below:
            for each in _walked(item.path, below, plan.left, transfer):
                yield links.get(each.path, each) if links else each
    if not options.deletes_told_first:
        yield from _deleted(plan, destination)


def order_of(path: bytes, is_directory: bool) -> bytes:
    """A sort key for rsync's order, in which a directory's name ends with a slash."""
    parts = path.split(b"/")
    last = parts.pop()
    above = b"".join(b"\1%b/" % part for part in parts)
    return above + (b"\1%b/" % last if is_directory and path else b"\0" + last)


def _deleted(plan: Plan, destination: Endpoint) -> Iterator[Item]:
    """All that goes, what is in a directory before it; of each the last first, as with rsync. Of a
    directory that makes way, what is in it."""
    tops: dict[bytes, list[Remove]] = {}
    for remove in plan.removes:
        tops.setdefault(split(remove.path)[0], []).append(remove)
    trees = [each.path for each in plan.removes if each.is_directory and each.entries > 1]
    makers: tuple[Sequence[Create | Link | Make | Take], ...]
    makers = plan.creates, plan.links, plan.parents, plan.takes
    ways = [each.path for some in makers for each in some if each.replaces > 1]
    below = _below([*trees, *ways], destination)
    for path in ways:
        yield from _emptied(path, below)
    for parent in sorted(tops, key=lambda path: order_of(path, True)):
        removes = sorted(tops[parent], key=lambda each: order_of(each.path, each.is_directory))
        for remove in reversed(removes):
            if remove.path in below:
                yield from _emptied(remove.path, below)
            mode = remove.attributes.mode
            yield Item(
                Action.DELETE, _DELETING, remove.path, remove.is_directory, remove.size, mode=mode
            )


def _emptied(path: bytes, below: Mapping[bytes, _Listed]) -> Iterator[Item]:
    for each in reversed([*_walked(path, below, (), "")]):
        assert each.attributes is not None  # it is a row of a directory
        mode = each.attributes.mode
        yield Item(Action.DELETE, _DELETING, each.path, each.is_directory, each.size, mode=mode)


def _extended(step: Extend) -> Item:
    directory = stat.S_ISDIR(step.mode)
    return Item(Action.METADATA, "." + step.flags, step.path, directory, step.size)


def _linked(link: Link) -> Item:
    return Item(Action.LINK, "h" + link.flags, link.path, False, link.size, link.leader)


def _created(create: Create, transfer: str) -> Item:
    size = create.size if stat.S_ISREG(create.mode) else 0
    return _new(create.path, create.attributes, size, create.target, transfer, create.flags)


def _new(
    path: bytes,
    own: Attributes,
    size: int,
    target: bytes | None,
    transfer: str,
    flags: str | None = None,
) -> Item:
    mode = own.mode
    mark = transfer if stat.S_ISREG(mode) else "c"
    flags = mark + (flags or new_flags(mode))
    return Item(Action.CREATE, flags, path, stat.S_ISDIR(mode), size, target, None, own)


class _Listed(NamedTuple):
    """What items need of a directory's table: a first copy holds it of all directories at once, so
    there is no object an entry."""

    names: bytes
    modes: array[int]
    sizes: array[int]
    mtimes: array[int]
    uids: array[int]
    gids: array[int]
    targets: Mapping[int, bytes]


def _below(trees: Sequence[bytes], source: Endpoint) -> dict[bytes, _Listed]:
    """All directories that come with new ones. They are asked for by levels, many at once, and not
    in the order in which they are shown: over a slow link each request has its price."""
    found = {}
    frontier = list(trees)
    while frontier:
        following: list[bytes] = []
        for path, directory in zip(frontier, listings(source, frontier)):
            table = directory.table
            found[path] = _Listed(
                b"\0".join(table.names),
                array("I", table.modes),
                array("Q", table.sizes),
                array("q", table.mtimes),
                array("I", table.uids),
                array("I", table.gids),
                link_targets(table) if table.targets else _NO_TARGETS,
            )
            following.extend(
                join(path, name)
                for name, mode in zip(table.names, table.modes)
                if stat.S_ISDIR(mode)
            )
        frontier = following
    return found


def _walked(
    top: bytes, below: Mapping[bytes, _Listed], left: Container[bytes], transfer: str
) -> Iterator[Item]:
    """Items of all that is below a new directory and not ``left``, in the order of the tree."""
    walks = [_entries(top, below[top], transfer)]
    while walks:
        item = next(walks[-1], None)
        if item is None:
            walks.pop()
            continue
        if item.path in left:
            continue
        yield item
        if item.is_directory and item.path in below:
            walks.append(_entries(item.path, below[item.path], transfer))


def _entries(path: bytes, listed: _Listed, transfer: str) -> Iterator[Item]:
    names = listed.names.split(b"\0")
    modes = listed.modes
    rows = [row for row, mode in enumerate(modes) if mode and not stat.S_ISDIR(mode)]
    directories = [row for row, mode in enumerate(modes) if stat.S_ISDIR(mode)]
    rows.extend(sorted(directories, key=lambda row: names[row] + b"/"))
    for row in rows:
        name, mode, size = names[row], modes[row], listed.sizes[row]
        own = Attributes(mode, listed.mtimes[row], listed.uids[row], listed.gids[row])
        size = size if stat.S_ISREG(mode) else 0
        yield _new(join(path, name), own, size, listed.targets.get(row), transfer)
