"""Items as what JSON has, and back: one form, without loss.

::

    L(A("MDLN"), U4(1, 2), B(0))   {"L": [{"A": "MDLN"}, {"U4": [1, 2]}, {"B": [0]}]}

An item is an object of one member: its type, and a list of its values. Of A and J that is a string;
but bytes of A that are no text in its encoding (without one: ASCII) are a list of them, and so are
those of C, of which the first two name its encoding. JSON has neither infinity nor NaN: in F4 and
F8 these are ``"inf"``, ``"-inf"`` and the bytes of the NaN in hexadecimal, ``"7fc00000"``.

Invariant: ``from_json(to_json(item, encoding), encoding) == item`` for every item and encoding,
also when ``json`` has written and read it in between. Other programs may read numbers as floats:
then integers from 2**53 on, of I8 and U8, lose digits there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from hsms_engine.secs2.base import MAX_DEPTH, Leaf
from hsms_engine.secs2.binary import B
from hsms_engine.secs2.encodings import known
from hsms_engine.secs2.lists import LEAVES, Item, L
from hsms_engine.secs2.numbers import BOOLEAN, Integer, Real
from hsms_engine.secs2.text import A, J

_LEAVES: Final[Mapping[str, type[Leaf]]] = {each.__name__: each for each in LEAVES}
_INFINITIES: Final = {"inf": math.inf, "-inf": -math.inf}


def to_json(item: Item, text_encoding: str | None = None) -> dict[str, Any]:
    """An item as objects, lists, strings and numbers, which ``json.dumps`` takes.

    ``text_encoding`` is that of the text in A. Raises ``ValueError`` for an unknown one.
    """
    return _told(item, "ascii" if text_encoding is None else known(text_encoding))


def from_json(told: object, text_encoding: str | None = None) -> Item:
    """The item that ``to_json`` has told so, with the same ``text_encoding``.

    Raises ``ValueError``, which says where and why, for anything else.
    """
    encoding = "ascii" if text_encoding is None else known(text_encoding)
    return _item(told, encoding, "", MAX_DEPTH)


def _told(item: Item, encoding: str) -> dict[str, Any]:
    values: list[Any] | str
    match item:
        case L():
            values = [_told(each, encoding) for each in item]
        case A():
            values = _text(item.raw, encoding)
        case J():
            values = item.value
        case Real():
            values = [_real(item, index, value) for index, value in enumerate(item)]
        case BOOLEAN() | Integer():
            values = [*item]
        case _:
            # Of a B and a C.
            values = [*item.raw]
    return {type(item).__name__: values}


def _text(data: bytes, encoding: str) -> list[int] | str:
    try:
        text = data.decode(encoding)
        # Some encodings read bytes that they write as others.
        return text if text.encode(encoding) == data else [*data]
    except UnicodeError:
        return [*data]


def _real(item: Real, index: int, value: float) -> float | str:
    if math.isnan(value):
        # There are many, and an item is its bytes.
        return item.raw[index * item.size :][: item.size].hex()
    return value if math.isfinite(value) else f"{value}"


def _item(told: object, encoding: str, path: str, depth: int) -> Item:
    if not isinstance(told, dict) or len(told) != 1:
        raise _wrong(path, "an object of one member, the type, as {'U4': [1]}", told)
    [(name, values)] = told.items()
    path = f"{path}.{name}"
    if name == "L":
        if not isinstance(values, list):
            raise _wrong(path, "a list of items", values)
        if not depth:
            raise ValueError(f"{path}: lists are at most {MAX_DEPTH} deep")
        return L(
            *(
                _item(each, encoding, f"{path}[{index}]", depth - 1)
                for index, each in enumerate(values)
            )
        )
    if name not in _LEAVES:
        raise ValueError(f"{path}: {name!r} is no type; there are L, {', '.join(sorted(_LEAVES))}")
    try:
        return _leaf(_LEAVES[name], values, encoding, path)
    except (ValueError, OverflowError) as error:
        # What the type itself refuses does not know where it stands.
        why = str(error)
        raise ValueError(why if why.startswith(path) else f"{path}: {why}") from None


def _leaf(kind: type[Leaf], values: object, encoding: str, path: str) -> Item:
    if isinstance(values, str):
        if kind is A:
            return A(values, encoding=encoding)
        if kind is J:
            return J(values)
    if not isinstance(values, list):
        what = "a string or a list" if kind in (A, J) else "a list"
        raise _wrong(path, what, values)
    fits: Callable[[object], bool]
    if issubclass(kind, Real):
        return kind.from_raw(
            b"".join(_real_bytes(kind, each, f"{path}[{i}]") for i, each in enumerate(values))
        )
    what, fits = ("true or false", _is_bool) if kind is BOOLEAN else ("a whole number", _is_int)
    for index, each in enumerate(values):
        if not fits(each):
            raise _wrong(f"{path}[{index}]", what, each)
    if issubclass(kind, BOOLEAN | Integer):
        return kind(values)
    return kind.from_raw(B(values).raw)


def _real_bytes(kind: type[Real], value: object, path: str) -> bytes:
    match value:
        case bool():
            pass
        case int() | float():
            return kind(value).raw
        case "inf" | "-inf":
            return kind(_INFINITIES[value]).raw
        case str():
            try:
                item = kind.from_raw(bytes.fromhex(value))
            except ValueError:
                pass
            else:
                if len(item) == 1 and math.isnan(item[0]):
                    return item.raw
        case _:
            pass
    raise _wrong(path, "a number, 'inf', '-inf' or the bytes of a NaN", value)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _wrong(path: str, what: str, value: object) -> ValueError:
    shown = repr(value)
    if len(shown) > 40:
        shown = f"{shown[:40]}…"
    return ValueError(f"{path or 'the item'}: expected {what}, got {shown}")
