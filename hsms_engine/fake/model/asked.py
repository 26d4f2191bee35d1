"""The ids of a request, in the order in which it has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from hsms_engine.fake.model.bounds import ASKED
from hsms_engine.fake.model.ids import Id, id_of
from hsms_engine.message import Message
from hsms_engine.secs2 import Item, L, Leaf

_V = TypeVar("_V")

__all__ = ["TooManyError", "asked", "item_at"]


class TooManyError(Exception):
    """A request has more ids than are answered at once. No code says that: it gets SxF0."""


def asked(given: Iterable[int | str], known: Mapping[Any, _V]) -> list[tuple[Id, _V | None]]:
    """Each id that is asked for, with what it leads to; without an id, all that are known.

    Raises ``TooManyError``. As many as are known are never too many.
    """
    ids = [id_of(each) for each in given]
    if len(ids) > max(ASKED, len(known)):
        raise TooManyError
    if not ids:
        return [*known.items()]
    return [(each, known.get(each)) for each in ids]


def item_at(message: Message, *path: int) -> Item:
    """A part of a message of which the layout is known to be right, as the host has written it."""
    item = message.item
    for index in path:
        assert isinstance(item, L)
        item = item[index]
    assert isinstance(item, L | Leaf)
    return item
