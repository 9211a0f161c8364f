"""Frames over a byte stream, with a pulse: nothing waits longer than the time-out.

Both ends use the same channel. A thread of its own receives; another sends a heartbeat when
nothing else was sent for a while, and aborts the stream when nothing was heard for the time-out.
Aborting wakes whatever is blocked in a send or a receive.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from typing import Optional

from syncron_lib.endpoint.allocator import keep_freed_memory
from syncron_lib.endpoint.base import Buffer
from syncron_lib.endpoint.pace import Pace
from syncron_lib.errors import ConnectionLost, SyncronError, TimedOut
from syncron_lib.protocol.frames import HEADER, Header, pack_header, unpack_header
from syncron_lib.protocol.messages import Heartbeat
from syncron_lib.protocol.wire import BY_KIND
from syncron_lib.transport.stream import ByteStream

_JOINED = 64 << 10
"""Bytes up to which the parts of a frame are joined: one write is dearer than the copy saved."""
_SPARE = 12
"""Payloads kept for the next frames: as many as a client sends ahead."""
_HEARTBEAT = BY_KIND[Heartbeat].number
_SHORTEST_PULSE = 0.1
_LONGEST_PULSE = 10.0
_STOPPED = 1.0
"""Seconds that a rest may take longer than it was to: more, and this process was stopped (Ctrl-Z, a
suspended machine) and could not hear anything."""


def _interval(timeout: float) -> float:
    """Seconds between two heartbeats."""
    return max(_SHORTEST_PULSE, min(timeout / 4, _LONGEST_PULSE)) if timeout > 0 else _LONGEST_PULSE


class Channel:
    """Sends and receives frames; one thread may receive, any may send."""

    def __init__(self, stream: ByteStream, whom: str, timeout: float) -> None:
        """``whom``: the other side, for messages. ``timeout``: seconds, 0 for none."""
        self._stream = stream
        self._whom = whom
        self._timeout = timeout
        self._sending = threading.Lock()
        self._heard = self._sent = time.monotonic()
        self._ended = False
        self._stirred = threading.Condition()
        """Wakes the pulse for another time-out, and at the end."""
        self._failure: Optional[SyncronError] = None
        self._pace: Optional[Pace] = None
        self._spare: list[bytearray] = []
        self.bytes_sent = 0
        self.bytes_received = 0
        self._beating = self._watching = False
        self._first_due = math.inf
        """When the other side's first frame must be there, by the clock."""

    def limit(self, rate: int) -> None:
        """Send at most ``rate`` bytes a second from now on; 0 for no limit."""
        self._pace = Pace(rate) if rate else None

    def start_pulse(self, timeout: Optional[float] = None) -> None:
        """Begin to send heartbeats and to watch for the other side's."""
        if timeout is not None:
            with self._stirred:
                self._timeout = timeout
                self._stirred.notify_all()
        if self._timeout > 0 and not self._beating:
            self._heard = time.monotonic()
            # Two threads: a heartbeat may itself be held up by a full stream.
            self._beating = True
            threading.Thread(target=self._beat, name="pulse", daemon=True).start()
            self._start_watch()

    def _start_watch(self) -> None:
        if not self._watching:
            self._watching = True
            threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def _rest(self, seconds: float) -> bool:
        """Wait; True where something was changed that this must not be longer for."""
        with self._stirred:
            return self._ended or self._stirred.wait(seconds)

    def _end(self) -> None:
        with self._stirred:
            self._ended = True
            self._stirred.notify_all()

    def _watch(self) -> None:
        """End the channel on time: not later than the silence has lasted for the time-out."""
        while not self._ended:
            began = time.monotonic()
            timeout, first_due = self._timeout, self._first_due
            if began >= first_due:
                self.fail(
                    TimedOut(
                        f"There was no whole greeting from {self._whom} in time;"
                        " check the connection, or allow more with --timeout."
                    )
                )
                return
            due = self._heard + timeout if timeout > 0 else math.inf
            if began >= due:
                self.fail(
                    TimedOut(
                        f"Nothing was heard from {self._whom} for {timeout:g} s;"
                        " check the connection, or allow more with --timeout."
                    )
                )
                return
            rest = min(_interval(timeout) / 2, min(due, first_due) - began)
            stirred = self._rest(rest)
            overslept = time.monotonic() - began - rest
            if not stirred and overslept > _STOPPED:
                self._heard = min(self._heard + overslept, time.monotonic())

    def _beat(self) -> None:
        while not self._ended:
            interval = _interval(self._timeout)
            self._rest(interval / 2)
            # A send in progress is a sign of life itself, or is stuck and ended by the watch.
            quiet = time.monotonic() - self._sent
            if quiet > interval and self._sending.acquire(blocking=False):
                try:
                    if not self._ended:
                        self._send_locked(_HEARTBEAT, 0, ())
                except SyncronError as error:
                    self.fail(error)
                finally:
                    self._sending.release()

    def fail(self, error: SyncronError) -> None:
        """End the channel with ``error``; the first one counts."""
        if self._failure is None:
            self._failure = error
        self._end()
        self._stream.abort()

    def _translated(self, error: SyncronError) -> SyncronError:
        return self._failure or error

    def send(self, kind: int, request: int, parts: Sequence[Buffer]) -> None:
        """Send one frame. Raises what ended the channel."""
        with self._sending:
            if self._failure is not None:
                raise self._failure
            try:
                self._send_locked(kind, request, parts)
            except SyncronError as error:
                raise self._translated(error) from None

    def _send_locked(self, kind: int, request: int, parts: Sequence[Buffer]) -> None:
        length = sum(map(len, parts))
        header = pack_header(length, kind, request)
        self.bytes_sent += HEADER.size + length
        if length <= _JOINED:
            self._put(b"".join((header, *parts)))
        else:
            small: list[Buffer] = [header]
            for part in parts:
                if len(part) <= _JOINED:
                    small.append(part)
                    continue
                if small:
                    self._put(b"".join(small))
                    small = []
                self._put(part)
            if small:
                self._put(b"".join(small))
        self._sent = time.monotonic()

    def _put(self, data: Buffer) -> None:
        """Send ``data``, as fast as is allowed."""
        pace = self._pace
        if pace is None:
            self._stream.send(data)
            return
        view = memoryview(data)
        while view:
            while (wait := pace.wait(time.monotonic())) > 0:
                with self._stirred:
                    if self._ended:
                        raise self._failure or ConnectionLost("The connection is closed.")
                    self._stirred.wait(wait)
            count = pace.take(len(view), time.monotonic())
            self._stream.send(view[:count])
            view = view[count:]

    def receive(self) -> Optional[tuple[Header, bytearray]]:
        """The next frame that is no heartbeat; None where the other side has ended in order."""
        head = bytearray(HEADER.size)
        while True:
            if not self._fill(memoryview(head), at_start=True):
                return None
            header = unpack_header(head)
            if header.length > _JOINED:
                keep_freed_memory()
            payload = self._room(header.length)
            if header.length:
                self._fill(memoryview(payload), at_start=False)
            self.bytes_received += HEADER.size + header.length
            if header.kind != _HEARTBEAT or header.length:  # with a payload it is none
                return header, payload

    def give_back(self, payload: bytearray) -> None:
        """Take the memory of a large payload for a later one: new memory costs the clearing of it.
        Any thread. A payload of which somebody still holds a part is left alone."""
        if len(payload) > _JOINED and len(self._spare) < _SPARE:
            try:
                payload.append(0)  # its size cannot change while a part of it is held
            except BufferError:
                return
            self._spare.append(payload)

    def _room(self, length: int) -> bytearray:
        """Memory for a payload."""
        if length <= _JOINED or not self._spare:
            return bytearray(length)
        room = self._spare.pop()
        if len(room) < length:
            room.extend(bytes(length - len(room)))
        else:
            del room[length:]
        return room

    def receive_first(self, within: float) -> Optional[tuple[Header, bytearray]]:
        """The same for the first frame, which must be whole ``within`` so many seconds: who has
        not greeted yet does nothing that could take longer, however alive it is."""
        self._first_due = time.monotonic() + within
        self._start_watch()
        frame = self.receive()
        self._first_due = math.inf
        return frame

    def _fill(self, view: memoryview, at_start: bool) -> bool:
        """Receive until ``view`` is full; False where the stream ended before its first byte."""
        position, end = 0, len(view)
        try:
            while position < end:
                count = self._stream.receive_into(view[position:])
                if not count:
                    if at_start and position == 0 and self._failure is None:
                        return False
                    raise ConnectionLost(f"The connection to {self._whom} was lost in mid-frame.")
                self._heard = time.monotonic()
                position += count
        except SyncronError as error:
            raise self._translated(error) from None
        return True

    def close(self, at_rest: bool = False) -> None:
        """Stop the pulse and close the stream. ``at_rest``: see `ByteStream.close`."""
        self._end()
        self._stream.close(at_rest)
