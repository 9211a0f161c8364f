"""What entries of both roots are taken to be, by what was said of this machine and the other."""

from __future__ import annotations

from syncron_lib.core.location import Local, Location
from syncron_lib.core.options import FakeSuper, RunOptions
from syncron_lib.core.view import Munge
from syncron_lib.errors import UsageError


def fakes_of(how: FakeSuper, source: Location, destination: Location) -> tuple[bool, bool]:
    """Whether source and destination are read and written with ``--fake-super``. As with rsync, of
    two trees on this machine the destination is the other side too."""
    here, there = how
    is_here = isinstance(source, Local), isinstance(destination, Local)
    if here and not any(is_here):
        raise UsageError(
            "--fake-super is about this machine, and both sides are on others:"
            " say --remote-option=--fake-super for both of them."
        )
    if all(is_here):
        return here, here if there is None else there
    return here if is_here[0] else bool(there), here if is_here[1] else bool(there)


def as_seen(options: RunOptions, source: Location, destination: Location) -> RunOptions:
    """The options of a run between these. Who sends takes away what who receives puts before the
    targets of symlinks; as with rsync, this machine is the sender unless it has only the
    destination."""
    if options.fake_super != FakeSuper():
        options = options._replace(fakes=fakes_of(options.fake_super, source, destination))
    here, there = options.munge
    if not (here or there):
        return options
    pulls = isinstance(destination, Local) and not isinstance(source, Local)
    strips, adds = (there, here) if pulls else (here, there)
    munge = int((Munge.STRIP if strips else 0) | (Munge.ADD if adds else 0))
    return options._replace(view=options.view._replace(munge=munge))
