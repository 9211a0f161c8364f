"""What settings say about sealed files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from syncron_lib.core.options import SecureOptions

if TYPE_CHECKING:
    from syncron_lib.cli.settings import Settings


def secure_options(settings: Settings, rekey: bool = False) -> SecureOptions:
    """``rekey``: the run is to seal all with a new key."""
    return SecureOptions(
        tuple(map(os.fsencode, settings.secure)),
        bool(settings.declassify),
        bool(settings.accept_rollback),
        rekey,
        bool(settings.ciphertext),
        bool(settings.secure_names),
    )
