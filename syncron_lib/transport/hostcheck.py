"""Deciding about the key a host shows; nothing is ever accepted silently."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from syncron_lib.core.location import shown_text
from syncron_lib.errors import SshFailed
from syncron_lib.transport.hostconfig import HostConfig
from syncron_lib.transport.hostkeys import (
    HostKey,
    KnownKey,
    Verdict,
    append_key,
    find_keys,
    judge,
)
from syncron_lib.transport.settings import ConnectOptions


def preferred_key_types(known: list[KnownKey], supported: Sequence[str]) -> tuple[str, ...]:
    """``supported`` algorithms, those of the known keys first: a host is asked for a key that
    can be checked before one that cannot."""
    kinds = [line.key.kind for line in known if not line.marker]
    first = [name for name in supported if _kind_of(name) in kinds]
    return (*first, *(name for name in supported if name not in first))


def _kind_of(algorithm: str) -> str:
    return "ssh-rsa" if algorithm.startswith("rsa-sha2-") else algorithm


def check_host_key(
    key: HostKey, name: str, known: list[KnownKey], config: HostConfig, options: ConnectOptions
) -> None:
    """Return if ``key`` is the host's, or may be recorded as such; raise `SshFailed` if not."""
    verdict, line = judge(key, known)
    if verdict is Verdict.KNOWN:
        return
    shown_key = f"{key.algorithm()} {key.fingerprint()}"
    host = shown_text(name)
    if verdict is Verdict.REVOKED and line is not None:
        raise SshFailed(
            f"The host key of {host} ({shown_key}) is marked @revoked in {shown_text(line.file)} "
            f"line {line.line}: somebody who should not may hold it. Nothing was sent."
        )
    if verdict is Verdict.CHANGED and line is not None:
        raise SshFailed(
            f"THE HOST KEY OF {host} HAS CHANGED: it shows {shown_key}, but "
            f"{shown_text(line.file)} line {line.line} has {line.key.algorithm()} "
            f"{line.key.fingerprint()}. Somebody may be listening in, or the host was installed "
            "anew; once you know which, run: "
            f"ssh-keygen -f {shlex.quote(shown_text(line.file))} -R {shlex.quote(host)}"
        )
    if _known_without_port(key, config):
        return
    _unknown(key, shown_key, name, config, options)


def _known_without_port(key: HostKey, config: HostConfig) -> bool:
    """A key that the same host shows on the standard port is believed on another, as OpenSSH
    does."""
    if config.host_key_alias is not None:
        return False
    files = (*config.user_known_hosts, *config.global_known_hosts)
    return judge(key, find_keys(config.hostname.lower(), files))[0] is Verdict.KNOWN


def _unknown(
    key: HostKey, shown_key: str, name: str, config: HostConfig, options: ConnectOptions
) -> None:
    host = shown_text(name)
    mode = config.strict_host_key_checking
    if mode == "ask" and options.ask is not None:
        answer = options.ask(
            f"The host key of {host} is not known: {shown_key}. Is it the right one (yes/no)? ",
            False,
        )
        if (answer or "").strip().lower() not in ("yes", key.fingerprint().lower()):
            raise SshFailed(f"The host key of {host} ({shown_key}) was not accepted.")
    elif mode != "accept-new":
        where = shown_text(config.user_known_hosts[0]) if config.user_known_hosts else "known_hosts"
        raise SshFailed(
            f"The host key of {host} is not known: {shown_key}. Compare it with what the host's "
            f"administrator says, then connect once with ssh, which records it in {where}; or "
            "set StrictHostKeyChecking accept-new for this host in ~/.ssh/config."
        )
    _record(key, shown_key, name, config, options)


def _record(
    key: HostKey, shown_key: str, name: str, config: HostConfig, options: ConnectOptions
) -> None:
    if not config.user_known_hosts or config.user_known_hosts[0] == "/dev/null":
        options.notice(
            f"The host key of {shown_text(name)} ({shown_key}) is accepted, not recorded."
        )
        return
    file = config.user_known_hosts[0]
    try:
        append_key(file, name, key, hashed=config.hash_known_hosts)
    except OSError as error:
        options.notice(
            f"The host key of {shown_text(name)} ({shown_key}) is accepted, but could not be "
            f"recorded in {shown_text(file)}: {error.strerror}."
        )
        return
    options.notice(
        f"The host key of {shown_text(name)} ({shown_key}) is now recorded in {shown_text(file)}."
    )
