"""What a run is over, where that is a part of the trees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from syncron_lib.core.options import Missing, RuleOptions

if TYPE_CHECKING:
    from syncron_lib.core.rules.chosen import Listed


def listed_by(rules: RuleOptions, missing: Sequence[bytes]) -> Listed | None:
    """What is listed, and ``missing`` of it where that goes; None: everything. Of a list that is
    read at the source, only that there is one."""
    if rules.chosen is None:
        return None
    from syncron_lib.core.rules.chosen import Listed

    gone = missing if rules.missing is Missing.DELETE else ()
    paths = rules.chosen.paths.split(b"\0") if rules.chosen.paths else ()
    return Listed(paths, rules.chosen.whole, gone, rules.implied_dirs)
