"""What ``--fake-super``, for this machine or by ``-M`` for the other, goes together with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from syncron_lib.core.options import FakeSuper
from syncron_lib.errors import UsageError

if TYPE_CHECKING:
    from syncron_lib.cli.settings import Settings

_ABOUT = ("--fake-super", "--super", "--no-super")


def fake_super_of(settings: Settings) -> FakeSuper:
    """Which machines note what only root may do. Raises UsageError."""
    said = [option for option in settings.remote_option if option in _ABOUT]
    there = said[-1] == "--fake-super" if said else None
    here = bool(settings.fake_super) and settings.super_user is None
    if said and not (here or there):
        raise UsageError(
            f"--remote-option={said[-1]} takes --fake-super back for the other side: give that too,"
            " or --super for whoever receives."
        )
    if not (here or there):
        return FakeSuper()
    _require_possible(settings, bool(there))
    return FakeSuper(here, there)


def _require_possible(settings: Settings, there: bool) -> None:
    for option, given in (
        ("--acls", settings.acls),
        ("--xattrs", settings.xattrs),
        ("--atimes", settings.atimes),
        ("--snapshot", settings.snapshot),
        ("--link-dest", settings.link_dest),
        ("--copy-dest", settings.copy_dest),
        ("--compare-dest", settings.compare_dest),
        ("--keep-dirlinks", settings.keep_dirlinks),
        ("--copy-links", settings.copy_links),
        ("--copy-dirlinks", settings.copy_dirlinks),
        ("--copy-unsafe-links", settings.copy_unsafe_links),
    ):
        if given:
            raise UsageError(
                f"--fake-super notes owners, permissions and devices, and does not go together with"
                f" {option}: leave one of them out."
            )
    if there and settings.super_user is not None:
        raise UsageError(
            "--super and --no-super say what the receiver does, and --remote-option=--fake-super"
            " what the other machine does: give one of them."
        )
