"""``--super``; and ``--fake-super``, for this machine or by ``-M`` for the other, and what goes
together with that."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from syncron_lib.cli.option import Kind, Option
from syncron_lib.core.options import FakeSuper
from syncron_lib.errors import UsageError

if TYPE_CHECKING:
    from syncron_lib.cli.settings import Settings


class Super(Enum):
    """How what only root may do is done; of several that are given the last one counts."""

    REAL = True
    NONE = False
    FAKE = "fake"
    """It is noted instead, on this machine."""


_WHAT = "What is carried over"
SUPER: tuple[Option, ...] = (
    Option(
        _WHAT,
        "super",
        Kind.SWITCH,
        "have the receiver do what only root may",
        field="super_user",
        on=Super.REAL,
        off=Super.NONE,
    ),
    Option(
        _WHAT,
        "fake-super",
        Kind.SWITCH,
        "note what only root may do in an extended attribute",
        field="super_user",
        on=Super.FAKE,
        off=None,
    ),
)
"""A part of `syncron_lib.cli.catalog.OPTIONS`."""
_ABOUT = ("--fake-super", "--super", "--no-super")


def fake_super_of(settings: Settings) -> FakeSuper:
    """Which machines note what only root may do. Raises UsageError."""
    said = [option for option in settings.remote_option if option in _ABOUT]
    there = said[-1] == "--fake-super" if said else None
    here = settings.super_user is Super.FAKE
    if said and not (here or there):
        raise UsageError(
            f"--remote-option={said[-1]} takes --fake-super back for the other side: give that too,"
            " or --super for whoever receives."
        )
    if not (here or there):
        return FakeSuper()
    _require_possible(settings)
    if there and super_user_of(settings) is not None:
        raise UsageError(
            "--super and --no-super say what the receiver does, and --remote-option=--fake-super"
            " what the other machine does: give one of them."
        )
    return FakeSuper(here, there)


def super_user_of(settings: Settings) -> bool | None:
    """Whether the receiver is to do what only root may; None: if it is root."""
    if settings.super_user in (None, Super.FAKE):
        return None
    return settings.super_user is Super.REAL


def _require_possible(settings: Settings) -> None:
    for option, given in (
        ("--keep-dirlinks", settings.keep_dirlinks),
        ("--copy-links", settings.copy_links),
        ("--copy-dirlinks", settings.copy_dirlinks),
        ("--copy-unsafe-links", settings.copy_unsafe_links),
    ):
        if given:
            raise UsageError(
                f"--fake-super notes what entries are, and does not go together with"
                f" {option}: leave one of them out."
            )
