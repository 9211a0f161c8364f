"""SSH with paramiko: from a host's name to a command running there."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from syncron_lib.core.location import shown_text
from syncron_lib.errors import SshFailed, Unreachable
from syncron_lib.transport import paramiko_library
from syncron_lib.transport.auth import Authenticator
from syncron_lib.transport.beside import beside
from syncron_lib.transport.buffered import BufferedSocket
from syncron_lib.transport.dial import acknowledge_at_once, dial, dial_through_command
from syncron_lib.transport.hostcheck import check_host_key, preferred_key_types
from syncron_lib.transport.hostconfig import HostConfig, look_up
from syncron_lib.transport.hostkeys import HostKey, find_keys, host_name_in_file
from syncron_lib.transport.settings import ConnectOptions
from syncron_lib.transport.sshconfig import local_user
from syncron_lib.transport.sshstream import MAX_PACKET, WINDOW, SshStream
from syncron_lib.transport.timelimit import abort_after

if TYPE_CHECKING:
    from paramiko import Channel, Transport

_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""First choice: more than twice as fast here as the ciphers paramiko prefers."""

_THREAD_GRACE = 2.0
"""Seconds for paramiko's thread to notice that its socket has been shut down."""

_MAX_HOPS = 8
"""Longest chain of ProxyJump hosts; a configuration that goes in circles ends here."""


@dataclass
class Link:
    """An authenticated connection, and what it stands on."""

    transport: Transport
    label: str
    base: socket.socket
    """The kernel's socket below everything: shutting it down wakes every thread above."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    below: Link | None = None

    def abort(self) -> None:
        """Make everything above fail at once. Any thread; never blocks."""
        with contextlib.suppress(OSError):
            self.base.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release it all; the chain below too."""
        self.abort()
        _discard(self.transport)
        for process in self.processes:
            process.terminate()
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.below is not None:
            self.below.close()
        self.base.close()


def run_command(
    host: str,
    user: str | None,
    port: int | None,
    command: Callable[[], str],
    options: ConnectOptions,
) -> SshStream:
    """Run a command on ``host`` and give its standard input and output as a stream. ``command``
    gives its line, and is called while the server prepares the session.

    Raises `SshFailed` for whatever stands in the way.
    """
    # Importing paramiko takes as long as reaching a machine that is far away.
    threading.Thread(target=_load_paramiko, daemon=True, name="import paramiko").start()
    link = _connect(host, user, port, options, jump=None, depth=0)
    try:
        channel = _start(link, command, options)
    except BaseException:
        link.close()
        raise
    return SshStream(channel, link)


def _load_paramiko() -> None:
    with contextlib.suppress(SshFailed):  # Raised again where it is needed.
        paramiko_library.load()


def _connect(
    host: str,
    user: str | None,
    port: int | None,
    options: ConnectOptions,
    *,
    jump: tuple[str, ...] | None,
    depth: int,
) -> Link:
    """Connect to ``host``; ``jump`` replaces the configuration's ProxyJump where it is not None."""
    if depth > _MAX_HOPS:
        raise SshFailed(
            f"The ProxyJump hosts for {shown_text(host)} go in circles, or are too many."
        )
    final = depth == 0
    config = look_up(
        host,
        options.config_files(),
        user=user,
        port=port if port is not None else (options.port if final else None),
    )
    if config.batch_mode:
        options = options._replace(ask=None)
    hops = config.proxy_jump if jump is None else jump
    the_port = config.port or 22
    the_user = config.user or local_user()
    label = f"{shown_text(the_user)}@{shown_text(host)}"
    below: Link | None = None
    processes: list[subprocess.Popen[bytes]] = []
    if hops:
        below = _through(hops, options, depth)
        try:
            base = below.base
            carrier: socket.socket | Channel = _tunnel(below, config.hostname, the_port, options)
        except BaseException:
            below.close()
            raise
    elif config.proxy_command is not None and jump is None:
        base, process = dial_through_command(config.proxy_command)
        carrier = base
        processes.append(process)
    else:
        timeout = options.contimeout or config.connect_timeout or options.step_timeout
        carrier = base = dial(
            config.hostname,
            the_port,
            timeout=timeout,
            silence=options.timeout,
            family=options.family or config.address_family,
            bind_address=options.address or config.bind_address,
        )
    transport = _make_transport(carrier)
    link = Link(transport, label, base, processes, below)
    try:
        _negotiate(link, config, the_port, options)
        Authenticator(transport, the_user, label, config, options, use_options_identity=final).run()
    except BaseException:
        link.close()
        raise
    return link


def _through(hops: tuple[str, ...], options: ConnectOptions, depth: int) -> Link:
    """The connection to the last of ``hops``, which are passed in order."""
    user, host, port = _parse_hop(hops[-1])
    before = hops[:-1]
    return _connect(host, user, port, options, jump=before or None, depth=depth + 1)


def _parse_hop(text: str) -> tuple[str | None, str, int | None]:
    rest = text.removeprefix("ssh://").rstrip("/")
    user, at, place = rest.rpartition("@")
    host, port = place, ""
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        port = port.removeprefix(":")
    elif place.count(":") == 1:
        host, _, port = place.partition(":")
    if not host or host.startswith("-") or (port and not port.isdecimal()):
        raise SshFailed(f"ProxyJump {shown_text(text)} is not of the form user@host:port.")
    return (user if at else None), host, int(port) if port else None


