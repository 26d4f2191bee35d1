"""Kinds of data items, and the data items of several streams; each stream has its own too.

Names, formats and codes are those that the public documents of tools, hosts and libraries tell of
SEMI E5; what the words mean is said in our own. Where these documents disagree or are silent,
the codes are left open (``others``), or there are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hsms_engine.messages.layout import Data, Format
from hsms_engine.secs2 import BOOLEAN, INTEGERS, REALS, A, B, C, J, L

ID: Final[tuple[Format, ...]] = (A, *INTEGERS)
LEAF: Final[tuple[Format, ...]] = (A, B, BOOLEAN, *INTEGERS, *REALS)
FREE: Final[tuple[Format, ...]] = (L, *LEAF, C, J)
LIMIT: Final[tuple[Format, ...]] = (A, BOOLEAN, *INTEGERS, *REALS)

OTHER_ERROR: Final = "another error"


def text(name: str, about: str, longest: int | None = None) -> Data:
    """Text of at most so many bytes."""
    return Data(name, about, longest=longest)


def identifier(name: str, about: str) -> Data:
    """The name or the number of something."""
    return Data(name, about, ID)


def number(name: str, about: str) -> Data:
    """A whole number of any size."""
    return Data(name, about, INTEGERS)


def byte(name: str, about: str) -> Data:
    """A number in one byte of binary data."""
    return Data(name, about, (B,))


def code(name: str, about: str, codes: Mapping[int, str], others: str = "") -> Data:
    """A number in one byte, of which each value has a meaning."""
    return Data(name, about, (B,), codes=codes, others=others)


def octets(name: str, about: str, elements: int | None = None) -> Data:
    """Bytes, of any number or exactly so many."""
    return Data(name, about, (B,), elements)


def value(name: str, about: str, formats: tuple[Format, ...] = FREE) -> Data:
    """Whatever the equipment makes of it."""
    return Data(name, about, formats, None)


CEID = identifier("CEID", "an event that the equipment collects data for")
DATAID = identifier("DATAID", "the number of one sending of data, which ties its messages together")
DATALENGTH = number("DATALENGTH", "how many bytes the message would have")
ERRCODE = number("ERRCODE", "what kind of error it is")
ERRTEXT = text("ERRTEXT", "the error in words", 120)
PPID = Data("PPID", "the name of a process program", (A, B), None, 120)
RPTID = identifier("RPTID", "a report: a list of variables")
SV = value("SV", "the value of a status variable")
SVID = identifier("SVID", "a status variable")
TRID = identifier("TRID", "a trace: variables that are read again and again")
UNITS = text("UNITS", "the unit of a value")
V = value("V", "the value of a variable")
VID = identifier("VID", "a variable: of status, data, or a constant")
