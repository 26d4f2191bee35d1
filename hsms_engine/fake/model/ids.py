"""Ids: of variables, events, reports, alarms, traces, commands.

Hosts write one id in any format: ``U1 7``, ``U4 7``, ``A "7"``. So ids are compared by value: an id
is a number, or a text that is none.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

__all__ = ["DIGITS", "Id", "id_of", "parse_id"]

Id: TypeAlias = int | str
"""A number, or a text that is no number."""

DIGITS: Final = 20
"""No format has a number of more digits."""

_NUMBER: Final = re.compile(rf"-?[0-9]{{1,{DIGITS}}}")
_HEX: Final = re.compile(r"0[xX][0-9a-fA-F]{1,16}")


def id_of(value: int | str) -> Id:
    """The id that a message has as a number or as text: ``"0007"`` is 7."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    return value


def parse_id(text: str) -> Id:
    """The id that somebody has written: as ``id_of``, and ``0x3E9`` is 1001."""
    return int(text, 16) if _HEX.fullmatch(text) else id_of(text)
