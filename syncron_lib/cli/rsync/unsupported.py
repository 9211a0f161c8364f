"""What rsync can do, and syncron cannot."""

from __future__ import annotations

from syncron_lib.errors import UsageError


class Unsupported(UsageError):
    """rsync could, and syncron cannot."""

    @property
    def status(self) -> int:
        """rsync's for that."""
        return 4
