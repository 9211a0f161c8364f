"""A look at one root: nothing is compared, and nothing is written."""

from __future__ import annotations

from syncron_lib.core import digest
from syncron_lib.core.location import Location
from syncron_lib.core.options import RunOptions
from syncron_lib.core.report import Phase, Report
from syncron_lib.errors import Exit, FileFatal, RootError
from syncron_lib.protocol import messages
from syncron_lib.protocol.messages import RootKind
from syncron_lib.session.asking import failure_of, reply_of
from syncron_lib.session.observer import Observer
from syncron_lib.session.opening import MOST_HOT, open_hot, open_one
from syncron_lib.session.pool import Pool
from syncron_lib.session.profile import chosen_algorithm, profile_of, seal_request


def hot_in(
    pool: Pool, location: Location, options: RunOptions, observer: Observer
) -> list[tuple[bytes, float]]:
    """The directories of a source that changed most often, and how often, of late more than long
    ago. Nothing is scanned."""
    endpoint, opened = open_hot(pool, location, options, observer)
    if opened.kind != RootKind.DIRECTORY:
        raise RootError(f"{location.shown()} is not a directory; name one.")
    found = reply_of(endpoint.submit(messages.GetHot(MOST_HOT)), messages.HotDirectories)
    reply_of(endpoint.submit(messages.Close()), messages.Done)
    return [(item.path, item.score / 1000) for item in found.items]


def root_of(pool: Pool, location: Location, options: RunOptions, observer: Observer) -> Report:
    """The Merkle root of a tree, as the source's; what is not known is read."""
    observer.phase(Phase.SCAN)
    endpoint, opened = open_one(pool, location, options, observer)
    if opened.kind != RootKind.DIRECTORY:
        raise RootError(f"{location.shown()} is not a directory; name one.")
    profile = profile_of(options, endpoint.hello.uid, endpoint.hello.uid)
    observer.phase(Phase.HASH)
    algorithm = chosen_algorithm(options.algorithm, endpoint)
    sealed = reply_of(
        endpoint.submit(seal_request(algorithm, profile, (), (), True)), messages.Sealed
    )
    for problem in sealed.problems:
        observer.failure(failure_of(problem, "source"))
    reply_of(endpoint.submit(messages.Close()), messages.Done)
    if sealed.root == digest.UNKNOWN:
        raise FileFatal(
            f"{location.shown()} has no root, because not all of it could be read.",
            exit_code=Exit.PARTIAL,
        )
    report = Report(location.shown(), "", source_root=sealed.root.hex(), algorithm=algorithm)
    report.unsaved.extend(endpoint.unsaved)
    if report.unsaved:
        report.exit_code = Exit.FILE_FATAL
    return report
