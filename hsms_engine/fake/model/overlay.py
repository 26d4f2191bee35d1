"""A mapping that is another's, but for what has been changed since.

Many tools of one model share what it declares; each keeps its changes only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

__all__ = ["Overlay"]


class Overlay(Mapping[_K, _V]):
    """``base``, with changes. The order is that of ``base``, then what is new in its order."""

    __slots__ = ("_base", "_changes")

    _base: Mapping[_K, _V]
    # None: deleted.
    _changes: dict[_K, _V | None]

    def __init__(self, base: Mapping[_K, _V]) -> None:
        self._base = base
        self._changes = {}

    def __getitem__(self, key: _K) -> _V:
        if key in self._changes:
            value = self._changes[key]
            if value is None:
                raise KeyError(key)
            return value
        return self._base[key]

    def __iter__(self) -> Iterator[_K]:
        changes = self._changes
        for key in self._base:
            if key not in changes or changes[key] is not None:
                yield key
        for key, value in changes.items():
            if key not in self._base and value is not None:
                yield key

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def put(self, key: _K, value: _V) -> None:
        self._changes[key] = value

    def delete(self, key: _K) -> None:
        """Nothing happens when it is not there."""
        if key in self._base:
            self._changes[key] = None
        else:
            self._changes.pop(key, None)

    def clear(self) -> None:
        self._changes = dict.fromkeys(self._base)

    def copy(self) -> Overlay[_K, _V]:
        """One to change, that may take the place of this one when all is well."""
        other = Overlay(self._base)
        other._changes = self._changes.copy()
        return other

    def rebase(self, base: Mapping[_K, _V], fits: Callable[[_K, _V], bool]) -> list[_K]:
        """Stand on another base. Changes that no longer fit are given up; these are returned."""
        lost: list[_K] = []
        kept: dict[_K, _V | None] = {}
        for key, value in self._changes.items():
            if value is None:
                if key in base:
                    kept[key] = None
            elif fits(key, value):
                kept[key] = value
            else:
                lost.append(key)
        self._base = base
        self._changes = kept
        return lost
