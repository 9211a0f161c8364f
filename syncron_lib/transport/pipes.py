"""Byte streams over what the operating system gives: file descriptors and sockets.

Part of the helper's import closure: standard library only, Python 3.9.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import stat
import time
from typing import TYPE_CHECKING, Optional

from syncron_lib.errors import ConnectionLost
from syncron_lib.transport.stream import Buffer

if TYPE_CHECKING:
    import socket

_PIPE_SIZE = 1 << 20
"""What Linux lets any user ask for (/proc/sys/fs/pipe-max-size): fewer wake-ups a megabyte."""

_F_SETPIPE_SZ = 1031
"""`fcntl.F_SETPIPE_SZ`, which Python knows by name from 3.10 on."""

_SOCKET_BUFFER = 4 << 20
"""Asked for on local sockets; the kernel cuts it to its own limit."""

_CHILD_GRACE = 5.0
"""Seconds a process at the other end has to go by itself after its input has ended."""

_GONE = "The other side closed the connection"


class FdStream:
    """A stream over two descriptors, such as a helper's standard input and output.

    The descriptors are made non-blocking, so that `abort` can wake a thread that waits for a
    full or empty pipe; `close` puts them back as they were.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._aborted = False
        self._closed = False
        self._wake_read, self._wake_write = os.pipe()
        self._was_blocking = [fd for fd in {read_fd, write_fd} if os.get_blocking(fd)]
        for fd in {read_fd, write_fd}:
            os.set_blocking(fd, False)
            _enlarge_pipe(fd)

    def receive_into(self, view: memoryview) -> int:
        while True:
            if self._aborted:
                raise ConnectionLost(f"{_GONE}.")
            try:
                return os.readv(self._read_fd, [view])
            except BlockingIOError:
                self._wait(self._read_fd, select.POLLIN)
            except ConnectionResetError:
                return 0
            except OSError as error:
                raise ConnectionLost(f"{_GONE}: {error.strerror}.") from error

    def send(self, data: Buffer) -> None:
        view = memoryview(data)
        while True:
            if self._aborted:
                raise ConnectionLost(f"{_GONE}.")
            try:
                sent = os.write(self._write_fd, view)
            except BlockingIOError:
                self._wait(self._write_fd, select.POLLOUT)
                continue
            except OSError as error:
                raise ConnectionLost(f"{_GONE}: {error.strerror}.") from error
            if sent == len(view):
                return
            view = view[sent:]

    def _wait(self, fd: int, event: int) -> None:
        poll = select.poll()
        poll.register(fd, event)
        poll.register(self._wake_read, select.POLLIN)
        poll.poll()

    def abort(self) -> None:
        if not self._aborted:
            self._aborted = True
            # Never read from again: every later wait returns at once too.
            os.write(self._wake_write, b"x")

    def close(self, at_rest: bool = False) -> None:
        if self._closed:
            return
        self._closed = True
        self.abort()
        for fd in self._was_blocking:
            with contextlib.suppress(OSError):
                os.set_blocking(fd, True)
        for fd in {self._read_fd, self._write_fd, self._wake_read, self._wake_write}:
            with contextlib.suppress(OSError):
                os.close(fd)


class SocketStream:
    """A stream over a connected socket, with the process at its other end if it is our child."""

    def __init__(self, sock: socket.socket, child: Optional[int] = None) -> None:
        # Here and not above: a remote helper has no use for it, and its import is a tenth of its
        # start.
        import socket

        self._shut_writing, self._shut_both = socket.SHUT_WR, socket.SHUT_RDWR
        self._socket = sock
        self._child = child
        self._aborted = False
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
        sock.settimeout(None)

    def receive_into(self, view: memoryview) -> int:
        try:
            received = self._socket.recv_into(view)
        except ConnectionResetError:
            received = 0
        except OSError as error:
            raise ConnectionLost(f"{_GONE}: {error.strerror}.") from error
        if not received and self._aborted:
            raise ConnectionLost(f"{_GONE}.")
        return received

    def send(self, data: Buffer) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise ConnectionLost(f"{_GONE}: {error.strerror}.") from error

    def abort(self) -> None:
        self._aborted = True
        # Not close(): that would leave threads waiting in recv and send where they are.
        with contextlib.suppress(OSError):
            self._socket.shutdown(self._shut_both)

    def close_sending(self) -> None:
        """Say that nothing more will be sent; what is on its way can still be received."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(self._shut_writing)

    def close(self, at_rest: bool = False) -> None:
        self.close_sending()
        if self._child is not None:
            # At rest it holds nothing any more, and ends by itself; to wait for that is to wait
            # until its memory is given back.
            reap(self._child, 0 if at_rest else _CHILD_GRACE, kill=not at_rest)
            self._child = None
        self._socket.close()


def reap(child: int, grace: float, kill: bool = True) -> Optional[int]:
    """Wait ``grace`` seconds for a child process to end, then ``kill`` it.

    Returns its wait status, or None when somebody else has waited for it, or nobody yet.
    """
    deadline = time.monotonic() + grace
    pause = 0.001
    try:
        while True:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                return status
            if time.monotonic() >= deadline:
                break
            time.sleep(pause)
            pause = min(pause * 2, 0.05)
        if not kill:
            return None
        os.kill(child, 9)
        return os.waitpid(child, 0)[1]
    except ChildProcessError:
        return None


def _enlarge_pipe(fd: int) -> None:
    if stat.S_ISFIFO(os.fstat(fd).st_mode):
        # Not Linux, or the user's pipes are used up: the default size works too.
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_SIZE)
