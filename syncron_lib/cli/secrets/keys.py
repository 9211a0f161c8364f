"""Keys: made, found, asked for; and which side of a run has one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from syncron_lib.cli.parser import Mode
from syncron_lib.cli.securing import secure_options
from syncron_lib.cli.settings import Settings
from syncron_lib.core.location import Local, Location
from syncron_lib.core.names import shown
from syncron_lib.core.options import SecureOptions
from syncron_lib.core.role import Role
from syncron_lib.core.sealing import RULES
from syncron_lib.errors import GuardRefused, KeyUnusable, UsageError
from syncron_lib.record import NamedTuple
from syncron_lib.secure.wrapped import needs_passphrase
from syncron_lib.session.keyholder import KeyHolder

if TYPE_CHECKING:
    from syncron_lib.fs.view import View
    from syncron_lib.secure.keys import Keyring

Ask = Callable[[str, bool], "str | None"]

_LONGEST = 1 << 16
"""Bytes of a key file, and of a passphrase."""


class Surroundings(NamedTuple):
    """Where keys and passphrases come from. ``ask``: a person, if there is one."""

    environ: Mapping[str, str]
    home: str | None
    ask: Ask | None

    def key_path(self, settings: Settings) -> bytes | None:
        """The key file to use; None where there can be none."""
        if settings.key is not None:
            return os.fsencode(settings.key)
        base = self.environ.get("XDG_CONFIG_HOME", "")
        if not os.path.isabs(base):
            if self.home is None:
                return None
            base = os.path.join(self.home, ".config")
        return os.fsencode(os.path.join(base, "syncron", "key"))

    def required_path(self, settings: Settings) -> bytes:
        """The same, and UsageError for None."""
        path = self.key_path(settings)
        if path is None:
            raise UsageError("There is no home directory to keep a key in: name a file.")
        return path

    def passphrase(self, settings: Settings, which: str, question: str) -> bytes:
        """From the command, or from a person. ``which``: what the command is told, ``key``,
        ``old`` or ``new``. Raises KeyUnusable."""
        command = settings.passphrase_command
        if command is not None:
            return _output_of(command, {**self.environ, "SYNCRON_PASSPHRASE": which})
        if self.ask is None:
            raise KeyUnusable(
                "The key needs its passphrase, and there is no terminal to ask for it: say"
                " --passphrase-command."
            )
        answer = self.ask(question, True)
        if answer is None:
            raise KeyUnusable("No passphrase was given. Nothing was changed.")
        return answer.encode("utf-8", "surrogateescape")

    def new_passphrase(self, settings: Settings) -> bytes:
        """One that nobody mistyped."""
        first = self.passphrase(settings, "new", "New passphrase:")
        by_hand = settings.passphrase_command is None
        if by_hand and first != self.passphrase(settings, "new", "Once more:"):
            raise KeyUnusable("The two passphrases are not the same. Nothing was changed.")
        return first


def _output_of(command: str, environ: Mapping[str, str]) -> bytes:
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=dict(environ),
        check=False,
    )
    if done.returncode != 0:
        raise KeyUnusable(
            f"--passphrase-command ended with {done.returncode}, and gave no passphrase. Nothing"
            " was changed."
        )
    return done.stdout[:_LONGEST].removesuffix(b"\n")


# --- keys by themselves ---------------------------------------------------------------------------


def make(settings: Settings, path: str | None, wrap: bool, around: Surroundings) -> str:
    """``--keygen``: what to tell of it."""
    from syncron_lib.secure import keyfile

    where = around.required_path(settings) if path is None else os.fsencode(path)
    if os.path.lexists(where):
        keyfile.create(where, b"")  # which refuses, before anybody has typed anything
    passphrase = around.new_passphrase(settings) if wrap else None
    if passphrase == b"":
        raise UsageError("The passphrase is empty: leave out --passphrase.")
    keyring = keyfile.new()
    keyfile.create(where, keyfile.packed(keyring, passphrase))
    return (
        f"Made the key {keyring.current.id.hex()} in {shown(where)}.\n"
        "Keep a copy of that file somewhere else: without it nobody can open what it seals.\n"
    )


def change_passphrase(settings: Settings, around: Surroundings) -> str:
    """``--change-passphrase``: what to tell of it."""
    from syncron_lib.secure import keyfile

    path = around.required_path(settings)
    keyring = load(settings, path, around, "old")
    passphrase = around.new_passphrase(settings)
    keyfile.replace(path, keyfile.packed(keyring, passphrase or None))
    what = "has another passphrase" if passphrase else "has no passphrase any more"
    return f"{shown(path)} {what}. The key in it is the same.\n"


def load(settings: Settings, path: bytes, around: Surroundings, which: str = "key") -> Keyring:
    """The keyring in a file. Raises KeyUnusable."""
    from syncron_lib.secure import keyfile

    return keyfile.unpacked(
        keyfile.read(path),
        lambda: around.passphrase(settings, which, f"Passphrase of {shown(path)}:"),
        shown(path),
    )


# --- runs -----------------------------------------------------------------------------------------


def holder(
    settings: Settings,
    mode: Mode,
    sources: Sequence[Location],
    destination: Location,
    around: Surroundings,
) -> KeyHolder | None:
    """Which side of a run sees its tree sealed, and how; None for neither. Raises UsageError,
    KeyUnusable, and GuardRefused for what would come in clear to where all is sealed."""
    role = _role(settings, mode, sources, destination)
    if role is None:
        if not settings.ciphertext:
            _require_clear(sources, destination)
        return None
    options = secure_options(settings, rekey=mode is Mode.REKEY)
    asked = bool(settings.key or settings.secure or settings.secure_names)
    asked = asked or mode is not Mode.COPY
    near = sources if role is Role.SOURCE else (destination,)
    path, passphrase = None, None
    if not settings.ciphertext:
        path, passphrase = _key_file(settings, around, asked, near)
    return _holder(role, options, around, path, passphrase, asked, False)


def _key_file(
    settings: Settings, around: Surroundings, asked: bool, near: Sequence[Location]
) -> tuple[bytes | None, bytes | None]:
    """The key file, if there is one, and its passphrase where it needs one."""
    path = around.key_path(settings)
    if path is None:
        if asked:
            around.required_path(settings)
        return None, None
    content = _content(path)
    if content is None and not asked:
        return None, None
    if content is not None and needs_passphrase(content) and (asked or any(map(_has_rules, near))):
        question = f"Passphrase of {shown(path)}:"
        return path, around.passphrase(settings, "key", question)
    return path, None


def _holder(
    role: Role | None,
    options: SecureOptions,
    around: Surroundings,
    path: bytes | None,
    passphrase: bytes | None,
    asked: bool,
    replica: bool,
) -> KeyHolder:
    environ = dict(around.environ)

    def view() -> View:
        from syncron_lib.fs.sealed import KeySource, SealedView

        kind = SealedView
        if replica:
            from syncron_lib.fs.sealedreplica import ReplicaView

            kind = ReplicaView
        if path is None:
            return kind(options, None, environ)
        return kind(options, KeySource(*_source(path, passphrase), asked, path), environ)

    if path is not None and asked:
        # Said at once, and not when both sides have been scanned.
        _source(path, passphrase)[0]()
    return KeyHolder(role, view, None if path is None else _source(path, passphrase)[0])


def replicas(
    settings: Settings, sides: Sequence[Location], around: Surroundings
) -> KeyHolder | None:
    """What sees sealed, in a run in both directions, what is on this machine; without a key, what
    sees that nothing that is to be sealed leaves it in clear. None where neither is needed. Raises
    UsageError and KeyUnusable."""
    here = {side: each for side, each in enumerate(sides) if isinstance(each, Local)}
    asked = bool(settings.key or settings.secure or settings.accept_rollback or settings.sealed)
    if asked and settings.ciphertext:
        raise UsageError(
            "--ciphertext carries files as they are, and takes no key: leave that out."
        )
    options = secure_options(settings)
    if settings.ciphertext:
        return _holder(None, options, around, None, None, asked, True)
    carried = _carried(settings, here)
    clear = [each for side, each in here.items() if side not in carried]
    if not clear and asked:
        raise UsageError(
            "Files are sealed and opened where the key is, on this machine, and no replica here is"
            " in clear: name one, or carry sealed files as they are with --ciphertext."
        )
    needed = asked or bool(carried and clear)
    path, passphrase = _key_file(settings, around, needed, clear)
    if path is None and len(here) == len(sides):
        return None
    made = _holder(None, options, around, path, passphrase, needed, True)
    environ, marks = dict(around.environ), not settings.dry_run

    def as_it_is() -> View:
        from syncron_lib.fs.sealedcarried import CarriedView

        return CarriedView(options, environ, marks)

    return made._replace(carried=carried, as_it_is=as_it_is)


def _carried(settings: Settings, here: Mapping[int, Local]) -> frozenset[int]:
    """Sides on this machine whose sealed files are there as they are. Raises UsageError, and
    GuardRefused where nobody has said of a new one whether it is to be in clear beside these."""
    from syncron_lib.fs.manifestfile import is_sealed_here

    says = {side: is_sealed_here(each.path) for side, each in here.items()}
    found = {side for side, sealed in says.items() if sealed}
    new = [side for side, sealed in says.items() if sealed is None]
    if found and new and not settings.sealed:
        raise GuardRefused(
            f"{here[min(found)].shown()} is sealed, and nothing says whether"
            f" {here[new[0]].shown()} is to be, too. Say --sealed for each that is sealed, and all"
            " others are in clear; to bring sealed files as they are, without opening them, say"
            " --ciphertext. Nothing was changed."
        )
    places = {os.path.realpath(each.path): side for side, each in here.items()}
    for name in settings.sealed:
        side = places.get(os.path.realpath(os.fsencode(name)))
        if side is None:
            raise UsageError(
                f"--sealed {shown(os.fsencode(name))}: none of the replicas on this machine is that"
                " directory; those on other machines are sealed anyway."
            )
        found.add(side)
    return frozenset(found)


def _require_clear(sources: Sequence[Location], destination: Location) -> None:
    """See that a directory on this machine in which files are sealed gets none in clear."""
    from syncron_lib.fs.manifestfile import is_sealed_here

    if not isinstance(destination, Local) or not is_sealed_here(destination.path):
        return
    for source in sources:
        if isinstance(source, Local) and not is_sealed_here(source.path):
            raise GuardRefused(
                f"{destination.shown()} holds sealed files, and what comes from {source.shown()}"
                " would lie there in clear. Seal it with --seal, or bring changes both ways with"
                " --two-way; what is to be in clear needs another directory. Nothing was changed."
            )


def _role(
    settings: Settings, mode: Mode, sources: Sequence[Location], destination: Location
) -> Role | None:
    here = all(isinstance(each, Local) for each in sources)
    there = isinstance(destination, Local)
    if mode in (Mode.SEAL, Mode.UNSEAL):
        if not (here and there):
            name = "--seal" if mode is Mode.SEAL else "--unseal"
            raise UsageError(
                f"{name} is about two local directories; to and from another machine files are"
                " sealed and opened on the way anyway."
            )
        return Role.SOURCE if mode is Mode.SEAL else Role.DESTINATION
    if mode is Mode.REKEY and (there or not here):
        raise UsageError("--rekey needs a local SRC and a DST on another machine.")
    about = settings.key or settings.secure or settings.secure_names
    if settings.ciphertext and (about or mode is not Mode.COPY):
        raise UsageError(
            "--ciphertext carries files as they are, and takes no key: leave that out."
        )
    if here != there and (here or not any(isinstance(each, Local) for each in sources)):
        return Role.SOURCE if here else Role.DESTINATION
    for option, given in (
        ("--secure", settings.secure),
        ("--secure-names", settings.secure_names),
        ("--key", settings.key if not there else None),
        ("--declassify", settings.declassify),
        ("--accept-rollback", settings.accept_rollback),
    ):
        if given and here and there:
            raise UsageError(
                f"{option} is about files that are sealed on another machine, and both sides are on"
                " this one: say --seal or --unseal too, or leave it out."
            )
        if given:
            raise UsageError(
                f"{option} does not go together with sides that are both on other machines: files"
                " are sealed and opened where the key is, on this one."
            )
    return None


def _content(path: bytes) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(_LONGEST)
    except OSError:
        return None  # said where the key is needed


def _has_rules(location: Location) -> bool:
    return os.path.lexists(os.path.join(location.path, RULES))


def _source(
    path: bytes, passphrase: bytes | None
) -> tuple[Callable[[], Keyring], Callable[[Keyring], None]]:
    def known() -> bytes:
        if passphrase is None:
            raise KeyUnusable(
                f"The key file {shown(path)} needs its passphrase: name it with --key to be asked,"
                " or with --passphrase-command too."
            )
        return passphrase

    def read() -> Keyring:
        from syncron_lib.secure import keyfile

        return keyfile.unpacked(keyfile.read(path), known, shown(path))

    def store(keyring: Keyring) -> None:
        from syncron_lib.secure import keyfile

        keyfile.replace(path, keyfile.packed(keyring, passphrase))

    return read, store
