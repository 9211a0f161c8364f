"""``--secure-check``, as a person asks for it."""

from __future__ import annotations

from syncron_lib.cli.face import Face
from syncron_lib.cli.secrets import keys
from syncron_lib.cli.secrets.keys import Surroundings
from syncron_lib.cli.settings import Settings
from syncron_lib.core.location import Location
from syncron_lib.errors import SyncronError
from syncron_lib.transport.settings import ConnectOptions


def check(
    where: Location,
    settings: Settings,
    connect: ConnectOptions,
    face: Face,
    around: Surroundings,
) -> int:
    """Authenticate all that is sealed at ``where``; the exit status."""
    from syncron_lib.session.check import check as authenticate

    keyring = keys.load(settings, around.required_path(settings), around)
    options = settings.run_options()
    checked = authenticate(where, keyring, options, connect, face, around.environ)
    for problem in checked.problems:
        face.warning(problem)
    files = f"{checked.files:,} sealed file{'s' * (checked.files != 1)}"
    told = f"{files} ({checked.size:,} bytes) of {where.shown()} are as they were sealed"
    if not checked.problems:
        face.notice(f"{told}.")
        return int(checked.exit_code)
    others = len(checked.problems)
    raise SyncronError(
        f"{told}, and {others} {'is' if others == 1 else 'are'} not, or missing.",
        exit_code=checked.exit_code,
    )
