"""What ``ssh_config`` means for one host: values in their types, tokens expanded."""

from __future__ import annotations

import re

from syncron_lib.core.location import shown_text
from syncron_lib.errors import SshFailed
from syncron_lib.record import NamedTuple
from syncron_lib.transport.sshconfig import (
    ConfigFiles,
    local_user,
    percent_expand,
    read_values,
    tilde_expand,
    tokens_for,
)


class HostConfig(NamedTuple):
    """What the configuration says about one host, values expanded."""

    hostname: str
    port: int | None
    user: str | None
    identity_files: tuple[str, ...]
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
    batch_mode: bool
    """Ask nobody anything."""
    connect_timeout: float | None
    address_family: str
    """``any``, ``inet`` or ``inet6``."""
    bind_address: str | None


def look_up(
    host: str, files: ConfigFiles, *, user: str | None = None, port: int | None = None
) -> HostConfig:
    """What ``files`` say about ``host``; a ``user`` or ``port`` given here wins.

    Raises `SshFailed` for a file that cannot be read as ``ssh_config``.
    """
    return _expanded(read_values(host, files, user), host, files, user, port)


def _expanded(
    values: dict[str, list[str]], host: str, files: ConfigFiles, user: str | None, port: int | None
) -> HostConfig:
    def one(keyword: str) -> str | None:
        found = values.get(keyword)
        return found[0] if found else None

    hostname = percent_expand(one("hostname") or host, {"h": lambda: host, "%": lambda: "%"})
    configured_port = _number(one("port"), "Port", 1, 65535)
    the_port = port if port is not None else configured_port
    the_user = user if user is not None else one("user")
    tokens = tokens_for(host, hostname, str(the_port or 22), the_user or local_user(), files.home)

    def path(text: str) -> str | None:
        with_environment = re.sub(
            r"\$\{(\w+)\}", lambda m: files.environment.get(m.group(1), ""), text
        )
        expanded = tilde_expand(with_environment, files.home)
        return percent_expand(expanded, tokens) if expanded is not None else None

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
        identities_only=_flag(one("identitiesonly")),
        identity_agent=agent_path or None,
        proxy_command=(
            percent_expand(command, tokens) if command and command.lower() != "none" else None
        ),
        proxy_jump=(
            tuple(hop.strip() for hop in percent_expand(jump, tokens).split(","))
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
        batch_mode=_flag(one("batchmode")),
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
        raise SshFailed(
            f"The SSH configuration sets {keyword} to {shown_text(text)}, which is none."
        )
    return int(text)


def _seconds(text: str | None) -> float | None:
    if text is None or text.lower() == "none":
        return None
    units = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    parts = re.findall(r"(\d+)([smhdw]?)", text.lower())
    if "".join(number + unit for number, unit in parts) != text.lower():
        raise SshFailed(f"The SSH configuration sets ConnectTimeout to {shown_text(text)}.")
    return float(sum(int(number) * units[unit] for number, unit in parts)) or None
