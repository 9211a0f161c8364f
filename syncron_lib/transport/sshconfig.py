"""``ssh_config`` as OpenSSH reads it: what is set for one host.

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
from dataclasses import dataclass, field
from pathlib import Path

from syncron_lib.core.names import shown
from syncron_lib.errors import SshFailed

SYSTEM_CONFIG = "/etc/ssh/ssh_config"

_MAX_INCLUDE_DEPTH = 16
"""OpenSSH's own limit."""

_REPEATABLE = frozenset(("identityfile", "certificatefile"))
"""Keywords of which every value counts, and not the first only."""

_LINE = re.compile(r"(\w+)(?:\s*=\s*|\s+)(.*\S)\s*")

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|((?:[^\s"\\#]|\\.)+)|(#.*)')


@dataclass(frozen=True)
class ConfigFiles:
    """Which files to read, and who reads them. The first value found for a keyword wins."""

    user: str | None
    """``~/.ssh/config`` or what stands for it; None: there is none."""
    system: str | None = SYSTEM_CONFIG
    home: str | None = None
    """The home directory ``~`` stands for; None where the account has none."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HostConfig:
    """What the configuration says about one host, values expanded."""

    hostname: str
    port: int | None
    user: str | None
    identity_files: tuple[str, ...]
    certificate_files: tuple[str, ...]
    identities_only: bool
    identity_agent: str | None
    """The agent's socket; None: no agent."""
    proxy_command: str | None
    proxy_jump: tuple[str, ...]
    user_known_hosts: tuple[str, ...]
    global_known_hosts: tuple[str, ...]
    strict_host_key_checking: str
    """``yes``, ``ask`` or ``accept-new``."""
    host_key_alias: str | None
    hash_known_hosts: bool
    connect_timeout: float | None
    address_family: str
    """``any``, ``inet`` or ``inet6``."""
    bind_address: str | None


def local_user() -> str:
    """The name of this account, also where the system has no entry for its uid."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return str(os.getuid())


def look_up(
    host: str, files: ConfigFiles, *, user: str | None = None, port: int | None = None
) -> HostConfig:
    """What ``files`` say about ``host``; a ``user`` or ``port`` given here wins.

    Raises `SshFailed` for a file that cannot be read as ``ssh_config``.
    """
    reader = _Reader(host, files, user)
    reader.read_all()
    if reader.saw_final:
        reader.final = True
        reader.read_all()
    return _expanded(reader.values, host, files, user, port)


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
                self._read(path, base, active=True, depth=0, must_exist=False)

    def _read(self, path: str, base: str, *, active: bool, depth: int, must_exist: bool) -> None:
        if depth > _MAX_INCLUDE_DEPTH:
            raise SshFailed(f"{_text(path)}: Include nests deeper than {_MAX_INCLUDE_DEPTH} files.")
        try:
            text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            if depth:
                return  # As OpenSSH does: an included file that cannot be read is not there.
            raise SshFailed(
                f"The SSH configuration {_text(path)} cannot be read: {error.strerror}."
            ) from error
        enclosing = active
        for number, line in enumerate(text.splitlines(), 1):
            stripped = line.strip()
            if not stripped or stripped.startswith("#"):
                continue
            match = _LINE.match(stripped)
            if match is None:
                raise SshFailed(f"{_text(path)}, line {number}: {_text(stripped)} has no value.")
            keyword, rest = match.group(1).lower(), match.group(2)
            if keyword == "host":
                active = enclosing and self._host_matches(_words(rest))
            elif keyword == "match":
                active = self._match(_words(rest), enclosing, f"{_text(path)}, line {number}")
            elif keyword == "include":
                for included in self._included(_words(rest), base):
                    self._read(included, base, active=active, depth=depth + 1, must_exist=False)
            elif active:
                self._set(keyword, rest)

    def _set(self, keyword: str, rest: str) -> None:
        # A command is the rest of the line, with its quotes.
        value = rest if keyword == "proxycommand" else " ".join(_words(rest))
        if keyword in ("userknownhostsfile", "globalknownhostsfile"):
            if keyword not in self.values:
                self.values[keyword] = _words(rest)
        elif keyword in _REPEATABLE:
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
            path = _tilde(pattern, self.files.home)
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
                        raise SshFailed(f"{where}: Match {_text(criterion)} has no argument.")
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
        raise SshFailed(f"{where}: Match knows no criterion called {_text(criterion)}.")

    def _run(self, command: str) -> bool:
        port = self.values.get("port", ["22"])[0]
        tokens = _tokens(
            self.host,
            self._current_host(),
            port,
            self.values.get("user", [local_user()])[0],
            self.files.home,
        )
        finished = subprocess.run(
            ["/bin/sh", "-c", _percent(command, tokens)],
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


def _tokens(
    host: str, hostname: str, port: str, user: str, home: str | None
) -> dict[str, Callable[[], str]]:
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


def _percent(text: str, tokens: dict[str, Callable[[], str]]) -> str:
    return re.sub(
        "%(.)", lambda m: tokens[m.group(1)]() if m.group(1) in tokens else m.group(0), text
    )


def _tilde(path: str, home: str | None) -> str | None:
    if not path.startswith("~"):
        return path
    if path == "~" or path.startswith("~/"):
        return home + path[1:] if home is not None else None
    expanded = os.path.expanduser(path)
    return expanded if not expanded.startswith("~") else None


def _expanded(
    values: dict[str, list[str]], host: str, files: ConfigFiles, user: str | None, port: int | None
) -> HostConfig:
    def one(keyword: str) -> str | None:
        found = values.get(keyword)
        return found[0] if found else None

    hostname = _percent(one("hostname") or host, {"h": lambda: host, "%": lambda: "%"})
    configured_port = _number(one("port"), "Port", 1, 65535)
    the_port = port if port is not None else configured_port
    the_user = user if user is not None else one("user")
    tokens = _tokens(host, hostname, str(the_port or 22), the_user or local_user(), files.home)

    def path(text: str) -> str | None:
        with_environment = re.sub(
            r"\$\{(\w+)\}", lambda m: files.environment.get(m.group(1), ""), text
        )
        expanded = _tilde(with_environment, files.home)
        return _percent(expanded, tokens) if expanded is not None else None

    def paths(texts: list[str]) -> tuple[str, ...]:
        if [text.lower() for text in texts] == ["none"]:
            return ()
        return tuple(p for p in map(path, texts) if p is not None)

    agent = one("identityagent") or "SSH_AUTH_SOCK"
    agent_path: str | None
    if agent.lower() == "none":
        agent_path = None
    elif agent == "SSH_AUTH_SOCK":
        agent_path = files.environment.get("SSH_AUTH_SOCK")
    elif agent.startswith("$") and not agent.startswith("${"):
        agent_path = files.environment.get(agent[1:])
    else:
        agent_path = path(agent)
    command, jump = one("proxycommand"), one("proxyjump")
    strict = (one("stricthostkeychecking") or "ask").lower()
    return HostConfig(
        hostname=hostname,
        port=the_port,
        user=the_user,
        identity_files=paths(values.get("identityfile", [])),
        certificate_files=paths(values.get("certificatefile", [])),
        identities_only=_flag(one("identitiesonly")),
        identity_agent=agent_path or None,
        proxy_command=(
            _percent(command, tokens) if command and command.lower() != "none" else None
        ),
        proxy_jump=(
            tuple(hop.strip() for hop in _percent(jump, tokens).split(","))
            if jump and jump.lower() != "none"
            else ()
        ),
        user_known_hosts=paths(
            values.get("userknownhostsfile", ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"])
        ),
        global_known_hosts=paths(
            values.get(
                "globalknownhostsfile", ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]
            )
        ),
        # `no` would accept changed keys; syncron never does, and treats it as accept-new.
        strict_host_key_checking={"no": "accept-new", "off": "accept-new", "true": "yes"}.get(
            strict, strict
        ),
        host_key_alias=one("hostkeyalias"),
        hash_known_hosts=_flag(one("hashknownhosts")),
        connect_timeout=_seconds(one("connecttimeout")),
        address_family=(one("addressfamily") or "any").lower(),
        bind_address=one("bindaddress"),
    )


def _flag(text: str | None) -> bool:
    return text is not None and text.lower() in ("yes", "true")


def _number(text: str | None, keyword: str, low: int, high: int) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or not low <= int(text) <= high:
        raise SshFailed(f"The SSH configuration sets {keyword} to {_text(text)}, which is none.")
    return int(text)


def _seconds(text: str | None) -> float | None:
    if text is None or text.lower() == "none":
        return None
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    parts = re.findall(r"(\d+)([smhdw]?)", text.lower())
    if "".join(number + unit for number, unit in parts) != text.lower():
        raise SshFailed(f"The SSH configuration sets ConnectTimeout to {_text(text)}.")
    return float(sum(int(number) * units[unit] for number, unit in parts)) or None


def _text(text: str) -> str:
    return shown(text.encode("utf-8", "surrogateescape"))
