"""What a run is asked about sealed files where there are none; most runs import no more."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import TYPE_CHECKING

from syncron_lib.core.plan import Plan
from syncron_lib.core.report import Failure, Item
from syncron_lib.session.asking import Flight

if TYPE_CHECKING:
    from syncron_lib.session.transfer import Transfer


class Unsealed:
    """What a run is asked about sealed files; here for one that has none of its own."""

    renames = False
    """Names are others at one side."""

    warning = ""
    """What should be told before the run; empty for nothing."""

    def review(
        self, plan: Plan, on_failure: Callable[[Failure], None], touch: Callable[[bytes], None]
    ) -> None:
        """Leave out of ``plan`` what nobody with the key has said. ``touch``: is told directories
        that change beside."""

    def marked(self, item: Item) -> Item:
        """An itemized change, marked if it is of a sealed file."""
        return item

    def paths(self) -> Container[bytes]:
        """Files that are sealed."""
        return ()

    def has_news(self, plan: Plan) -> bool:
        """Whether the destination is to get another manifest, though there may be nothing else to
        do."""
        return False

    def begin(self, storing: Flight) -> None:
        """To be called when the destination may be written to."""

    def conclude(
        self,
        transfer: Transfer,
        failed: Iterable[bytes],
        plan: Plan,
        on_failure: Callable[[Failure], None],
    ) -> None:
        """To be called when all has been done. Awaits what failed."""

    def seen(self) -> None:
        """To be called at the end of a run that went well as far as this: see `KeepManifest`."""


NOTHING_SEALED = Unsealed()
