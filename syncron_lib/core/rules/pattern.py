"""One rule: what a pattern matches, cut into path components where that is possible.

Nearly every pattern says something about each component separately: ``a/**/*.c`` is ``a``,
then any directories, then ``*.c``. In that form a rule is followed down the tree one
directory at a time, and in any one directory what is left of it is a pattern for a name.
The rest (rsync's ``a**b``) is an expression for the whole path.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Optional, Union

from syncron_lib.core.names import NAME_MAX
from syncron_lib.core.rules.wildmatch import STAR, Kind, Token, Tokens, expression
from syncron_lib.record import NamedTuple


class Shape(Enum):
    """How a name is compared, quickest first."""

    LITERAL = "literal"
    SUFFIX = "suffix"
    PREFIX = "prefix"
    INFIX = "infix"
    EXPRESSION = "expression"


_SHAPES = {
    (False, False): Shape.LITERAL,
    (True, False): Shape.SUFFIX,
    (False, True): Shape.PREFIX,
    (True, True): Shape.INFIX,
}
"""By whether a star comes first, and whether one comes last."""


class Component:
    """What one path component must look like.

    ``text`` is the literal, suffix, prefix or infix; ``tokens`` make the expression otherwise.
    """

    __slots__ = ("_fullmatch", "shape", "text", "tokens")

    def __init__(self, shape: Shape, text: bytes, tokens: Tokens = ()) -> None:
        self.shape = shape
        self.text = text
        self.tokens = tokens
        self._fullmatch: Optional[re.Pattern[bytes]] = None

    @staticmethod
    def of(tokens: Tokens) -> Optional[Component]:
        """The component for ``tokens``, which hold no slash; None if no name can match.

        No name is empty, and none is longer than `NAME_MAX`: so what is kept stays small.
        """
        tokens = tuple([STAR if token.kind is Kind.STARS else token for token in tokens])
        stars = sum(token.kind is Kind.STAR for token in tokens)
        if not tokens or len(tokens) - stars > NAME_MAX:
            return None
        first = tokens[0].kind is Kind.STAR
        last = len(tokens) > 1 and tokens[-1].kind is Kind.STAR
        inner = tokens[1 if first else 0 : -1 if last else None]
        if any(token.kind is not Kind.BYTE for token in inner):
            return Component(Shape.EXPRESSION, b"", tokens)
        return Component(_SHAPES[first, last], b"".join([token.text for token in inner]))

    def matches(self, name: bytes) -> bool:
        if self.shape is Shape.LITERAL:
            return name == self.text
        if self.shape is Shape.SUFFIX:
            return name.endswith(self.text)
        if self.shape is Shape.PREFIX:
            return name.startswith(self.text)
        if self.shape is Shape.INFIX:
            return self.text in name
        if self._fullmatch is None:
            self._fullmatch = re.compile(expression(self.tokens), re.DOTALL)
        return self._fullmatch.fullmatch(name) is not None


class AnyDepth(Enum):
    """The element of a component list that stands for any directories, or none."""

    MARK = "**"


ANY_DEPTH = AnyDepth.MARK

Element = Union[Component, AnyDepth]


class WholePath(NamedTuple):
    """A pattern for a whole path; ``floats``: or for the end of it from any component on."""

    tokens: Tokens
    floats: bool

    def expression(self, group: str) -> bytes:
        return (rb"(?:.*/)?" if self.floats else b"") + expression(self.tokens, group)


class Rule(NamedTuple):
    """One decision about the names that match.

    Exactly one of ``components``, ``path`` and ``none_of`` is set. ``components`` are for a path
    relative to the tree's root, or where the rule was written if it is ``anchored``; the last is a
    `Component`. ``path`` is for the same path as a whole, or for that of the whole file system
    where it is ``absolute``. ``none_of``: what matches none of these does. ``directory_only``:
    matches directories and nothing else.
    """

    exclude: bool
    directory_only: bool
    components: Optional[tuple[Element, ...]]
    path: Optional[WholePath] = None
    anchored: bool = False
    absolute: bool = False
    none_of: Optional[tuple[Rule, ...]] = None


def component_list(parts: list[Optional[Tokens]]) -> Optional[tuple[Element, ...]]:
    """``parts`` as a rule's components; None stands for any directories, or none.

    The answer is None where nothing can match because one component can match nothing.
    """
    elements: list[Element] = []
    for part in parts:
        if part is None:
            if not elements or elements[-1] is not ANY_DEPTH:
                elements.append(ANY_DEPTH)
        else:
            component = Component.of(part)
            if component is None:
                return None
            elements.append(component)
    return tuple(elements)


ANY: Tokens = (Token(Kind.STAR),)
"""One component, whatever it is."""
