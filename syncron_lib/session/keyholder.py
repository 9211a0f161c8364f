"""Who has the key in a run; known before connecting begins, so little is imported here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from syncron_lib.core.role import Role
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from syncron_lib.fs.view import View
    from syncron_lib.secure.keys import Keyring


class KeyHolder(NamedTuple):
    """The side of a run that has the key, and what makes the view of its tree, in the process that
    serves it. ``role``: that side's; None: any that is here, which then has none and only sees that
    nothing that is to be sealed goes in clear. ``keyring``: raises `KeyUnusable`. ``carried``:
    sides here whose sealed files are there as they are, which have the view ``as_it_is``."""

    role: Role | None
    view: Callable[[], View]
    keyring: Callable[[], Keyring] | None = None
    carried: frozenset[int] = frozenset()
    as_it_is: Callable[[], View] | None = None

    def view_at(self, side: int) -> Callable[[], View] | None:
        """What makes the view of a side that is here; None where that has none."""
        if side in self.carried:
            return self.as_it_is
        return self.view if self.role in (None, side) else None
