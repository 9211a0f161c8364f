"""Where a root is: the ``SRC`` and ``DST`` arguments, parsed once."""

from __future__ import annotations

import re
from typing import Optional, Union

from syncron_lib.core.names import shown as shown_name
from syncron_lib.errors import UsageError
from syncron_lib.record import NamedTuple

_SCHEME = "ssh://"

_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")


class Local(NamedTuple):
    """A path on this machine, as given."""

    path: bytes

    def shown(self) -> str:
        """For a person: one line, control characters escaped."""
        return shown_name(self.path)


class Remote(NamedTuple):
    """A path on another machine, reached over SSH.

    A relative ``path`` is below the home directory of the remote account; ``b""`` is that
    directory itself. ``host`` is a name, an alias of ``~/.ssh/config``, or an address without
    brackets.
    """

    host: str
    user: Optional[str]
    port: Optional[int]
    path: bytes

    def account(self) -> str:
        """``user@host`` for a person, without the port and the path."""
        host = shown_text(f"[{self.host}]" if ":" in self.host else self.host)
        return f"{shown_text(self.user)}@{host}" if self.user is not None else host

    def shown(self) -> str:
        """For a person: one line, in a form that can be given as an argument again."""
        if self.port is None:
            return f"{self.account()}:{shown_name(self.path)}"
        path = shown_name(self.path)
        return f"{_SCHEME}{self.account()}:{self.port}{path if path[:1] == '/' else '/~/' + path}"


Location = Union[Local, Remote]


def parse_location(argument: str) -> Location:
    """The location that a command-line argument names.

    rsync's rule: a colon before the first slash makes it remote. ``argument`` is as in
    ``sys.argv``: bytes that are no text are surrogates.

    Raises `UsageError` for what is neither a path nor a place that SSH can reach.
    """
    if not argument:
        raise UsageError("An empty SRC or DST names nothing; write . for the current directory.")
    if "\0" in argument:
        raise UsageError("SRC and DST cannot contain a NUL byte.")
    if argument[: len(_SCHEME)].lower() == _SCHEME:
        return _parse_url(argument)
    if argument[:8].lower() == "rsync://":
        raise UsageError(
            f"{shown_text(argument)}: the rsync:// daemon protocol is not spoken here; "
            "give host:path to go over SSH."
        )
    head, colon, path = _split_at_colon(argument)
    if not colon:
        return Local(_bytes(argument))
    if path.startswith(":"):
        raise UsageError(
            f"{shown_text(argument)}: host::module names an rsync daemon, which is not spoken "
            "here; give host:path to go over SSH, and an IPv6 address in brackets."
        )
    user, host = _user_and_host(head, argument)
    return Remote(
        _checked_host(_without_brackets(host, argument), argument),
        user,
        None,
        _below_home(_bytes(path)),
    )


def _split_at_colon(argument: str) -> tuple[str, str, str]:
    """Split at the colon that makes an argument remote, if there is one before any slash."""
    start = 0
    bracket = argument.find("[")
    if bracket >= 0 and (bracket == 0 or argument[bracket - 1] == "@"):
        end = argument.find("]:", bracket)
        if end >= 0 and "/" not in argument[:end]:
            start = end
    colon = argument.find(":", start)
    slash = argument.find("/")
    if colon < 0 or 0 <= slash < colon:
        return argument, "", ""
    return argument[:colon], ":", argument[colon + 1 :]


def _parse_url(argument: str) -> Remote:
    authority, slash, path = argument[len(_SCHEME) :].partition("/")
    user, host_and_port = _user_and_host(authority, argument)
    host, port_text = host_and_port, ""
    if host_and_port.startswith("["):
        inner, bracket, rest = host_and_port[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise UsageError(f"{shown_text(argument)}: the brackets of the address do not match.")
        host, port_text = inner, rest[1:]
    elif ":" in host_and_port:
        host, _, port_text = host_and_port.partition(":")
    raw = _ESCAPED.sub(lambda match: bytes((int(match.group(1), 16),)), _bytes(slash + path))
    if b"\0" in raw:
        raise UsageError("SRC and DST cannot contain a NUL byte.")
    if raw.startswith(b"/~/") or raw == b"/~":
        raw = raw[3:]
    elif raw == b"/" and not path:
        raw = b"" if not slash else b"/"
    return Remote(_checked_host(host, argument), user, _port(port_text, argument), raw)


def _port(text: str, argument: str) -> Optional[int]:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) < 65536:
        raise UsageError(f"{shown_text(argument)}: {shown_text(text)} is not a port number.")
    return int(text)


def _user_and_host(head: str, argument: str) -> tuple[Optional[str], str]:
    user, at, host = head.rpartition("@")
    if not at:
        return None, head
    if not user:
        raise UsageError(f"{shown_text(argument)}: the user before the @ is missing.")
    if user.startswith("-"):
        raise UsageError(
            f"{shown_text(argument)}: a user name cannot begin with a dash; for a local file "
            "of that name, write ./ before it."
        )
    return user, host


def _without_brackets(host: str, argument: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1]
    if "[" in host or "]" in host:
        raise UsageError(f"{shown_text(argument)}: the brackets of the address do not match.")
    return host


def _checked_host(host: str, argument: str) -> str:
    if not host:
        raise UsageError(f"{shown_text(argument)}: the host before the colon is missing.")
    if host.startswith("-"):
        raise UsageError(
            f"{shown_text(argument)}: a host name cannot begin with a dash; for a local file "
            "of that name, write ./ before it."
        )
    if any(char.isspace() or not char.isprintable() for char in host):
        raise UsageError(f"{shown_text(argument)}: that is not a host name.")
    return host


def _below_home(path: bytes) -> bytes:
    """``~`` and ``~/x`` mean the home directory, which is where relative paths begin anyway."""
    if path == b"~":
        return b""
    return path[2:].lstrip(b"/") if path.startswith(b"~/") else path


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def shown_text(text: str) -> str:
    """Text of the command line or the system for a person: one line, escaped as names are."""
    return shown_name(_bytes(text))
