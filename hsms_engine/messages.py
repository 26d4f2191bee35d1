"""Short names for the messages that every host and equipment exchange (SEMI E5 and E30).

``S1F13()`` is a :class:`~hsms_engine.message.Message`; the W-bit is set where E5 wants a reply.
Arguments are values in E5's order. Identifiers and values may be items or plain Python; here an
``int`` becomes a U4, the type that most equipment uses, so write ``U2(7)`` where yours differs.
Acknowledge codes are one byte, 0 for yes, as E5's tables have them.

Every function raises ``ValueError`` or ``TypeError`` for a value that no item can be made of.
"""

# Everybody who works with SECS uses these names.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from hsms_engine.message import Message
from hsms_engine.secs2 import BOOLEAN, U4, A, B, Item, L, Plain, item_of

__all__ = [
    "S1F1",
    "S1F2",
    "S1F3",
    "S1F4",
    "S1F11",
    "S1F12",
    "S1F13",
    "S1F14",
    "S1F15",
    "S1F16",
    "S1F17",
    "S1F18",
    "S2F13",
    "S2F14",
    "S2F15",
    "S2F16",
    "S2F17",
    "S2F18",
    "S2F25",
    "S2F26",
    "S2F31",
    "S2F32",
    "S2F33",
    "S2F34",
    "S2F35",
    "S2F36",
    "S2F37",
    "S2F38",
    "S2F39",
    "S2F40",
    "S2F41",
    "S2F42",
    "S5F1",
    "S5F2",
    "S5F3",
    "S5F4",
    "S6F11",
    "S6F12",
    "S6F15",
    "S6F16",
    "S6F19",
    "S6F20",
    "S9F1",
    "S9F3",
    "S9F5",
    "S9F7",
    "S9F9",
    "S9F11",
    "S10F3",
    "S10F4",
    "Groups",
    "Pairs",
    "Value",
]

Value: TypeAlias = Item | Plain | int
"""An argument: an item, or a plain Python value, in which an ``int`` means U4."""

# Type checkers take the type of a mapping's keys exactly, so a union of key types would not fit.
Pairs: TypeAlias = Mapping[Any, Value] | Iterable[tuple[Value, Value]]
"""Values by name: a mapping, or pairs of a name and a value."""

Groups: TypeAlias = Mapping[Any, Iterable[Value]]
"""Several values by id."""

_ENABLE = 0x80
_HEADER_LENGTH = 10


def _item(value: Value) -> Item:
    return item_of(value, integer=U4)


def _list(values: Iterable[Value]) -> L:
    return L(*map(_item, values))


def _pairs(values: Pairs) -> L:
    pairs = values.items() if isinstance(values, Mapping) else values
    return L(*[L(_item(key), _item(value)) for key, value in pairs])


def _groups(groups: Groups) -> L:
    return L(*[L(_item(key), _list(values)) for key, values in groups.items()])


def _identity(mdln: str | None, softrev: str | None) -> L:
    return L() if mdln is None and softrev is None else L(A(mdln or ""), A(softrev or ""))


def S1F1() -> Message:
    """Are You There: the peer answers S1F2."""
    return Message(1, 1, True)


def S1F2(mdln: str | None = None, softrev: str | None = None) -> Message:
    """On Line Data: an equipment gives model and software revision, a host nothing."""
    return Message(1, 2, item=_identity(mdln, softrev))


def S1F3(*svids: Value) -> Message:
    """Selected Equipment Status Request. No id asks for all status variables."""
    return Message(1, 3, True, _list(svids))


def S1F4(*values: Value) -> Message:
    """Selected Equipment Status Data: one value for each id asked for, in that order."""
    return Message(1, 4, item=_list(values))


def S1F11(*svids: Value) -> Message:
    """Status Variable Namelist Request. No id asks for all."""
    return Message(1, 11, True, _list(svids))


def S1F12(*names: tuple[Value, str, str]) -> Message:
    """Status Variable Namelist Reply: id, name and units of each variable."""
    return Message(1, 12, item=L(*[L(_item(svid), name, units) for svid, name, units in names]))


def S1F13(mdln: str | None = None, softrev: str | None = None) -> Message:
    """Establish Communications Request: an equipment says what it is, a host nothing."""
    return Message(1, 13, True, _identity(mdln, softrev))


