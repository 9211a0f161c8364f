"""Values of options, from the text as written; ValueError says what is expected."""

from __future__ import annotations

import re

from syncron_lib.cli.foreign import OptionRefused
from syncron_lib.core.options import Conflicts, DeleteCap, MergeRule


def seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        raise ValueError("expected a number of seconds such as 30 or 0.5")
    return float(text)


def port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError("expected a port number from 1 to 65535")
    return int(text)


def delete_cap(text: str) -> DeleteCap:
    if re.fullmatch(r"[0-9]{1,18}", text):
        return DeleteCap(entries=int(text))
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?%", text) and float(text[:-1]) <= 100:
        return DeleteCap(percent=float(text[:-1]))
    raise ValueError("expected a number of deletes such as 100, or a share such as 10%")


def conflicts(text: str) -> Conflicts:
    try:
        return Conflicts(text)
    except ValueError:
        words = ", ".join(each.value for each in Conflicts)
        raise ValueError(f"expected one of {words}") from None


def merge_rule(text: str) -> MergeRule:
    import os
    import shlex

    from syncron_lib.core.rules.wildmatch import Dialect, parse

    pattern, _, command = text.partition("=")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise ValueError(f"its command cannot be taken apart: {error}") from None
    if not pattern or not all(any(f"{{{place}}}" in word for word in words) for place in "ab"):
        raise ValueError(
            "expected PATTERN=COMMAND, and {a} and {b} in the command, as in"
            " '*.txt=git merge-file -p {a} {base} {b}'"
        )
    if parse(os.fsencode(pattern), Dialect.RSYNC) is None:
        raise ValueError(
            "its pattern can match nothing; close its brackets, and end it with no backslash"
        )
    return MergeRule(os.fsencode(pattern), words)


def compression(text: str) -> str:
    if text not in ("auto", "zstd", "zlib", "none"):
        raise ValueError("expected auto, zstd, zlib or none")
    return text


_CHECKSUMS = {"auto": "", "xxh128": "xxh3-128", "sha256": "sha256-128"}
"""Names of the digests that there are, as rsync would call them, and what they are called here."""
_CHECKSUMS_OF_RSYNC = frozenset(("xxh3", "xxh64", "xxhash", "md5", "md4", "sha1", "none"))


def checksum(text: str) -> str:
    """The name of a digest; empty for whichever is best. rsync takes two names, the first of what
    goes over and the second of files: here that is one thing."""
    words = text.split(",")
    for word in words:
        if word in _CHECKSUMS_OF_RSYNC:
            raise OptionRefused(
                f"syncron does not have rsync's --checksum-choice={word}: files are compared by"
                " xxh128 or sha256."
            )
    if len(words) > 2 or not _CHECKSUMS.keys() >= set(words):
        raise ValueError(f"expected one of {', '.join(_CHECKSUMS)}")
    named = {_CHECKSUMS[word] for word in words} - {""}
    if len(named) > 1:
        raise ValueError("what goes over is compared as files are: give one name")
    return "".join(named)


_BUFFERING = {"n": "none", "u": "none", "l": "line", "b": "block", "f": "block"}


def buffering(text: str) -> str:
    """rsync looks at the first letter only."""
    found = _BUFFERING.get(text[:1].lower())
    if found is None:
        raise ValueError("expected None, Line or Block, or their first letters")
    return found


def compression_level(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text) or not 1 <= int(text) <= 22:
        raise ValueError(
            "expected a level from 1 to 22, for zlib to 9 (--no-compress is not to compress)"
        )
    return int(text)


_RATE = re.compile(
    r"(?P<number>[0-9]{1,12}(\.[0-9]{0,9})?)(?P<unit>[kmgtp]?)(?P<form>b|ib)?", re.IGNORECASE
)
_LEAST_RATE = 512


def rate(text: str) -> int:
    """rsync's units: KiB where none is said, KB and so on are thousands, B is bytes."""
    found = _RATE.fullmatch(text)
    form = ((found and found["form"]) or "").lower()
    if found is None or (form == "ib" and not found["unit"]):
        raise ValueError("expected a rate such as 500 (KiB a second), 1.5m or 2MB; 0 is no limit")
    power = "kmgtp".index(found["unit"].lower()) + 1 if found["unit"] else int(not form)
    rate = int(float(found["number"]) * (1000 if form == "b" else 1024) ** power)
    if rate < _LEAST_RATE and float(found["number"]):
        raise ValueError(f"expected at least {_LEAST_RATE} bytes a second, or 0 for no limit")
    return rate


_SIZE = re.compile(
    r"(?P<number>[0-9]{1,15}(\.[0-9]{0,9})?)(?P<unit>[kmgtp]?)(?P<form>b|ib)?(?P<more>[+-]1)?",
    re.IGNORECASE,
)


def size(text: str) -> int:
    """rsync's units: bytes where none is said, KiB for K, KB and so on are thousands."""
    found = _SIZE.fullmatch(text)
    form = ((found and found["form"]) or "").lower()
    if found is None or (form == "ib" and not found["unit"]):
        raise ValueError("expected a size such as 100000, 1.5m, 2GB or 1g-1")
    power = "kmgtp".index(found["unit"].lower()) + 1 if found["unit"] else 0
    size = int(float(found["number"]) * (1000 if form == "b" else 1024) ** power)
    return max(0, size + int(found["more"] or 0))


def window(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise ValueError("expected a whole number of seconds; below 0 nanoseconds count too")
    return int(text)


def not_empty(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("expected a text that is not empty")
    return text


def suffix(text: str) -> str:
    if "/" in text or "\0" in text:
        raise ValueError("expected the end of a name, without a slash")
    return text


def output_format(text: str) -> str:
    from syncron_lib.cli.format import require_known  # most runs have no format

    return require_known(text)


def chmod(text: str) -> str:
    """What ``--chmod`` says, if it says anything."""
    from syncron_lib.core.chmod import parse

    parse(text)
    return text


REMOTE_OPTIONS = ("--munge-links", "--fake-super", "--super", "--no-super")


def remote_option(text: str) -> str:
    """An option for the other side only."""
    if text not in REMOTE_OPTIONS:
        raise ValueError(f"only {', '.join(REMOTE_OPTIONS)} can be for the other side alone")
    return text
