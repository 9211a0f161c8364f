"""rsync's options that syncron does not have: known by name, so that they can be refused by name.

Hands and crontabs know rsync; an option of it that is passed over in silence would be a promise
not kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncron_lib.errors import UsageError


class OptionRefused(UsageError):
    """An option that rsync has and syncron has not."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """One of rsync's options. ``advice`` says what to do instead."""

    long: str = ""
    short: str = ""
    advice: str = ""

    def refusal(self, written: str) -> str:
        """The sentence for someone who wrote ``written``."""
        names = (f"-{self.short}" if self.short else "", self.long)
        other = [name for name in names if name and name != written]
        called = f"{written} ({other[0]})" if other else written
        end = f": {self.advice}." if self.advice else "."
        return f"syncron does not have rsync's {called}{end}"


_KEEPS_PARTS = "what an interrupted run has brought over is always kept; leave it out"

FOREIGN: tuple[Foreign, ...] = (
    Foreign("--partial-dir", "", _KEEPS_PARTS),
    Foreign("--no-inc-recursive", "", "leave it out"),
    Foreign("--no-i-r", "", "leave it out"),
    Foreign("--i-r", "", "leave it out"),
    Foreign("--list-only", "", "use -n -i"),
    Foreign("--inc-recursive", "", "leave it out"),
    Foreign("--contimeout", "", "use --timeout"),
    Foreign("--block-size", "B"),
    Foreign("--keep-dirlinks", "K"),
    Foreign("--atimes", "U"),
    Foreign("--crtimes", "N", "Linux lets nobody set when a file was made; leave it out"),
    Foreign("--copy-devices", "", "a device has no size to compare by; use dd"),
    Foreign("--write-devices", "", "a device is no part of a tree, and cannot be replaced; use dd"),
    Foreign("--temp-dir", "T"),
    Foreign("--fuzzy", "y"),
    Foreign("--8-bit-output", "8"),
    Foreign("--old-d", "", "use --dirs"),
    Foreign("--ipv4", "4"),
    Foreign("--ipv6", "6"),
    *(
        Foreign(f"--{name}")
        for name in (
            "debug stderr no-motd append append-verify"
            " insecure-links confine-root"
            " drop-D fake-super preallocate"
            " checksum-choice"
            " max-alloc compare-dest"
            " compress-threads skip-compress"
            " old-args trust-sender copy-as address sockopts blocking-io outbuf"
            " password-file early-input stop-after stop-at"
            " write-batch only-write-batch read-batch protocol iconv checksum-seed daemon"
        ).split()
    ),
)
