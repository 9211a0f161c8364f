"""What noise is thrown at. Each target takes bytes and raises nothing but what is a defect."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from syncron_lib.cli import config
from syncron_lib.core.options import RuleOptions
from syncron_lib.core.role import Role
from syncron_lib.core.rules import RuleSet
from syncron_lib.core.rules.scope import GITIGNORE, SYNCRONIGNORE
from syncron_lib.core.table import Malformed, Reader, unpack
from syncron_lib.core.table import pack as pack_table
from syncron_lib.endpoint.base import RawPack
from syncron_lib.endpoint.greeting import greeting
from syncron_lib.endpoint.local import LocalEndpoint
from syncron_lib.endpoint.remote import RemoteEndpoint
from syncron_lib.errors import PeerViolation, SyncronError, UsageError
from syncron_lib.fs import ignorefiles, stats
from syncron_lib.fs.state import State
from syncron_lib.protocol import messages, wire
from syncron_lib.protocol.frames import HEADER, Header, pack_header, unpack_header
from syncron_lib.protocol.pack import unpack_pack
from syncron_lib.protocol.wire import PACK, STORE, Sender
from tests.endpoint.driving import SEAL, begin, carry_out, opening
from tests.fuzz.mutations import mutated

# --- frames ---------------------------------------------------------------------------------------


class Helper:
    """A helper that is told requests without a stream between, each as kind and payload.

    It goes on after what would have ended it: so noise meets it in every state.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.refused = self.answered = 0
        self._endpoint = self._begun(Role.SOURCE)

    def _begun(self, role: Role) -> LocalEndpoint:
        endpoint = LocalEndpoint(os.environ, 0o022)
        for request in (opening(self._root, role), messages.Scan(), SEAL):
            endpoint.handle(request)
        if role is Role.DESTINATION:
            endpoint.handle(messages.Begin((), ()))
        return endpoint

    def restart(self, role: Role) -> None:
        """Begin a new conversation."""
        self._endpoint.close()
        self._endpoint = self._begun(role)

    def take(self, kind: int, payload: bytes) -> None:
        """One frame."""
        try:
            request: Any = RawPack(payload)
            if kind != STORE:
                request = wire.decode(kind, payload, Sender.CLIENT)
            if isinstance(request, messages.Open):
                # Whose root it is, is for the account to say: here never another.
                request = request._replace(path=os.fsencode(self._root), lock_wait_ms=0)
            if isinstance(request, messages.UseAlternates):
                # Likewise: there is no end to what a scan of the whole machine takes.
                request = request._replace(
                    directories=list(filter(self._is_near, request.directories))
                )
            if isinstance(request, messages.Hello):
                return
            reply = self._endpoint.handle(request)
            if not isinstance(reply, list):
                wire.encode(reply)
            self.answered += 1
        except SyncronError:
            self.refused += 1

    def _is_near(self, path: bytes) -> bool:
        root = os.fsencode(self._root)
        return os.path.normpath(os.path.join(root, path)).startswith(os.path.dirname(root))

    def close(self) -> None:
        self._endpoint.close()


class _Told:
    """A stream whose other side has said all that it will say."""

    def __init__(self, said: bytes) -> None:
        self._said = memoryview(said)

    def receive_into(self, view: memoryview) -> int:
        count = min(len(view), len(self._said))
        view[:count] = self._said[:count]
        self._said = self._said[count:]
        return count

    def send(self, data: Any) -> None:
        """Nobody listens."""

    def abort(self) -> None:
        """Nothing waits."""

    def close(self, at_rest: bool = False) -> None:
        """Nothing is held."""


_KIND, _PAYLOAD = wire.encode(greeting())
_HELLO = pack_header(len(_PAYLOAD), _KIND, 0) + _PAYLOAD


def framed(kind: int, payload: bytes, request: int = 1) -> bytes:
    """A frame."""
    return pack_header(len(payload), kind, request) + payload


ASKED: tuple[Any, ...] = (
    *(opening("/", Role.SOURCE), messages.Scan(), SEAL, messages.List([b""])),
    *(messages.Hash([b"a"]), messages.Next(), messages.Finish((), True)),
)


def client(data: bytes) -> None:
    """What a helper says behind its greeting, to a client that has asked for some things."""
    threads = threading.active_count()
    endpoint = RemoteEndpoint(_Told(_HELLO + data), "The helper", 0)
    futures: list[Future[Any]] = []
    with contextlib.suppress(SyncronError):
        futures.extend(map(endpoint.submit, ASKED))
    for future in futures:
        error = future.exception(20)
        assert error is None or isinstance(error, SyncronError), error
        assert error is None or "could not be understood" not in str(error), error
    endpoint.close()
    endpoint._receiver.join(20)
    over = time.monotonic() + 20
    while threading.active_count() > threads:  # who watched for the greeting has yet to hear of it
        assert time.monotonic() < over
        time.sleep(0.001)


def reply(kind: int, payload: bytes) -> None:
    """One frame to a client, without a stream between."""
    with contextlib.suppress(SyncronError):
        header = unpack_header(HEADER.pack(len(payload), kind, 1))
        assert isinstance(header, Header)
        if kind == PACK:
            unpack_pack(payload)
        else:
            wire.decode(kind, payload, Sender.HELPER)


