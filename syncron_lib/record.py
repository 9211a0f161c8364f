"""Named tuples that cost little to define.

Everything that crosses a layer or the wire here is a named tuple, and a run defines some two
hundred classes of them before it does anything. ``typing.NamedTuple`` compiles source text for
each class and for each of its annotations, a tenth of a millisecond a class: a tenth of a whole
run over a small tree. This one derives each constructor from one of the same number of fields,
and evaluates no annotation.

To a type checker the two are the same, and to a reader, too: fields and defaults in the order of
the class body, ``_make``, ``_replace``, ``_asdict``, ``_fields``, and all that a tuple has.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414 - passed on by this name
else:
    from types import CodeType, FunctionType

    try:
        from _collections import _tuplegetter as field_getter
    except ImportError:  # An implementation of Python other than CPython
        from operator import itemgetter

        def field_getter(index, doc):
            return property(itemgetter(index), doc=doc)

    _GLOBALS = {"__builtins__": {}, "__name__": __name__, "new": tuple.__new__}

    @functools.cache
    def _constructor(count: int) -> CodeType:
        arguments = "".join(f"_{index}, " for index in range(count))
        source = f"lambda _cls, {arguments}: new(_cls, ({arguments}))"
        return eval(source).__code__  # noqa: S307 - nothing in it is from outside

    def _make(cls, iterable):
        made = tuple.__new__(cls, iterable)
        if len(made) != len(cls._fields):
            raise TypeError(f"{cls.__name__} has {len(cls._fields)} fields, not {len(made)}")
        return made

    def _replace(self, **changes):
        made = self._make(map(changes.pop, self._fields, self))
        if changes:
            raise ValueError(f"{type(self).__name__} has no field {', '.join(changes)}")
        return made

    def _asdict(self):
        return dict(zip(self._fields, self))

    def _getnewargs(self):
        return tuple(self)

    def _repr(self):
        shown = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
        return f"{type(self).__name__}({shown})"

    class _Definition(type):
        """What makes of the body of a class below ``NamedTuple`` a class of tuples."""

        def __new__(mcs, name, bases, body):
            if not bases:
                return super().__new__(mcs, name, bases, body)
            fields = tuple(body.get("__annotations__", ()))
            defaults = {field: body[field] for field in fields if field in body}
            if tuple(defaults) != fields[len(fields) - len(defaults) :]:
                raise TypeError(f"In {name}, a field without a default follows one with it.")
            code = _constructor(len(fields)).replace(
                co_name="__new__", co_varnames=("_cls", *fields)
            )
            new = FunctionType(code, _GLOBALS, "__new__", tuple(defaults.values()))
            new.__qualname__ = f"{name}.__new__"
            own = {
                "__slots__": (),
                "__new__": new,
                "__match_args__": fields,
                "__repr__": _repr,
                "__getnewargs__": _getnewargs,
                "_fields": fields,
                "_field_defaults": defaults,
                "_make": classmethod(_make),
                "_replace": _replace,
                "_asdict": _asdict,
            }
            own.update((field, field_getter(index, None)) for index, field in enumerate(fields))
            own.update((key, value) for key, value in body.items() if key not in defaults)
            return type(name, (tuple, *bases[1:]), own)

    class NamedTuple(metaclass=_Definition):
        """The base in a definition; what is defined is a ``tuple`` and nothing of this class."""