def S1F14(commack: int = 0, mdln: str | None = None, softrev: str | None = None) -> Message:
    """Establish Communications Acknowledge: 0 accepted, 1 denied, try again."""
    return Message(1, 14, item=L(B(commack), _identity(mdln, softrev)))


def S1F15() -> Message:
    """Request OFF-LINE."""
    return Message(1, 15, True)


def S1F16(oflack: int = 0) -> Message:
    """OFF-LINE Acknowledge: 0 it is."""
    return Message(1, 16, item=B(oflack))


def S1F17() -> Message:
    """Request ON-LINE."""
    return Message(1, 17, True)


def S1F18(onlack: int = 0) -> Message:
    """ON-LINE Acknowledge: 0 accepted, 1 not allowed, 2 already on-line."""
    return Message(1, 18, item=B(onlack))


def S2F13(*ecids: Value) -> Message:
    """Equipment Constant Request. No id asks for all constants."""
    return Message(2, 13, True, _list(ecids))


def S2F14(*values: Value) -> Message:
    """Equipment Constant Data: one value for each id asked for, in that order."""
    return Message(2, 14, item=_list(values))


def S2F15(constants: Pairs) -> Message:
    """New Equipment Constant Send: ``{ecid: value}``, or pairs."""
    return Message(2, 15, True, _pairs(constants))


def S2F16(eac: int = 0) -> Message:
    """New Equipment Constant Acknowledge: 0 done, 1 unknown constant, 2 busy, 3 out of range."""
    return Message(2, 16, item=B(eac))


def S2F17() -> Message:
    """Date and Time Request."""
    return Message(2, 17, True)


def S2F18(time: str) -> Message:
    """Date and Time Data: ``YYYYMMDDhhmmsscc``, or the 12 digits ``YYMMDDhhmmss``."""
    return Message(2, 18, item=A(time))


def S2F25(data: bytes) -> Message:
    """Loopback Diagnostic Request: these bytes come back."""
    return Message(2, 25, True, B(data))


def S2F26(data: bytes) -> Message:
    """Loopback Diagnostic Data: the bytes of the request."""
    return Message(2, 26, item=B(data))


def S2F31(time: str) -> Message:
    """Date and Time Set Request: ``YYYYMMDDhhmmsscc``, or the 12 digits ``YYMMDDhhmmss``."""
    return Message(2, 31, True, A(time))


def S2F32(tiack: int = 0) -> Message:
    """Date and Time Set Acknowledge: 0 set, 1 not done."""
    return Message(2, 32, item=B(tiack))


def S2F33(dataid: Value, reports: Groups) -> Message:
    """Define Report: ``{rptid: [vid, ...]}``. No report at all deletes every report."""
    return Message(2, 33, True, L(_item(dataid), _groups(reports)))


def S2F34(drack: int = 0) -> Message:
    """Define Report Acknowledge: 0 done, 1 no space, 2 format, 3 known RPTID, 4 unknown VID."""
    return Message(2, 34, item=B(drack))


def S2F35(dataid: Value, links: Groups) -> Message:
    """Link Event Report: ``{ceid: [rptid, ...]}``."""
    return Message(2, 35, True, L(_item(dataid), _groups(links)))


def S2F36(lrack: int = 0) -> Message:
    """Link Event Report Acknowledge: 0 done, 1 no space, 2 format, 3 linked, 4 CEID, 5 RPTID."""
    return Message(2, 36, item=B(lrack))


def S2F37(enable: bool, *ceids: Value) -> Message:
    """Enable or disable event reports. No id means all events."""
    return Message(2, 37, True, L(BOOLEAN(enable), _list(ceids)))


def S2F38(erack: int = 0) -> Message:
    """Enable/Disable Event Report Acknowledge: 0 done, 1 unknown CEID."""
    return Message(2, 38, item=B(erack))


def S2F39(dataid: Value, datalength: Value) -> Message:
    """Multi-block Inquire: may a message of this many bytes be sent?"""
    return Message(2, 39, True, L(_item(dataid), _item(datalength)))


def S2F40(grant: int = 0) -> Message:
    """Multi-block Grant: 0 yes, 1 busy, 2 no space, 3 duplicate DATAID."""
    return Message(2, 40, item=B(grant))


