"""Authentication over SSH: agent, identity files, and a person at the terminal."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from syncron_lib.core.location import shown_text
from syncron_lib.errors import SshFailed
from syncron_lib.transport import paramiko_library
from syncron_lib.transport.hostconfig import HostConfig
from syncron_lib.transport.settings import ConnectOptions

if TYPE_CHECKING:
    from paramiko import PKey, Transport

_DEFAULT_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")

_PASSWORD_TRIES = 3

_HUMAN_TIMEOUT = 300.0
"""Seconds a person has for an answer."""


class Authenticator:
    """One host's authentication; remembers what was tried, to be able to say so."""

    def __init__(
        self,
        transport: Transport,
        user: str,
        label: str,
        config: HostConfig,
        options: ConnectOptions,
        *,
        use_options_identity: bool,
    ) -> None:
        self._transport = transport
        self._user = user
        self._label = label
        self._config = config
        self._options = options
        self._explicit = options.identity if use_options_identity else ()
        self._paramiko = paramiko_library.load()
        self._errors = self._paramiko.ssh_exception
        self._allowed: set[str] = {"publickey"}
        self._asked_server = False
        self._tried: list[str] = []
        self._problems: list[str] = []
        self._used: set[bytes] = set()

    def run(self) -> None:
        """Authenticate, or raise `SshFailed` naming every key that was tried."""
        try:
            if self._with_keys() or self._with_a_person():
                return
        except self._errors.SSHException as error:
            raise SshFailed(self._lost(error)) from error
        except (EOFError, OSError) as error:
            raise SshFailed(self._lost(error)) from error
        raise SshFailed(self._refused())

    def _with_keys(self) -> bool:
        for key, description in self._candidates():
            if "publickey" not in self._allowed:
                return False
            if self._offer(key, description):
                return True
        return False

    def _offer(self, key: PKey, description: str) -> bool:
        """Offer one key, as a certificate first where it has one; True when we are in."""
        forms = [True, False] if key.public_blob is not None else [False]
        for as_certificate in forms:
            if not as_certificate:
                key.public_blob = None
            self._tried.append(description + (" (certificate)" if as_certificate else ""))
            try:
                more = self._transport.auth_publickey(self._user, key)
            except self._errors.BadAuthenticationType as error:
                self._learn(error.allowed_types)
                return False
            except self._errors.AuthenticationException:
                if not self._transport.is_active():
                    raise
                continue
            if not more:
                return True
            self._learn(more)
            self._used.add(key.asbytes())
            return False
        return False

    def _learn(self, methods: list[str]) -> None:
        self._allowed = set(methods)
        self._asked_server = True

    def _candidates(self) -> Iterator[tuple[PKey, str]]:
        files = self._identity_files()
        in_agent = self._agent_keys()
        seen: set[bytes] = set()
        for path in self._explicit:
            for key, description in self._from_file(path, in_agent, required=True):
                seen.add(key.asbytes())
                yield key, description
        wanted = {blob for blob in map(_public_blob, files) if blob is not None}
        ordered = [entry for blob, entry in in_agent.items() if blob in wanted]
        if not self._config.identities_only:
            ordered += [entry for blob, entry in in_agent.items() if blob not in wanted]
        for key, description in ordered:
            if key.asbytes() not in seen:
                seen.add(key.asbytes())
                yield key, description
        for path in files:
            if _public_blob(path) in seen:
                continue
            for key, description in self._from_file(path, {}, required=False):
                if key.asbytes() not in seen:
                    seen.add(key.asbytes())
                    yield key, description

    def _identity_files(self) -> list[str]:
        configured = [p for p in self._config.identity_files if p.lower() != "none"]
        if configured or self._config.identity_files:
            return configured
        home = self._options.home
        if home is None or self._explicit:
            return []
        return [os.path.join(home, ".ssh", name) for name in _DEFAULT_IDENTITIES]

    def _agent_keys(self) -> dict[bytes, tuple[PKey, str]]:
        path = self._config.identity_agent
        if path is None:
            return {}
        paramiko = self._paramiko
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self._options.step_timeout)
            connection.connect(path)
            agent = paramiko.agent.AgentSSH()
            agent._connect(connection)
        except (OSError, paramiko.ssh_exception.SSHException) as error:
            connection.close()
            if not isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
                self._problems.append(f"the agent at {shown_text(path)} gave no answer ({error})")
            return {}
        return {
            key.asbytes(): (key, f"{_describe(key)} from the agent ({shown_text(key.comment)})")
            for key in agent.get_keys()
        }

    def _from_file(
        self, path: str, in_agent: dict[bytes, tuple[PKey, str]], *, required: bool
    ) -> Iterator[tuple[PKey, str]]:
        blob = _public_blob(path)
        if blob is not None and blob in in_agent:
            yield in_agent[blob]
            return
        try:
            readable = stat.S_ISREG(os.stat(path).st_mode)
        except OSError as error:
            if required or self._config.identity_files:
                self._problems.append(f"{shown_text(path)}: {error.strerror}")
            return
        if not readable or path.endswith(".pub"):
            self._problems.append(f"{shown_text(path)} holds no private key, and no agent has it")
            return
        key = self._load(path)
        if key is not None:
            yield key, f"{_describe(key)} from {shown_text(path)}"

    def _load(self, path: str) -> PKey | None:
        passphrase: bytes | None = None
        for attempt in range(_PASSWORD_TRIES + 1):
            try:
                return _load_key(self._paramiko, path, passphrase)
            except _NeedsPassphrase:
                ask = self._options.ask
                if ask is None:
                    self._problems.append(
                        f"{shown_text(path)} needs a passphrase, and there is no terminal to ask "
                        f"on: run ssh-add {shown_text(path)} first"
                    )
                    return None
                if attempt == _PASSWORD_TRIES:
                    break
                again = "Wrong passphrase. " if passphrase is not None else ""
                answer = ask(f"{again}Passphrase for {shown_text(path)}: ", True)
                if not answer:
                    break
                passphrase = answer.encode("utf-8", "surrogateescape")
            except OSError as error:
                self._problems.append(f"{shown_text(path)}: {error.strerror}")
                return None
            except (ValueError, TypeError, self._errors.SSHException) as error:
                self._problems.append(f"{shown_text(path)} is no key that can be used ({error})")
                return None
        self._problems.append(f"{shown_text(path)}: no right passphrase was given")
        return None

    def _with_a_person(self) -> bool:
        if not self._asked_server:
            try:
                if not self._transport.auth_none(self._user):
                    return True
            except self._errors.BadAuthenticationType as error:
                self._learn(error.allowed_types)
        ask = self._options.ask
        if ask is None:
            return False
        self._transport.auth_timeout = _HUMAN_TIMEOUT
        for _ in range(_PASSWORD_TRIES):
            try:
                if "keyboard-interactive" in self._allowed:
                    more = self._transport.auth_interactive(self._user, self._answer)
                elif "password" in self._allowed:
                    password = ask(f"{self._label}'s password: ", True)
                    if password is None:
                        return False
                    more = self._transport.auth_password(self._user, password, fallback=False)
                else:
                    return False
            except self._errors.BadAuthenticationType as error:
                self._learn(error.allowed_types)
                continue
            except self._errors.AuthenticationException:
                if not self._transport.is_active():
                    raise
                continue
            if not more:
                return True
            self._learn(more)
        return False

    def _answer(self, title: str, instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
        ask = self._options.ask
        for text in (title, instructions):
            if text.strip():
                self._options.notice(shown_text(text.strip()))
        if ask is None:
            return []
        return [ask(shown_text(prompt), not echo) or "" for prompt, echo in prompts]

    def _refused(self) -> str:
        parts = [f"{self._label} refused to let you in"]
        if self._tried:
            parts.append(f"; tried: {', '.join(self._tried)}")
        else:
            parts.append("; there was no key to try")
        if self._problems:
            parts.append(f"; {'; '.join(self._problems)}")
        if self._asked_server:
            parts.append(f"; the server accepts: {', '.join(sorted(self._allowed))}")
        if "publickey" not in self._allowed:
            parts.append(", which need a terminal")
        elif not self._problems:
            parts.append(
                "; add your public key to its ~/.ssh/authorized_keys, or name a key: --identity"
            )
        return "".join(parts) + "."

    def _lost(self, error: Exception) -> str:
        if "timeout" in str(error).lower() or isinstance(error, TimeoutError):
            return (
                f"{self._label} did not answer within {self._transport.auth_timeout:g} s while "
                "authenticating."
            )
        tried = f" after {len(self._tried)} keys ({', '.join(self._tried)})" if self._tried else ""
        return (
            f"{self._label} closed the connection while authenticating{tried}; if it had enough "
            "of wrong keys, name the right one with --identity, or set IdentitiesOnly for the host."
        )


class _NeedsPassphrase(Exception):
    """The key is encrypted, and the passphrase is missing or wrong."""


def _load_key(paramiko: ModuleType, path: str, passphrase: bytes | None) -> PKey:
    try:
        # paramiko says it takes text here, but hands it on to what takes bytes only.
        key: PKey = paramiko.pkey.PKey.from_path(path, passphrase)
        return key
    except paramiko.ssh_exception.PasswordRequiredException as error:
        raise _NeedsPassphrase from error
    except (TypeError, ValueError, paramiko.ssh_exception.SSHException) as error:
        if passphrase is not None or "ncrypted" in str(error) or "assword" in str(error):
            raise _NeedsPassphrase from error
        raise


def _public_blob(path: str) -> bytes | None:
    """The public key that stands beside an identity file, in wire form, if it is there."""
    try:
        fields = Path(path if path.endswith(".pub") else path + ".pub").read_bytes().split()
    except OSError:
        return None
    if len(fields) < 2:
        return None
    try:
        return base64.b64decode(fields[1], validate=True)
    except binascii.Error:
        return None


def _describe(key: PKey) -> str:
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    kind = key.get_name().removeprefix("ssh-").partition("-")[0].upper()
    return f"{kind} SHA256:{digest}"
