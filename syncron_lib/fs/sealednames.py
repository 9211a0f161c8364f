"""Which names of a tree are sealed on the other side, and what its manifest says of them.

A name is sealed where a rule names it, whatever it is, or where it was sealed once; and so are all
below it. The directories that lead there keep theirs, and so do ``.secure`` files.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Optional

from syncron_lib.core import digest
from syncron_lib.core.links import up
from syncron_lib.core.names import join, split
from syncron_lib.core.options import SecureOptions
from syncron_lib.core.sealing import RULES
from syncron_lib.secure.manifest import CLEAR, Manifest
from syncron_lib.secure.names import LONGEST
from syncron_lib.secure.naming import Naming

if TYPE_CHECKING:
    from syncron_lib.fs.root import Root
    from syncron_lib.fs.sealedrules import SealedRules
    from syncron_lib.fs.tree import Tree
    from syncron_lib.secure.keys import Keyring


def form_of(
    manifest: Manifest, ring: Keyring, options: SecureOptions, reading: bool
) -> Optional[bytes]:
    """Id of the key that names are sealed with by a run, `CLEAR` for none; None where no name is
    sealed, nor was. ``reading``: of this tree; who writes to it takes what there is."""
    form = manifest.names_key
    if reading and form == CLEAR:
        form = ring.current.id if options.names else CLEAR
    elif reading and options.rekey:
        form = ring.current.id
    elif reading and options.declassify and not options.names:
        form = CLEAR
    return form if form != CLEAR or manifest.names_key != CLEAR or manifest.renaming else None


class SealedNames:
    """The names of one tree. Carries out `secure.naming.Tops`."""

    def __init__(
        self,
        tree: Tree,
        ring: Keyring,
        form: bytes,
        rules: SealedRules,
        manifest: Manifest,
        files: Collection[bytes],
        declassify: bool,
    ) -> None:
        """``files``: those that are sealed in ``tree``, which gets to know its other names."""
        self._tree = tree
        self._rules = rules
        self._declassify = declassify
        known = {*manifest.entries, *manifest.names}
        self._listed = frozenset(() if declassify else known)
        self._listed_in = frozenset(split(path)[0] for path in self._listed)
        self._files = {*files, *manifest.entries}
        self.naming = tree.naming = Naming(ring, form, known.union(files), self)
        self.tops = sorted(self._find(known.union(files)))

    def is_top(self, path: bytes) -> bool:
        """As `secure.naming.Tops`."""
        parent, name = split(path)
        if name == RULES:
            return False  # it tells nothing, and who carries the tree on is to see it
        if path in self._listed or self._rules.matches(path):
            return True
        return self._rules.level(parent).matches(name, True)

    def is_quiet(self, directory: bytes) -> bool:
        """As `secure.naming.Tops`."""
        return directory not in self._listed_in and self._rules.is_quiet(directory)

    def _find(self, known: Collection[bytes]) -> set[bytes]:
        naming = self.naming
        tops = {above for path in known for above in up(path) if self.is_top(above)}
        for node in self._tree.nodes.values():
            names = node.columns().names if node.stats else ()
            if naming.touches(node.path, names):
                # What is remembered is of the names here.
                node.merkle, node.stored = digest.UNKNOWN, False
                paths = (join(node.path, name) for name in names)
                tops.update(filter(self.is_top, paths))
        return tops

    def _to_keep(self) -> set[bytes]:
        """What the manifest must know beside the files: what could be taken for something in clear
        where rules change, and names that it alone can turn back."""
        kept = set(self.tops)
        for node in self._tree.nodes.values():
            if node.stats and self.naming.is_hidden_directory(node.path):
                long = (name for name in node.columns().names if len(name) > LONGEST)
                kept.update(join(node.path, name) for name in long)
        return kept - self._files

    def noted(self, manifest: Manifest, announce: bool, settled: bool) -> Manifest:
        """``manifest`` with what is to be known of names. Until all have the form that is wanted,
        it is the one before that counts. ``settled``: none is in another form any more."""
        wanted, before = self.naming.names_key, manifest.names_key
        names = frozenset(self._to_keep() if wanted != CLEAR else ())
        if not self._declassify:
            names |= manifest.names
        changes = wanted != before and manifest.counter > 0
        if announce and changes:
            return manifest._replace(renaming=True, names=names | manifest.names)
        renaming = (manifest.renaming or changes) and not settled
        return manifest._replace(names_key=wanted, renaming=renaming, names=names)


def named(
    root: Root,
    ring: Keyring,
    rules: SealedRules,
    manifest: Manifest,
    files: Collection[bytes],
    options: SecureOptions,
) -> Optional[SealedNames]:
    """The names of a scanned tree, where they are, or were, sealed on the other side."""
    form = form_of(manifest, ring, options, root.choice.reading)
    if form is None:
        return None
    return SealedNames(root.tree, ring, form, rules, manifest, files, options.declassify)
