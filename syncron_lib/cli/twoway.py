"""What goes together with ``--two-way``: options of runs in one direction are refused by name."""

from __future__ import annotations

from syncron_lib.cli.settings import Ownership, Settings
from syncron_lib.errors import UsageError

_GOES = frozenset(
    (
        *(
            "two_way",
            "conflicts",
            "merge",
            "dry_run",
            "max_delete",
            "allow_empty_source",
            "allow_unmounted",
        ),
        *("archive", "links", "perms", "times", "devices", "specials", "owner", "group"),
        *("patterns", "gitignore", "one_file_system", "checksum", "whole_file", "fsync", "sparse"),
        "preallocate",
        *("compress", "compress_level", "bwlimit", "timeout", "lock_wait", "port", "identity"),
        *("rsh", "remote_python", "remote_syncron", "before", "after", "on_error", "retries"),
        *("retry_wait", "max_duration", "nice", "ionice", "syslog", "textfile", "ping"),
        *("ciphertext", "key", "passphrase_command", "secure", "accept_rollback", "sealed"),
        *("verbose", "quiet", "itemize_changes", "info", "human_readable", "out_format"),
        *("log_file", "log_file_format", "outbuf", "stats", "progress", "json"),
    )
)
"""Fields of `Settings` that say the same for both directions. What is not here is refused."""
_OWN = "owners are each replica's own"
_WHY = {
    "checksum_choice": "replicas are compared by SHA-256 in any case",
    "delete": "what was deleted on one side is deleted on the other anyway",
    "delete_excluded": "what is left out is never deleted",
    "force": "what makes way for what is decided by what each side knows",
    "ignore_errors": "what cannot be read is left alone on both sides",
    "verify": "it compares two trees; leave out --two-way",
    "mkpath": "a replica must be there: one that is not mounted would be taken for a new one",
    "usermap": _OWN,
    "groupmap": _OWN,
    "chown": _OWN,
    "numeric_ids": _OWN,
    "hard_links": "which names are names of one file is each replica's own",
    "xattrs": "extended attributes are each replica's own",
    "secure_names": "replicas know files by names that all of them have; push and pull instead",
    "declassify": "what is in clear on one replica is in clear on all; push and pull instead",
    "acls": "access control lists are each replica's own",
    "omit_dir_times": "times of directories are each replica's own anyway",
    "omit_link_times": "times of symlinks are each replica's own anyway",
}
_CALLED = {"super_user": "--super, --no-super or --fake-super"}
_DIRECTED = "it is about a run in one direction"
_KEPT = ("links", "perms", "times", "devices", "specials")


def require_alone(settings: Settings) -> None:
    """Raise UsageError for what does not go together with a run in both directions."""
    for name, value in settings._asdict().items():
        if name not in _GOES and value not in (None, False, (), Settings._field_defaults[name]):
            raise _refusal(
                _CALLED.get(name) or f"--{name.replace('_', '-')}", _WHY.get(name, _DIRECTED)
            )
    for name in _KEPT:
        if getattr(settings, name) is False:
            raise _refusal(f"--no-{name}", "that is always kept the same")
    if (settings.itemize_changes or 0) > 1 or settings.info.get("name", 0) > 1:
        raise _refusal("-ii or --info=name2", "what does not change is not told of two directions")
    for name in ("owner", "group"):
        if getattr(settings, name) is Ownership.ALWAYS:
            raise _refusal(f"--{name}", _OWN)
    for pattern in settings.patterns:
        modifiers = pattern.partition(b" ")[0][1:]
        if modifiers.strip(b"/!pCnwe+-"):
            rule = pattern.decode("utf-8", "replace")
            raise _refusal(f"the rule {rule!r}", "a rule of one side only is about one direction")


def _refusal(what: str, why: str) -> UsageError:
    return UsageError(f"--two-way and {what} do not go together: {why}.")
