"""An immutable dict, for the fields of frozen classes.

Every encoder takes a dict; `types.MappingProxyType` can be neither encoded, copied nor pickled.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(dict[K, V]):
    """An immutable dict, hashable if its values are."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:  # the default would fill an empty one entry by entry
        return type(self), (dict(self),)


def _reject(*_: Any, **__: Any) -> NoReturn:
    raise TypeError("this mapping cannot be changed, copy it with dict(...) first")


# Type checkers see the methods of dict: an override without its overloads has no type of its own for them.
for _name in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
    setattr(FrozenDict, _name, _reject)
