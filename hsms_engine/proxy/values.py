"""The values in a fault: how each is written, which are allowed, and how each is shown.

A dataclass of a fault names the kind of each field in its annotation. So a fault from a text and
one that a program makes are held to the same ranges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hsms_engine.proxy.patterns import PATTERNS, is_frame, is_pattern

LONGEST: Final = 86_400.0
"""The longest time, in seconds."""

_NUMBER = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)([A-Za-z%]*)", re.ASCII)
_SECONDS: Mapping[str, float] = {"": 1, "s": 1, "ms": 0.001}
_BYTES: Mapping[str, float] = {"": 1, "B": 1, "kB": 1_000, "MB": 1_000_000}
_RATES: Mapping[str, float] = {
    **_BYTES,
    "bit": 1 / 8,
    "kbit": 1_000 / 8,
    "Mbit": 1_000_000 / 8,
}
_MOST_BYTES: Final = 1_000_000_000_000


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value. ``read`` gives None for a text that is none of it.

    ``key`` is the word before it in a text, when the name of the field is another one.
    """

    metavar: str
    allowed: str
    read: Callable[[str], object | None]
    fits: Callable[[object], bool]
    show: Callable[[Any], str] = str
    key: str | None = None


def _scaled(text: str, units: Mapping[str, float]) -> float | None:
    """``64kB`` as a number, by the factor of its unit."""
    found = _NUMBER.fullmatch(text)
    if found is None or found[2] not in units:
        return None
    return float(found[1]) * units[found[2]]


def _is_number(value: object, lowest: float, highest: float) -> bool:
    return isinstance(value, int | float) and lowest <= value <= highest


def _is_whole(value: object, lowest: int, highest: int) -> bool:
    return isinstance(value, int) and lowest <= value <= highest


def _plain(value: float) -> str:
    # As short as it can be, and never with an exponent.
    text = f"{value:.9f}".rstrip("0").rstrip(".")
    return text or "0"


def _seconds(lowest: float, key: str | None = None) -> Kind:
    return Kind(
        "SECONDS",
        f"a time in {lowest:g}..{LONGEST:g} seconds, such as 0.2, 200ms or 2s",
        lambda text: _scaled(text, _SECONDS),
        lambda value: _is_number(value, lowest, LONGEST),
        _plain,
        key,
    )


def _whole_bytes(text: str) -> int | None:
    value = _scaled(text, _BYTES)
    return int(value) if value is not None and value.is_integer() else None


def _percent(text: str) -> float | None:
    value = _scaled(text, {"%": 1})
    return None if value is None else value / 100


def _whole(metavar: str, lowest: int, highest: int) -> Kind:
    def read(text: str) -> int | None:
        if re.fullmatch(r"0x[0-9A-Fa-f]{1,8}", text):
            return int(text, 16)
        return int(text) if re.fullmatch(r"[0-9]{1,10}", text) else None

    return Kind(
        metavar,
        f"a whole number in {lowest}..{highest}",
        read,
        lambda value: _is_whole(value, lowest, highest),
    )


def one_of(metavar: str, *choices: str, key: str | None = None) -> Kind:
    """A kind with these values only."""
    return Kind(
        metavar,
        f"one of {', '.join(choices)}",
        lambda text: text,
        lambda value: value in choices,
        key=key,
    )


def _connections(text: str) -> tuple[int, int | None] | None:
    found = re.fullmatch(r"([0-9]{1,7})(?:(\.\.)([0-9]{1,7})?)?", text)
    if found is None:
        return None
    first = int(found[1])
    if not found[2]:
        return first, first
    return first, int(found[3]) if found[3] else None


def _are_connections(value: object) -> bool:
    match value:
        case (int(first), None):
            return first >= 1
        case (int(first), int(last)):
            return 1 <= first <= last
        case _:
            return False


def _show_connections(value: tuple[int, int | None]) -> str:
    first, last = value
    if last is None:
        return f"{first}.."
    return f"{first}" if first == last else f"{first}..{last}"


SECONDS: Final = _seconds(0.0)
LASTING: Final = _seconds(0.001, "for")
IDLE: Final = _seconds(0.001)
RATE: Final = Kind(
    "RATE",
    f"bytes per second in 1..{_MOST_BYTES}, such as 1000, 64kB, 512kbit or 10Mbit",
    lambda text: _scaled(text, _RATES),
    lambda value: _is_number(value, 1, _MOST_BYTES),
    _plain,
)
BYTES: Final = Kind(
    "BYTES",
    f"a number of bytes in 1..{_MOST_BYTES}, such as 100 or 64kB",
    _whole_bytes,
    lambda value: _is_whole(value, 1, _MOST_BYTES),
)
PERCENT: Final = Kind(
    "PERCENT",
    "a share such as 1%, in 0%..100% (in a program 0.01, in 0..1)",
    _percent,
    lambda value: _is_number(value, 0, 1),
    lambda value: f"{_plain(value * 100)}%",
)
COUNT: Final = _whole("N", 1, 1_000_000)
NUMBER: Final = _whole("NUMBER", 0, 0xFFFF_FFFF)
CONNECTIONS: Final = Kind(
    "N|A..B|A..",
    "the numbers of connections, from 1 on (in a program (3, None) for 3..)",
    _connections,
    _are_connections,
    _show_connections,
    "connection",
)
PATTERN: Final = Kind(
    "PATTERN",
    f"one of {', '.join(PATTERNS)}, or a message such as S6F11",
    lambda text: text,
    is_pattern,
)
FRAME: Final = Kind(
    "FRAME",
    "a control message, S1F1 or S1F1W (with W), or bytes such as 0x00000000",
    lambda text: text,
    is_frame,
)