def S2F41(rcmd: Value, parameters: Pairs = ()) -> Message:
    """Host Command Send: ``S2F41("START", {"PPID": "RECIPE1"})``."""
    return Message(2, 41, True, L(_item(rcmd), _pairs(parameters)))


def S2F42(hcack: int = 0, faults: Mapping[Any, int] | None = None) -> Message:
    """Host Command Acknowledge: 0 done, 4 will be done, and what is wrong with which parameter.

    ``faults`` are CPACK codes by parameter name: 1 unknown name, 2 bad value, 3 bad format.
    """
    parameters = [L(_item(name), B(cpack)) for name, cpack in (faults or {}).items()]
    return Message(2, 42, item=L(B(hcack), L(*parameters)))


def S5F1(alcd: int, alid: Value, altx: str = "", wait: bool = True) -> Message:
    """Alarm Report Send. Bit 8 of ``alcd`` (0x80) says that the alarm is set, else cleared."""
    return Message(5, 1, wait, L(B(alcd), _item(alid), A(altx)))


def S5F2(ackc5: int = 0) -> Message:
    """Alarm Report Acknowledge: 0 accepted."""
    return Message(5, 2, item=B(ackc5))


def S5F3(enable: bool, alid: Value | None = None) -> Message:
    """Enable or disable an alarm; without id, all of them."""
    alarm = U4() if alid is None else _item(alid)
    return Message(5, 3, True, L(B(_ENABLE if enable else 0), alarm))


def S5F4(ackc5: int = 0) -> Message:
    """Enable/Disable Alarm Acknowledge: 0 done."""
    return Message(5, 4, item=B(ackc5))


def S6F11(dataid: Value, ceid: Value, reports: Groups, wait: bool = True) -> Message:
    """Event Report Send: ``{rptid: [value, ...]}``."""
    return Message(6, 11, wait, L(_item(dataid), _item(ceid), _groups(reports)))


def S6F12(ackc6: int = 0) -> Message:
    """Event Report Acknowledge: 0 accepted."""
    return Message(6, 12, item=B(ackc6))


def S6F15(ceid: Value) -> Message:
    """Event Report Request: the reports linked to an event, now."""
    return Message(6, 15, True, _item(ceid))


def S6F16(dataid: Value, ceid: Value, reports: Groups) -> Message:
    """Event Report Data: as S6F11."""
    return Message(6, 16, item=L(_item(dataid), _item(ceid), _groups(reports)))


def S6F19(rptid: Value) -> Message:
    """Individual Report Request."""
    return Message(6, 19, True, _item(rptid))


def S6F20(*values: Value) -> Message:
    """Individual Report Data: the values of the report, in its order."""
    return Message(6, 20, item=_list(values))


def _fault(function: int, header: bytes) -> Message:
    if len(header) != _HEADER_LENGTH:
        raise ValueError(f"a message header has {_HEADER_LENGTH} bytes, not {len(header)}")
    return Message(9, function, item=B(header))


def S9F1(mhead: bytes) -> Message:
    """Unrecognized Device ID, with the 10 header bytes of the message."""
    return _fault(1, mhead)


def S9F3(mhead: bytes) -> Message:
    """Unrecognized Stream Type, with the 10 header bytes of the message."""
    return _fault(3, mhead)


def S9F5(mhead: bytes) -> Message:
    """Unrecognized Function Type, with the 10 header bytes of the message."""
    return _fault(5, mhead)


def S9F7(mhead: bytes) -> Message:
    """Illegal Data, with the 10 header bytes of the message."""
    return _fault(7, mhead)


def S9F9(shead: bytes) -> Message:
    """Transaction Timer Timeout, with the 10 header bytes of the primary nobody answered."""
    return _fault(9, shead)


def S9F11(mhead: bytes) -> Message:
    """Data Too Long, with the 10 header bytes of the message."""
    return _fault(11, mhead)


def S10F3(tid: int, text: str) -> Message:
    """Terminal Display, Single: text for a terminal of the equipment."""
    return Message(10, 3, True, L(B(tid), A(text)))


def S10F4(ackc10: int = 0) -> Message:
    """Terminal Display, Single Acknowledge: 0 shown, 1 not shown, 2 no such terminal."""
    return Message(10, 4, item=B(ackc10))