def frames(data: bytes) -> None:
    """Any message of either side: the number of one, and its payload."""
    if data:
        for sender in (Sender.CLIENT, Sender.HELPER):
            try:
                message = wire.decode(data[0], data[1:], sender)
            except PeerViolation:
                continue
            again = wire.decode(*wire.encode(message), sender)
            assert _listed(again) == _listed(message)


def _listed(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_listed(each) for each in value]
    return value


class Lying:
    """An endpoint of which one reply is another than it should be."""

    def __init__(self, end: LocalEndpoint, which: int, chance: random.Random) -> None:
        self._end, self._left, self._chance = end, which, chance
        self.hello = end.hello

    def submit(self, request: Any) -> Future[Any]:
        """The reply to ``request``, or something like it."""
        future = self._end.submit(request)
        self._left -= 1
        if self._left or future.exception() is not None:
            return future
        lie: Future[Any] = Future()
        reply = future.result()
        try:
            if isinstance(reply, RawPack):
                payload = bytes(reply.payload)
                lie.set_result(RawPack(mutated(self._chance, payload, [payload])))
            else:
                kind, payload = wire.encode(reply)
                payload = mutated(self._chance, payload, [payload])
                lie.set_result(wire.decode(kind, payload, Sender.HELPER))
        except SyncronError as error:
            lie.set_exception(error)
        return lie

    def close(self) -> None:
        """Let go of the root."""
        self._end.close()


def run(source: Path, destination: Path, lies: Role, chance: random.Random) -> None:
    """A whole run between two roots, of which one side lies once."""
    ends: list[Any] = [LocalEndpoint(os.environ, 0o022) for _ in Role]
    try:
        for end, path, role in zip(ends, (source, destination), Role):
            begin(end, path, role)
        ends[lies] = Lying(ends[lies], chance.randrange(1, 12), chance)
        with contextlib.suppress(SyncronError):
            carry_out(ends[0], ends[1])
    finally:
        for end in ends:
            end.close()


# --- packs and tables -----------------------------------------------------------------------------


def packs(data: bytes) -> None:
    """A pack."""
    with contextlib.suppress(PeerViolation):
        unpack_pack(data)


def tables(data: bytes) -> None:
    """A table, which is packed again as it was."""
    reader = Reader(data)
    try:
        table = unpack(reader)
    except Malformed:
        return
    assert pack_table(table) == data[: reader.position]


# --- what a user or a source writes ---------------------------------------------------------------


def rules(data: bytes) -> None:
    """Filters of a command line, an ignore file of each kind, and a name that they are asked
    about; cut at the first four NULs."""
    parts = data.split(b"\0", 4)
    filters, own, git, name, path = (*parts, b"", b"", b"", b"", b"")[:5]
    try:
        scope = RuleSet.compile(RuleOptions(tuple(filters.split(b"\n")), True)).root()
        scope = scope.with_files({SYNCRONIGNORE: own, GITIGNORE: git})
    except SyncronError:
        return
    for each in path.split(b"/")[:4]:
        scope = scope.child(each or b"d")
        scope.excluded(name, True)
    scope.excluded(name, False)


def configuration(data: bytes) -> None:
    """A configuration file."""
    try:
        config.parse(data, file="/config.yaml", home="/root")
    except UsageError as error:
        assert error.message.isprintable(), error.message


# --- state ----------------------------------------------------------------------------------------


def columns(data: bytes) -> None:
    """What state keeps packed: a directory's rows, ignore files."""
    with contextlib.suppress(Malformed):
        stats.unpack(data)
    ignorefiles.unpack(data)


class StateFile:
    """A database as an earlier run left it, which is changed anywhere."""

    def __init__(self, directory: Path) -> None:
        self._path = os.fsencode(directory / "state.db")
        state = State(self._path)
        state.save([], [], {"root": b"/", "profile": b"x" * 5000, "entries": b"1"}, {})
        state.close()
        with open(self._path, "rb") as file:
            self.whole = file.read()

    def __call__(self, data: bytes) -> None:
        """Open the file with this content, and read all of it."""
        for name in os.listdir(os.path.dirname(self._path)):
            os.unlink(os.path.join(os.path.dirname(self._path), name))
        with open(self._path, "wb") as file:
            file.write(data)
        state = None
        try:
            state = State(self._path)
            for key in ("root", "profile", "entries", "ids"):
                state.get(key)
            with contextlib.suppress(sqlite3.DatabaseError):
                for row in state.rows():
                    with contextlib.suppress(Malformed):
                        stats.unpack(row.stats)
            with contextlib.suppress(sqlite3.DatabaseError):
                state.row(b"")
                state.chunk_paths()
        except SyncronError:
            pass
        finally:
            if state is not None:
                state.close()


BY_NAME: dict[str, Callable[[bytes], None]] = {
    "frames": frames,
    "packs": packs,
    "tables": tables,
    "rules": rules,
    "configuration": configuration,
    "columns": columns,
    "client": client,
}
"""All but those that need a place: `Helper` and `StateFile`."""
