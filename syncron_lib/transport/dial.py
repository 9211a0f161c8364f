"""A connected socket to the machine that SSH is to be spoken with."""

from __future__ import annotations

import queue
import socket
import subprocess
import threading
from typing import Any

from syncron_lib.core.location import shown_text
from syncron_lib.errors import Unreachable

_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


def dial(
    host: str,
    port: int,
    *,
    timeout: float,
    silence: float,
    family: str = "any",
    bind_address: str | None = None,
) -> socket.socket:
    """Connect to the first address of ``host`` that answers, ``timeout`` seconds for each.

    ``silence``: seconds that what is sent may stay without acknowledgement; 0: for ever.

    Raises `Unreachable`, with the reason and what to look at.
    """
    last: tuple[OSError, str] | None = None
    for kind, socktype, protocol, _, address in _resolve(host, port, family, timeout):
        sock = socket.socket(kind, socktype, protocol)
        try:
            sock.settimeout(timeout)
            if bind_address is not None:
                sock.bind((bind_address, 0))
            sock.connect(address)
        except OSError as error:
            sock.close()
            last = error, str(address[0])
            continue
        _tune(sock, silence)
        return sock
    if last is None:
        raise Unreachable(f"{shown_text(host)} has no address.")
    raise Unreachable(_why_not(last[0], host, port, last[1], timeout)) from last[0]


def _resolve(host: str, port: int, family: str, timeout: float) -> list[Any]:
    """The addresses of ``host``. In a thread, because a resolver cannot be told to hurry."""
    answer: queue.SimpleQueue[list[Any] | OSError | UnicodeError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            # A name that needs no IDNA is not encoded by it: to load it takes milliseconds.
            name = host.encode("ascii") if host.isascii() else host
            which = _FAMILIES.get(family, socket.AF_UNSPEC)
            answer.put(socket.getaddrinfo(name, port, which, socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.put(error)

    threading.Thread(target=ask, daemon=True, name="resolve").start()
    try:
        result = answer.get(timeout=timeout)
    except queue.Empty:
        raise Unreachable(
            f"The name {shown_text(host)} was not resolved within {timeout:g} s; is the network up?"
        ) from None
    if isinstance(result, (OSError, UnicodeError)):
        reason = getattr(result, "strerror", None) or "it is not a host name"
        raise Unreachable(
            f"The name {shown_text(host)} cannot be resolved ({reason}); check its spelling, or "
            "give it a HostName in ~/.ssh/config."
        ) from result
    return result


def _tune(sock: socket.socket, silence: float) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A peer that vanished without a word is noticed also while data waits to be acknowledged.
    user_timeout = getattr(socket, "TCP_USER_TIMEOUT", None)
    if user_timeout is not None and silence > 0:
        sock.setsockopt(socket.IPPROTO_TCP, user_timeout, max(1000, int(silence * 1000)))


def acknowledge_at_once(sock: socket.socket) -> None:
    """Acknowledge what comes next without delay (the kernel forgets this after a while).

    An sshd sets TCP_NODELAY only once a session is open: the second of two small answers before
    that waits for the acknowledgement of the first, which would take 40 ms.
    """
    quick = getattr(socket, "TCP_QUICKACK", None)
    if quick is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, quick, 1)


def _why_not(error: OSError, host: str, port: int, address: str, timeout: float) -> str:
    place = f"{shown_text(host)} port {port}"
    if address != host:
        place += f" ({address})"
    if isinstance(error, ConnectionRefusedError):
        return f"{place} refuses connections; is an SSH server running there, on that port?"
    if isinstance(error, TimeoutError):
        return (
            f"{place} did not answer within {timeout:g} s; is the machine up, and does a "
            "firewall let you through?"
        )
    return f"{place} cannot be reached: {error.strerror or error}."


def dial_through_command(command: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """A socket to the standard input and output of a ``ProxyCommand``, and its process."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command}"],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            # Ctrl-C is for syncron, which ends it in its own time.
            start_new_session=True,
        )
    return ours, process