def _tunnel(link: Link, host: str, port: int, options: ConnectOptions) -> Channel:
    paramiko = paramiko_library.load()
    try:
        return link.transport.open_channel(
            "direct-tcpip",
            (host, port),
            ("127.0.0.1", 0),
            window_size=WINDOW,
            max_packet_size=MAX_PACKET,
            timeout=options.step_timeout,
        )
    except paramiko.ssh_exception.ChannelException as error:
        raise SshFailed(
            f"{link.label} (ProxyJump) does not connect on to {shown_text(host)} port {port}: "
            f"{shown_text(error.text)}."
        ) from error
    except (paramiko.ssh_exception.SSHException, EOFError, OSError) as error:
        raise SshFailed(
            f"{link.label} (ProxyJump) did not connect on to {shown_text(host)} port {port}: "
            f"{shown_text(str(error))}."
        ) from error


def _make_transport(carrier: socket.socket | Channel) -> Transport:
    paramiko = paramiko_library.load()
    windows: dict[str, Any] = {
        "default_window_size": WINDOW,
        "default_max_packet_size": MAX_PACKET,
    }
    transport: Transport
    if isinstance(carrier, socket.socket):
        from syncron_lib.transport.packets import Connection, Packets

        buffered: Any = BufferedSocket(carrier)
        transport = Connection(buffered, packetizer_class=Packets, **windows)
    else:
        transport = paramiko.transport.Transport(carrier, **windows)
    security = transport.get_security_options()
    first = [cipher for cipher in _CIPHERS if cipher in security.ciphers]
    security.ciphers = (*first, *(c for c in security.ciphers if c not in first))
    return transport


def _negotiate(link: Link, config: HostConfig, port: int, options: ConnectOptions) -> None:
    """Agree on keys, and make sure that it is the right host that we agreed with."""
    transport = link.transport
    name = host_name_in_file(config.hostname, port, config.host_key_alias)
    known = find_keys(name, (*config.user_known_hosts, *config.global_known_hosts))
    security = transport.get_security_options()
    security.key_types = preferred_key_types(known, security.key_types)
    timeout = options.step_timeout
    transport.banner_timeout = transport.handshake_timeout = timeout
    transport.auth_timeout = timeout
    agreed = threading.Event()
    transport.start_client(event=agreed)
    in_time = agreed.wait(timeout)
    if not in_time or not transport.is_active():
        error = transport.get_exception()  # which forgets it
        incompatible = isinstance(error, paramiko_library.load().ssh_exception.IncompatiblePeer)
        kind = SshFailed if incompatible else Unreachable
        raise kind(_no_agreement(link, config, port, error, in_time, timeout))
    shown_key = transport.get_remote_server_key()
    key = HostKey(shown_key.get_name(), shown_key.asbytes())
    check_host_key(key, name, known, config, options)


def _no_agreement(
    link: Link,
    config: HostConfig,
    port: int,
    error: BaseException | None,
    in_time: bool,
    timeout: float,
) -> str:
    paramiko = paramiko_library.load()
    place = f"{shown_text(config.hostname)} port {port}"
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        what = str(error).rpartition("(")[2].rstrip(")")
        return (
            f"{place} and syncron have no algorithm in common ({shown_text(what)}); update its SSH "
            "server, or use -e ssh."
        )
    if link.processes:
        status = link.processes[0].poll()
        if status is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = link.processes[0].wait(0.2)
        if status is not None:
            return (
                f"The ProxyCommand for {place} ended with status {status} before the SSH server "
                f"answered: {shown_text(config.proxy_command or '')}."
            )
    if not in_time:
        return f"{place} accepted the connection but sent nothing of SSH for {timeout:g} s."
    text = str(error or "")
    if "timed out" in text or "timeout" in text.lower():
        return f"{place} accepted the connection but sent nothing of SSH for {timeout:g} s."
    if "banner" in text or "protocol version" in text:
        return f"{place} does not answer as an SSH server ({shown_text(text) or 'it closed'})."
    detail = f" ({shown_text(text)})" if text else ""
    return (
        f"{place} closed the connection before it was set up{detail}; its log may say why "
        "(MaxStartups, a firewall, a ban)."
    )


def _start(link: Link, command: Callable[[], str], options: ConnectOptions) -> Channel:
    paramiko = paramiko_library.load()
    with abort_after(options.step_timeout, link.abort) as expired:
        try:
            line = beside(command, "command line")
            acknowledge_at_once(link.base)
            channel: Channel = link.transport.open_session(
                window_size=WINDOW, max_packet_size=MAX_PACKET, timeout=options.step_timeout
            )
            SshStream.prepare(channel)
            channel.exec_command(line.result())
            return channel
        except paramiko.ssh_exception.ChannelException as error:
            raise SshFailed(
                f"{link.label} let you in but opens no session ({shown_text(error.text)}); is "
                "MaxSessions or a restriction of the key in the way?"
            ) from error
        except (paramiko.ssh_exception.SSHException, EOFError, OSError) as error:
            if expired.is_set():
                raise SshFailed(
                    f"{link.label} let you in but started no command within "
                    f"{options.step_timeout:g} s."
                ) from error
            raise SshFailed(
                f"{link.label} let you in but refuses to run a command ({shown_text(str(error))})."
            ) from error


def _discard(transport: Transport) -> None:
    """Close a transport in whatever state, and leave none of its threads behind."""
    transport.close()
    if transport.is_alive():
        transport.join(_THREAD_GRACE)
    # A handshake that failed leaves a timer running, which would hold up the end of the process.
    transport.packetizer.complete_handshake()
