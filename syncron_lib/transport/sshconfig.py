"""``ssh_config`` as OpenSSH reads it: which lines count for one host.

Read here and not by paramiko, because paramiko knows no ``Include``, looks up this machine's
name in the DNS for every ``IdentityFile``, and imports ``invoke`` for ``Match exec``.
"""

from __future__ import annotations

import getpass
import glob
import os
import pwd
import re
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from syncron_lib.core.location import shown_text
from syncron_lib.errors import SshFailed
from syncron_lib.record import NamedTuple

SYSTEM_CONFIG = "/etc/ssh/ssh_config"

_MAX_INCLUDE_DEPTH = 16
"""OpenSSH's own limit."""

_LINE = re.compile(r"(\w+)(?:\s*=\s*|\s+)(.*\S)\s*")

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|((?:[^\s"\\#]|\\.)+)|(#.*)')


class ConfigFiles(NamedTuple):
    """Which files to read, and who reads them. The first value found for a keyword wins."""

    user: str | None
    """``~/.ssh/config`` or what stands for it; None: there is none."""
    system: str | None = SYSTEM_CONFIG
    home: str | None = None
    """The home directory ``~`` stands for; None where the account has none."""
    environment: Mapping[str, str] = MappingProxyType({})


def local_user() -> str:
    """The name of this account, also where the system has no entry for its uid."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return str(os.getuid())


def read_values(host: str, files: ConfigFiles, user: str | None) -> dict[str, list[str]]:
    """The values that ``files`` set for ``host``, as written, by keyword in lower case.

    Raises `SshFailed` for a file that cannot be read as ``ssh_config``.
    """
    reader = _Reader(host, files, user)
    reader.read_all()
    if reader.saw_final:
        reader.final = True
        reader.read_all()
    return reader.values


class _Reader:
    """Reads the files once; which lines count is decided as they come, as OpenSSH does."""

    def __init__(self, host: str, files: ConfigFiles, user: str | None) -> None:
        self.host = host
        self.files = files
        self.values: dict[str, list[str]] = {}
        self.final = False
        self.saw_final = False
        if user is not None:
            self.values["user"] = [user]

    def read_all(self) -> None:
        for path, base in (
            (self.files.user, os.path.dirname(self.files.user or "")),
            (self.files.system, "/etc/ssh"),
        ):
            if path is not None:
                self._read(path, base, active=True, depth=0)

    def _read(self, path: str, base: str, *, active: bool, depth: int) -> None:
        if depth > _MAX_INCLUDE_DEPTH:
            raise SshFailed(
                f"{shown_text(path)}: Include nests deeper than {_MAX_INCLUDE_DEPTH} files."
            )
        try:
            text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            if depth:
                return  # As OpenSSH does: an included file that cannot be read is not there.
            raise SshFailed(
                f"The SSH configuration {shown_text(path)} cannot be read: {error.strerror}."
            ) from error
        enclosing = active
        for number, line in enumerate(text.splitlines(), 1):
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue
            match = _LINE.match(stripped)
            if match is None:
                raise SshFailed(
                    f"{shown_text(path)}, line {number}: {shown_text(stripped)} has no value."
                )
            keyword, rest = match.group(1).lower(), match.group(2)
            if keyword == "host":
                active = enclosing and self._host_matches(_words(rest))
            elif keyword == "match":
                active = self._match(_words(rest), enclosing, f"{shown_text(path)}, line {number}")
            elif keyword == "include":
                for included in self._included(_words(rest), base):
                    self._read(included, base, active=active, depth=depth + 1)
            elif active:
                self._set(keyword, rest)

    def _set(self, keyword: str, rest: str) -> None:
        # A command is the rest of the line, with its quotes.
        value = rest if keyword == "proxycommand" else " ".join(_words(rest))
        if keyword in ("userknownhostsfile", "globalknownhostsfile"):
            if keyword not in self.values:
                self.values[keyword] = _words(rest)
        elif keyword == "identityfile":
            # The one keyword of which every value counts, and not the first only.
            values = self.values.setdefault(keyword, [])
            if value not in values:
                values.append(value)
        elif keyword == "proxyjump" and "proxycommand" in self.values:
            return  # Whichever of the two comes first is meant.
        elif keyword == "proxycommand" and "proxyjump" in self.values:
            return
        else:
            self.values.setdefault(keyword, [value])

    def _included(self, patterns: list[str], base: str) -> Iterator[str]:
        for pattern in patterns:
            path = tilde_expand(pattern, self.files.home)
            if path is None:
                continue
            if not os.path.isabs(path):
                path = os.path.join(base, path)
            yield from sorted(glob.glob(path))

    def _host_matches(self, patterns: list[str]) -> bool:
        host = self._current_host() if self.final else self.host
        return matches_any(host, patterns, ignore_case=False)

    def _current_host(self) -> str:
        configured = self.values.get("hostname")
        return configured[0].replace("%h", self.host) if configured else self.host

    def _match(self, words: list[str], enclosing: bool, where: str) -> bool:
        result = enclosing
        queue = list(words)
        if not queue:
            raise SshFailed(f"{where}: Match has no criteria.")
        while queue:
            word = queue.pop(0)
            negated = word.startswith("!")
            criterion, equals, argument = word.lstrip("!").partition("=")
            criterion = criterion.lower()
            if criterion in ("all", "canonical", "final"):
                found = criterion == "all" or self.final
                if criterion == "final":
                    self.saw_final = True
            else:
                if not equals:
                    if not queue:
                        raise SshFailed(f"{where}: Match {shown_text(criterion)} has no argument.")
                    argument = queue.pop(0)
                found = self._criterion(criterion, argument, result, where)
            result = result and found != negated
        return result

    def _criterion(self, criterion: str, argument: str, so_far: bool, where: str) -> bool:
        patterns = argument.split(",")
        if criterion == "host":
            return matches_any(self._current_host(), patterns)
        if criterion == "originalhost":
            return matches_any(self.host, patterns)
        if criterion == "user":
            return matches_any(self.values.get("user", [local_user()])[0], patterns)
        if criterion == "localuser":
            return matches_any(local_user(), patterns)
        if criterion == "exec":
            # Only run when everything before it matched, as OpenSSH does.
            return so_far and self._run(argument)
        if criterion in ("tagged", "localnetwork", "version", "sessiontype", "command"):
            return False
        raise SshFailed(f"{where}: Match knows no criterion called {shown_text(criterion)}.")

    def _run(self, command: str) -> bool:
        port = self.values.get("port", ["22"])[0]
        tokens = tokens_for(
            self.host,
            self._current_host(),
            port,
            self.values.get("user", [local_user()])[0],
            self.files.home,
        )
        finished = subprocess.run(
            ["/bin/sh", "-c", percent_expand(command, tokens)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        return finished.returncode == 0


def matches_any(text: str, patterns: list[str], *, ignore_case: bool = True) -> bool:
    """Whether a pattern of ``*`` and ``?`` matches ``text`` and no ``!pattern`` does."""
    found = False
    for pattern in patterns:
        negated = pattern.startswith("!")
        if _wildcard(pattern[negated:], ignore_case).fullmatch(text):
            if negated:
                return False
            found = True
    return found


def _wildcard(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    return re.compile(
        "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern),
        re.DOTALL | (re.IGNORECASE if ignore_case else 0),
    )


def _words(rest: str) -> list[str]:
    words = []
    for quoted, plain, comment in _WORD.findall(rest):
        if comment:
            break
        words.append(re.sub(r"\\([\"'\\ ])", r"\1", quoted or plain))
    return words


def tokens_for(
    host: str, hostname: str, port: str, user: str, home: str | None
) -> dict[str, Callable[[], str]]:
    """What ``%h`` and the like stand for; computed when used, because some ask the system."""
    return {
        "%": lambda: "%",
        "d": lambda: home or "",
        "h": lambda: hostname,
        "i": lambda: str(os.getuid()),
        "k": lambda: host,
        "L": lambda: socket.gethostname().partition(".")[0],
        "l": socket.gethostname,
        "n": lambda: host,
        "p": lambda: port,
        "r": lambda: user,
        "u": local_user,
    }


def percent_expand(text: str, tokens: dict[str, Callable[[], str]]) -> str:
    """``text`` with its tokens replaced; those not in ``tokens`` are left as they are."""
    return re.sub(
        "%(.)", lambda m: tokens[m.group(1)]() if m.group(1) in tokens else m.group(0), text
    )


def tilde_expand(path: str, home: str | None) -> str | None:
    """``path`` with ``~`` replaced; None where there is no such home directory."""
    if not path.startswith("~"):
        return path
    if path == "~" or path.startswith("~/"):
        return home + path[1:] if home is not None else None
    expanded = os.path.expanduser(path)
    return expanded if not expanded.startswith("~") else None
