"""``.secure`` files: which files of a tree are sealed on the other side.

They are read where the key is, whatever the filters say, and those of the directories above the
root count too. What they match in a directory is sealed with all below.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Optional

from syncron_lib.core.names import join, shown, split
from syncron_lib.core.options import RuleOptions
from syncron_lib.core.rules import MAX_IGNORE_FILE, SYNCRONIGNORE, AnyScope, RuleSet
from syncron_lib.core.sealing import MAGIC, RULES
from syncron_lib.core.twoway.naming import unmarked
from syncron_lib.errors import GuardRefused
from syncron_lib.fs.hashing import OPEN_FILE
from syncron_lib.record import NamedTuple

if TYPE_CHECKING:
    from syncron_lib.fs.root import Root
    from syncron_lib.fs.tree import Node


class _Level(NamedTuple):
    """The rules in one directory. ``whole``: it is sealed with all below."""

    scopes: tuple[AnyScope, ...]
    whole: bool

    @property
    def trivial(self) -> bool:
        return not self.whole and all(scope.trivial for scope in self.scopes)

    def matches(self, name: bytes, is_directory: bool) -> bool:
        return self.whole or any(scope.excluded(name, is_directory) for scope in self.scopes)

    def child(self, name: bytes) -> _Level:
        whole = self.matches(name, True)
        return _Level(tuple(scope.child(name) for scope in self.scopes), whole)

    def with_rules(self, content: bytes) -> _Level:
        """With a `RULES` file found here; what was given with the run stays as it is."""
        # The syntax, and the order in which rules decide, are those of an ignore file.
        own = self.scopes[0].with_files({SYNCRONIGNORE: content})
        return _Level((own, *self.scopes[1:]), self.whole)


class SealedRules:
    """The rules of one tree. ``any``: there are some."""

    def __init__(
        self,
        above: Sequence[tuple[bytes, bytes]],
        files: Mapping[bytes, bytes],
        patterns: Sequence[bytes],
        always: Collection[bytes] = (),
    ) -> None:
        """``above``: (name, content of its `RULES` file or nothing) of each directory that the
        root lies in, from the top, and the name of the next; ``files``: those in the tree, by
        directory. ``patterns``: as in such a file in the root. ``always``: paths that are sealed
        whatever these say."""
        base = RuleSet.compile(RuleOptions()).root()
        level = _Level((base,), False)
        for content, name in above:
            level = (level.with_rules(content) if content else level).child(name)
        if patterns:
            given = base.with_files({SYNCRONIGNORE: b"\n".join(patterns)})
            level = _Level((level.scopes[0], given), level.whole)
        self.any = bool(files or patterns or any(content for content, _ in above))
        self._files = files
        self._always = frozenset(always)
        self._levels = {b"": self._own(b"", level)}

    @property
    def is_empty(self) -> bool:
        """Whether nothing is sealed by them, but for rules."""
        return not (self.any or self._always)

    def _own(self, path: bytes, level: _Level) -> _Level:
        content = self._files.get(path)
        return level.with_rules(content) if content is not None else level

    def level(self, path: bytes) -> _Level:
        """The rules in the directory at ``path``."""
        known = self._levels.get(path)
        if known is None:
            parent, name = split(path)
            known = self._levels[path] = self._own(path, self.level(parent).child(name))
        return known

    def matches(self, path: bytes) -> bool:
        """Whether a file at ``path`` is to be sealed."""
        parent, name = split(path)
        if name == RULES or path in self._always:
            return True
        level, plain = self.level(parent), unmarked(name)
        # A conflict copy of a secret is one, whatever it is called.
        return level.matches(name, False) or (plain != name and self.matches(join(parent, plain)))

    def is_quiet(self, directory: bytes) -> bool:
        """Whether nothing in one directory is sealed by any rule, but for rules."""
        special = self._always and any(split(path)[0] == directory for path in self._always)
        return self.level(directory).trivial and not special


def files_in(
    node: Node, rules: SealedRules, listed: Collection[bytes] = ()
) -> Iterable[tuple[bytes, int]]:
    """Names and modes of what may be sealed in one directory; nothing for nearly all that there
    are."""
    if not node.stats or (rules.is_quiet(node.path) and not listed and RULES not in node.stats):
        return ()
    columns = node.columns()
    return zip(columns.names, columns.modes)


def read(
    root: Root, patterns: Sequence[bytes], key: Optional[bytes], ciphertext: bool
) -> SealedRules:
    """The rules of a scanned tree. ``key``: the key file, which is sealed itself where it lies in
    the tree. ``ciphertext``: rules that are sealed are none. Raises GuardRefused for a file that
    cannot be read: nobody knows what it would have sealed."""
    files = {}
    for path, content in found(root):
        if not content.startswith(MAGIC):
            files[path] = content
        elif not ciphertext:
            how = "say --sealed for it" if root.choice.replica else "open it with --unseal"
            raise GuardRefused(
                f"{shown(join(path, RULES))} is sealed, so this tree was brought here as it is,"
                f" with nothing opened: say --ciphertext to carry it on like that, or {how}."
                " Nothing was changed."
            )
    inside = b"" if key is None else os.path.realpath(key)
    top = root.path.rstrip(b"/") + b"/"
    always = [inside[len(top) :]] if inside.startswith(top) else []
    return SealedRules(list(_above(root.path)), files, patterns, always)


def found(root: Root) -> Iterator[tuple[bytes, bytes]]:
    """(directory, content) of each such file in a scanned tree. Raises GuardRefused for one that
    cannot be read."""
    known = root.directories
    if known is None:
        return
    for path in _places(root):
        try:
            content = _content(known.open(path), RULES)
        except OSError as error:
            raise _unreadable(join(path, RULES), error) from None
        if content is not None:
            yield path, content


def _places(root: Root) -> Iterator[bytes]:
    """Directories that have such a file, left out of the tree or not."""
    if not root.whole:
        yield b""  # a single file of it was looked at
        return
    if not root.tree.root.ruled:
        return
    for node in root.tree.present():  # what a hot run leaves unread has none
        # Quick for nearly all of them: the bytes are not even there.
        if (RULES in node.stats and RULES in node.columns().names) or (
            RULES in node.excluded and RULES in node.excluded.split(b"\0")
        ):
            yield node.path


def _above(path: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(content, name of the next) for each directory that ``path`` lies in."""
    names = path.strip(b"/").split(b"/") if path.strip(b"/") else []
    place = b"/"
    for name in names:
        try:
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            yield b"", name  # whoever may not look there has no rules there
        else:
            try:
                yield _content(fd, RULES) or b"", name
            except OSError as error:
                raise _unreadable(join(place.lstrip(b"/"), RULES), error) from None
            finally:
                os.close(fd)
        place = os.path.join(place, name)


def _content(directory: int, name: bytes) -> Optional[bytes]:
    try:
        fd = os.open(name, OPEN_FILE, dir_fd=directory)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        content = file.read(MAX_IGNORE_FILE + 1)
    if len(content) > MAX_IGNORE_FILE:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content


def _unreadable(path: bytes, error: OSError) -> GuardRefused:
    why = "it is a symlink" if error.errno == errno.ELOOP else error.strerror
    return GuardRefused(
        f"{shown(path)} says what is sealed and cannot be read ({why}), so nothing is sent. Nothing"
        " was changed."
    )
