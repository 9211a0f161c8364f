"""Named tuples of our own are those of the standard library, but for what defining them costs."""

from __future__ import annotations

import copy
import inspect
import pickle
import typing
from collections.abc import Callable
from typing import Any

import pytest

from syncron_lib.record import NamedTuple


class Place(NamedTuple):
    """Where something is."""

    host: str
    path: bytes = b"."
    port: int = 22

    @property
    def shown(self) -> str:
        return f"{self.host}:{self.path.decode()}"

    def beside(self, host: str) -> Place:
        return self._replace(host=host)


class Standard(typing.NamedTuple):
    host: str
    path: bytes = b"."
    port: int = 22


class Nothing(NamedTuple):
    pass


def test_it_is_a_tuple_and_no_more() -> None:
    place = Place("a", port=1)
    assert place == ("a", b".", 1)
    assert hash(place) == hash(("a", b".", 1))
    assert Place.__mro__ == (Place, tuple, object)
    assert not hasattr(place, "__dict__")
    assert Nothing() == ()


def test_its_methods_and_docstring_are_kept() -> None:
    assert Place("a", b"x").shown == "a:x"
    assert Place("a", b"x").beside("b") == Place("b", b"x")
    assert Place.__doc__ == "Where something is."
    assert (Place.__module__, Place.__qualname__) == (__name__, "Place")


@pytest.mark.parametrize(
    "ask",
    [
        lambda kind: kind("a"),
        lambda kind: kind("a", b"b", 3)._asdict(),
        lambda kind: kind._make(["a", b"b", 3]),
        lambda kind: kind("a")._replace(port=4, host="c"),
        lambda kind: kind("a").port,
        lambda kind: [kind._fields, kind._field_defaults, kind.__match_args__],
        lambda kind: list(inspect.signature(kind).parameters),
        lambda kind: repr(kind("a")).replace(kind.__name__, "It"),
        lambda kind: copy.copy(kind("a")),
        lambda kind: pickle.loads(pickle.dumps(kind("a"))),
    ],
)
def test_it_answers_as_the_standard_one(ask: Callable[[Any], object]) -> None:
    assert ask(Place) == ask(Standard)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda kind: kind(), TypeError),
        (lambda kind: kind("a", b"b", 3, 4), TypeError),
        (lambda kind: kind("a", hos="b"), TypeError),
        (lambda kind: kind._make(["a"]), TypeError),
        (lambda kind: kind("a")._replace(hos="b"), ValueError),
        (lambda kind: setattr(kind("a"), "host", "b"), AttributeError),
        (lambda kind: setattr(kind("a"), "other", "b"), AttributeError),
    ],
)
def test_it_refuses_what_the_standard_one_refuses(
    wrong: Callable[[Any], object], error: type[Exception]
) -> None:
    for kind in (Place, Standard):
        with pytest.raises(error):
            wrong(kind)


def test_a_default_before_a_field_without_one_is_refused() -> None:
    with pytest.raises(TypeError, match="without a default"):

        class Wrong(NamedTuple):
            host: str = ""
            path: bytes  # type: ignore[misc]
