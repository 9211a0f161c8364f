"""A command's standard input and output, through a paramiko channel, as a byte stream."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from syncron_lib.errors import ConnectionLost
from syncron_lib.transport import paramiko_library
from syncron_lib.transport.stderrtail import StderrTail
from syncron_lib.transport.stream import Buffer

if TYPE_CHECKING:
    from paramiko import Channel, Transport

WINDOW = 1 << 25
"""Bytes the server may send before we have read them: fills 100 ms at 2.5 Gbit/s, and is the
most that is ever buffered here."""

MAX_PACKET = 1 << 17
"""Largest packet we take. OpenSSH sends as much as it has read, up to this."""

_LARGE = 1 << 17
_BATCH = 1 << 19
"""Who has room for `_LARGE` bytes reads a long frame, and is woken for no less than `_BATCH` of
them: to change threads for every packet costs as much as to decrypt it."""

_BATCH_SECONDS = 0.05
"""Seconds after which that reader is given what there is."""

_OVERHEAD = 64
"""Bytes of a packet that are left for what is not content, as paramiko does."""

_JOINED = 8
"""Packets that are made in one go."""

_CLOSE_GRACE = 5.0
"""Seconds the program at the other end has to end after its input has ended."""


def _ignore(data: Buffer) -> None:
    pass


class _Link(Protocol):
    transport: Transport
    label: str

    def abort(self) -> None: ...

    def close(self) -> None: ...


class _Inbox:
    """What has arrived and was not read yet: stands in for paramiko's `BufferedPipe`, which
    moves all that is left on every read, and wakes its reader for every packet."""

    def __init__(self, take_back: Callable[[Buffer], None] = _ignore) -> None:
        """``take_back`` is given what was fed, once it was read and the next read has begun."""
        self._take_back = take_back
        self._chunks: deque[Buffer] = deque()
        self._offset = 0
        self._lent: Buffer = b""
        """What has been read to its end, and is looked at until the next read."""
        self._size = 0
        self._wanted = 1
        self._closed = False
        self._ready = threading.Condition(threading.Lock())

    def feed(self, data: Buffer) -> None:
        if not data:  # reading nothing would mean the end
            return
        with self._ready:
            self._chunks.append(data)
            self._size += len(data)
            if self._size >= self._wanted:
                self._ready.notify()

    def read(self, limit: int, timeout: float | None = None) -> Buffer:
        """At most ``limit`` bytes of what came first, valid until the next read; nothing at the
        end. ``timeout`` is not used: `SshStream.abort` ends a wait."""
        if self._lent:
            self._take_back(self._lent)
            self._lent = b""
        with self._ready:
            if not self._chunks:
                self._await(min(limit, _BATCH) if limit >= _LARGE else 1)
            if not self._chunks:
                return b""
            chunk = self._chunks[0]
            left = len(chunk) - self._offset
            if left <= limit:
                self._lent = self._chunks.popleft()
                part = memoryview(chunk)[self._offset :] if self._offset else chunk
                self._offset = 0
            else:
                part = memoryview(chunk)[self._offset : self._offset + limit]
                self._offset += limit
            self._size -= len(part)
            return part

    def _await(self, size: int) -> None:
        """Wait for ``size`` bytes, or for fewer if they are slow to come, or for the end."""
        self._wanted = size
        while self._size < self._wanted and not self._closed:
            if not self._ready.wait(None if self._wanted == 1 else _BATCH_SECONDS):
                self._wanted = 1

    def close(self) -> None:
        with self._ready:
            self._closed = True
            self._ready.notify_all()

    def read_ready(self) -> bool:
        return bool(self._chunks)

    def __len__(self) -> int:
        return self._size


class SshStream:
    """The stream, and what is known about the command at its other end."""

    def __init__(self, channel: Channel, link: _Link) -> None:
        self._channel = channel
        self._link = link
        self._errors = paramiko_library.load().ssh_exception
        self._aborted = False
        # Within another connection, it is that one's packets that count.
        self._in_bursts = hasattr(link.transport.packetizer, "attach")
        self._stderr = StderrTail()
        self._drain = threading.Thread(
            target=self._read_stderr, daemon=True, name=f"stderr of {link.label}"
        )
        self._drain.start()

    @staticmethod
    def prepare(channel: Channel) -> None:
        """To be called on a channel before the command is started."""
        packets: Any = channel.get_transport().packetizer
        inbox = _Inbox(getattr(packets, "take_back", _ignore))
        if hasattr(packets, "attach"):
            packets.attach(channel.chanid, inbox.feed)
        channel.in_buffer = inbox  # type: ignore[assignment]
        channel.in_stderr_buffer = _Inbox()  # type: ignore[assignment]

    def receive_into(self, view: memoryview) -> int:
        try:
            data = self._channel.recv(len(view))
        except (self._errors.SSHException, EOFError, OSError) as error:
            raise self._lost(error) from error
        size = len(data)
        if not size:
            if self._aborted or not self._ended_in_order():
                raise self._lost(None)
            return 0
        view[:size] = data
        return size

    def send(self, data: Buffer) -> None:
        view = memoryview(data)
        channel = self._channel
        most = min(channel.out_max_packet_size, MAX_PACKET) - _OVERHEAD
        try:
            while view:
                if len(view) > most and self._in_bursts:
                    sent = self._send_burst(view, most)
                else:
                    sent = channel.send(view)  # type: ignore[arg-type]
                if not sent:
                    raise self._lost(None)
                view = view[sent:]
        except (self._errors.SSHException, EOFError, OSError) as error:
            raise self._lost(error) from error
        if self._aborted:
            # paramiko drops what is sent after the transport has ended, without a word.
            raise self._lost(None)

    def _send_burst(self, view: memoryview, most: int) -> int:
        """As `Channel.send`, for as many packets as the server's window has room for."""
        from syncron_lib.transport.packets import Burst

        channel: Any = self._channel
        with channel.lock:
            if channel.closed:
                return 0
            size: int = channel._wait_for_send_window(min(len(view), most))
            more = min(channel.out_window_size, len(view) - size, (_JOINED - 1) * most)
            if size == most:
                channel.out_window_size -= more
                size += more
        if size:
            channel.transport._send_user_message(Burst(channel.remote_chanid, view[:size], most))
        return size

    def abort(self) -> None:
        self._aborted = True
        self._link.abort()

    def close(self, at_rest: bool = False) -> None:
        if self._aborted:
            self._link.close()
            self._drain.join(1.0)
            return
        timer = threading.Timer(_CLOSE_GRACE, self._link.abort)
        timer.daemon = True
        timer.start()
        try:
            with contextlib.suppress(self._errors.SSHException, EOFError, OSError):
                self._channel.shutdown_write()
            if not at_rest:
                self.exit_status(_CLOSE_GRACE)
        finally:
            timer.cancel()
            self._link.close()
            self._drain.join(1.0)

    def exit_status(self, timeout: float) -> int | None:
        """The command's exit status, waiting ``timeout`` seconds for it; negative when it was
        ended by a signal (which one, paramiko does not tell); None while it is running, and
        when the connection was lost."""
        if not self._channel.status_event.wait(timeout):
            return None
        if self._channel.exit_status == -1 and not self._ended_in_order():
            return None
        return self._channel.exit_status

    def stderr_tail(self) -> str:
        """The last lines the command wrote to its standard error, for a person."""
        if self._channel.eof_received or self._channel.closed:
            self._drain.join(1.0)
        return self._stderr.text()

    def _ended_in_order(self) -> bool:
        """Whether the server ended the channel, and not the network the connection."""
        return bool(self._channel.eof_received) or self._link.transport.is_active()

    def _lost(self, error: BaseException | None) -> ConnectionLost:
        cause = error if error is not None else self._link.transport.get_exception()
        detail = "" if cause is None or isinstance(cause, EOFError) else str(cause)
        reason = f" ({detail})" if detail and not self._aborted else ""
        return ConnectionLost(f"The connection to {self._link.label} was lost{reason}.")

    def _read_stderr(self) -> None:
        try:
            while True:
                data = self._channel.recv_stderr(1 << 16)
                if not data:
                    return
                self._stderr.feed(bytes(data))
        except (self._errors.SSHException, EOFError, OSError):
            return
