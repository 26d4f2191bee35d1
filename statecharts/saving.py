"""A snapshot as plain JSON values, for a program that is started again.

What is read back may come from anywhere: each check here says what is wrong, and names the key and
its value where it is about one key. ``Machine.save`` writes, and ``Machine.restore`` reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import fields, is_dataclass
from enum import Enum

from .declare import Chart
from .refusals import short

# Grows when the keys of a saved snapshot, or their meaning, change.
LAYOUT = 1
# Longer numbers are not written out in messages.
_LONGEST_NUMBER = 64


class SavedError(ValueError):
    """What was saved cannot be restored, and the message says what is wrong with it."""


def digest(chart: Chart) -> str:
    """The SHA-256 of a chart as it is declared: another one for each chart that is not equal.

    The fields of effects must be numbers, texts, enumerations or parts made of these.
    """
    return hashlib.sha256(_written(chart).encode()).hexdigest()


def _written(part: object) -> str:
    match part:
        case Enum():
            return f"{type(part).__name__}.{part.name}"
        case tuple():
            return f"({', '.join(map(_written, part))})"
        case _ if is_dataclass(part):
            values = [_written(getattr(part, each.name)) for each in fields(part) if each.compare]
            return f"{type(part).__name__}({', '.join(values)})"
        case _:
            return repr(part)


def shown(value: object) -> str:
    """A value for a message: short, whatever it is."""
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case int() if value.bit_length() > _LONGEST_NUMBER:
            return f"a number of {value.bit_length()} bits"
        case None | bool() | int() | float() | str():
            return short(value)
        case _:
            return f"a Python {type(value).__name__}"


def each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The object of these pairs, for ``json.loads(..., object_pairs_hook=each_once)``."""
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise SavedError(f"the key {shown(key)} is there twice")
        found[key] = value
    return found


def read_object(name: str, value: object, keys: Collection[str]) -> dict[str, object]:
    """``value``, when it is an object with exactly these keys."""
    if type(value) is not dict:
        raise SavedError(f"{name} is {shown(value)}, not an object with {', '.join(keys) or '{}'}")
    for key in value:
        if key not in keys:
            known = ", ".join(keys) or "none"
            raise SavedError(f"{name} has the unknown key {shown(key)}; its keys are {known}")
    for key in keys:
        if key not in value:
            raise SavedError(f"{name} has no {key}; its keys are {', '.join(keys)}")
    return value


def read_layout(name: str, value: object, layout: int, keys: Collection[str]) -> dict[str, object]:
    """``value``, when it is an object of this layout with exactly these keys and ``layout``."""
    if type(value) is dict and "layout" in value:
        # First, because another layout has other keys.
        read_same(f"{name}.layout", value["layout"], layout, "another version has saved it")
    return read_object(name, value, ("layout", *keys))


def read_same(name: str, value: object, wanted: int | str, why: str) -> None:
    """Raise ``SavedError``, which says ``why``, when ``value`` is not ``wanted``."""
    if type(value) is not type(wanted) or value != wanted:
        raise SavedError(f"{name}={shown(value)} is not {wanted!r}: {why}")


def read_whole(name: str, value: object, lowest: int, highest: int) -> int:
    """``value``, when it is a whole number in ``lowest..highest``."""
    if type(value) is not int or not lowest <= value <= highest:
        raise SavedError(f"{name}={shown(value)} is not a whole number in {lowest}..{highest}")
    return value


def read_number(name: str, value: object, lowest: float, highest: float) -> float:
    """``value``, when it is a number in ``lowest..highest``."""
    match value:
        case bool():
            pass
        case int() | float() if lowest <= value <= highest:
            return float(value)
        case _:
            pass
    raise SavedError(f"{name}={shown(value)} is not a number in {lowest:g}..{highest:g}")


def read_flag(name: str, value: object) -> bool:
    """``value``, when it is true or false."""
    match value:
        case bool():
            return value
        case _:
            raise SavedError(f"{name}={shown(value)} is not true or false")
