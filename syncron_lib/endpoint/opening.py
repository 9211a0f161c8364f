"""What an `Open` asks for beside the root itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from syncron_lib.core.options import FileList, RuleOptions
from syncron_lib.core.role import Role
from syncron_lib.fs.reach import Reach
from syncron_lib.fs.root import Choice
from syncron_lib.protocol import messages

if TYPE_CHECKING:  # few runs have one
    from syncron_lib.fs.scratch import Scratch


def choice_of(request: messages.Open, reach: Reach, umask: int) -> Choice:
    """What of the root the run is over. Raises RootError."""
    rules = RuleOptions(tuple(request.patterns), request.gitignore, request.one_file_system)
    if request.chosen is not None:
        from syncron_lib.fs import filelist

        rules = rules._replace(chosen=filelist.read(FileList(*request.chosen), reach))
    reading, replica = request.role != Role.DESTINATION, request.role == Role.REPLICA
    lens = None
    if request.view is not None:
        from syncron_lib.fs.lens import lens_of

        lens = lens_of(request.view, reading, reach, umask)
    part = request.only, request.alias
    return Choice(*part, rules, request.trust_state, reading, lens, replica)


def scratch_of(request: messages.Open, root: bytes, reach: Reach) -> Optional[Scratch]:
    """The scratch directory of a destination at ``root``, if it is to have one. Raises
    RootError."""
    if request.scratch is None or request.role != Role.DESTINATION:
        return None
    from syncron_lib.fs.scratch import scratch

    return scratch(request.scratch, root, reach)
