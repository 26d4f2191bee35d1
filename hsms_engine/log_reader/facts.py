"""What stands beside a message in a log: its direction, its system bytes, its session."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from hsms_engine.log_reader.entries import LogDirection

_SENT: Final = r"""
    (?i: send(?:ing|ed|s)? | sent | snd | tx | transmit(?:s|ted|ting)? | outgoing | outbound
       | message[ _]?out | try-send | writes? | writing | written | gesendet | sende[nt]? )
    | OUT | Out(?=\s*[\]:)|>]) | (?<=[\[(|]) out (?=[\])|])
"""
_RECEIVED: Final = r"""
    (?i: recv(?:d|ed)? | rece?ive[sd]? | recieve[sd]? | receiving | rcvd? | rx | incoming | inbound
       | message[ _]?in | reads? | empfangen | empfang | empfängt )
    | IN | In(?=\s*[\]:)|>]) | (?<=[\[(|]) in (?=[\])|])
"""
_HOST: Final = r"(?i: h | host )"
_TOOL: Final = r"(?i: e | eq | eqp | eqpt | equip | equipment | tool )"
_TO: Final = r"\s? (?: [-=]{1,3}> | → | ⇒ | (?i:\s to \s) ) \s?"
_FROM: Final = r"\s? (?: <[-=]{1,3} | ← | ⇐ | (?i:\s from \s) ) \s?"
_ADDRESS: Final = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]{1,5})?"
_DIRECTION: Final = re.compile(
    rf"""
      (?P<address> {_ADDRESS} \s?
                   (?: [-=]{{1,3}}>|<[-=]{{1,3}}|>{{1,3}}|<{{1,3}}|→|← ) \s? {_ADDRESS} )
    | (?<![\w-]) (?: (?P<down> {_HOST}{_TO}{_TOOL} | {_TOOL}{_FROM}{_HOST} )
                  | (?P<up> {_TOOL}{_TO}{_HOST} | {_HOST}{_FROM}{_TOOL} ) ) (?![\w-])
    | (?<![\w.=/-]) (?: (?P<sent> {_SENT} ) | (?P<received> {_RECEIVED} ) ) (?![\w./-])
    | (?P<right> (?<![<=>-]) (?: [-=]{{1,4}}>{{1,2}} | >{{2,4}} | → | ⇒ ) )
    | (?P<left> (?: <{{1,2}}[-=]{{1,4}} | <{{2,4}} | ← | ⇐ ) (?![<=>-]) )
    """,
    re.VERBOSE,
)
# One sign is enough where nothing else stands between it and the message.
_SIGN: Final = re.compile(r"(?:^|[\s\])}:|])([<>])\s*$|(?:^|[\s\]):|])([<>])\s+\S*[{(\[]")
_GROUPS: Final[dict[str, LogDirection]] = {
    "sent": "sent",
    "received": "received",
    "right": "sent",
    "left": "received",
    "down": "H->E",
    "up": "E->H",
}
_FOUR_BYTES: Final = r"[0-9A-Fa-f]{2}(?:[ :-][0-9A-Fa-f]{2}){3}(?![0-9A-Fa-f])"
# The ten bytes of a header, as some logs have them: 00 03|81 0D|00 00|00 00 00 2A.
_PAIR: Final = r"[0-9A-Fa-f]{2}[ ][0-9A-Fa-f]{2}"
_HEADER: Final = rf"(?<![\w|]) {_PAIR} \| {_PAIR} \| {_PAIR} \|"
_NUMBER: Final = r"0[xX][0-9A-Fa-f]{1,8}|[0-9A-Fa-f]{8}|[0-9]{1,10}"
_SYSTEM: Final = re.compile(
    rf"""
    (?<![A-Za-z_]) (?i: system[ _-]?bytes? | system | sys[ _-]?bytes? | sysb | sb
        | transaction[ _-]?id | transaction | trans(?:action)?[ _-]?id | tid | txid | xid | id )
      (?: \s*+ [:=]\s*+ | \s*+ (?=[\[(#]) | [ ](?=0[xX]|[0-9A-F]{{8}}\b) ) [\[("'#]?
      (?P<value> {_FOUR_BYTES} | (?: {_NUMBER} ) (?![0-9A-Za-z]) )
    | {_HEADER} (?P<header> {_FOUR_BYTES} )
    | [\[(] (?P<bare> 0[xX][0-9A-Fa-f]{{5,8}} | [0-9A-F]{{8}} ) [\])]
    """,
    re.VERBOSE,
)
_SESSION: Final = re.compile(
    rf"""
    (?<![A-Za-z_]) (?i: session[ _-]?id | session | device[ _-]?id | device
        | dev[ _-]?id | dev | sid )
      \s*+ [:=]\s*+ [\["'(]? (0[xX][0-9A-Fa-f]{{1,4}} | [0-9]{{1,5}}) (?![0-9A-Za-z.:])
    | (?={_HEADER}) ([0-9A-Fa-f]{{2}}) [ ] ([0-9A-Fa-f]{{2}})
    """,
    re.VERBOSE,
)
_WAIT: Final = re.compile(
    r"""
    (?<![\w.-]) (?: (?: W(?:[- ]?[Bb]it)?
                      | (?i: wbit | wait | reply[ _]?expected | require_response ) )
                    \s*+ [:=]\s*+ (?P<value> (?i: 1 | true | yes | on | 0 | false | no | off ) )
                | [Ww] (?: -?[Bb]it )? ) (?![\w=-])
    """,
    re.VERBOSE,
)
_NO: Final = frozenset({"0", "false", "no", "off"})
_HEX_DIGITS: Final = 8
_BLANKS: Final = str.maketrans("", "", " :-")
_HIGHEST_SESSION: Final = 0xFFFF
_HIGHEST_SYSTEM: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Facts:
    """What a line says of the message that it belongs to; None for what it does not say."""

    direction: LogDirection | None = None
    system: int | None = None
    session: int | None = None
    wait: bool | None = None

    def __or__(self, other: Facts) -> Facts:
        """These facts, and those of ``other`` where these have none."""
        if self is NO_FACTS or self == NO_FACTS:
            return other
        if other == NO_FACTS:
            return self
        return replace(
            self,
            direction=self.direction or other.direction,
            system=other.system if self.system is None else self.system,
            session=other.session if self.session is None else self.session,
            wait=other.wait if self.wait is None else self.wait,
        )


NO_FACTS: Final = Facts()


def facts_of(before: str, behind: str = "", wait: bool = False) -> Facts:
    """The facts in what stands before a message and behind its name.

    ``wait``: whether its name has the W-bit.
    """
    found = _facts_before(before)
    if not behind or behind.isspace():
        return replace(found, wait=True) if wait else found
    return Facts(
        found.direction or _first(behind),
        _system(behind) if found.system is None else found.system,
        _session(behind) if found.session is None else found.session,
        wait or _wait(behind),
    )


# What stands before messages is the same for many of them.
@lru_cache(maxsize=256)
def _facts_before(text: str) -> Facts:
    return Facts(_last(text), _system(text), _session(text), None)


def without_facts(text: str) -> str:
    """What is left of a text when all that is known is taken out."""
    for known in (_DIRECTION, _SYSTEM, _SESSION, _WAIT):
        text = known.sub(" ", text)
    return text


def _last(text: str) -> LogDirection | None:
    """The direction that is nearest to the end."""
    found: LogDirection | None = None
    for match in _DIRECTION.finditer(text):
        # An arrow between addresses shows the way of the bytes, not which end wrote the log.
        found = _GROUPS.get(match.lastgroup or "", found)
    if found is None and (sign := _SIGN.search(text)):
        return "sent" if (sign[1] or sign[2]) == ">" else "received"
    return found


def _first(text: str) -> LogDirection | None:
    for match in _DIRECTION.finditer(text):
        if match.lastgroup in _GROUPS:
            return _GROUPS[match.lastgroup]
    return None


def _system(text: str) -> int | None:
    match = _SYSTEM.search(text)
    if match is None:
        return None
    value = number(match["value"] or match["bare"] or match["header"])
    return value if value <= _HIGHEST_SYSTEM else None


def _session(text: str) -> int | None:
    match = _SESSION.search(text)
    if match is None:
        return None
    value = number(match[1]) if match[1] else int(f"{match[2]}{match[3]}", 16)
    return value if value <= _HIGHEST_SESSION else None


def _wait(text: str) -> bool | None:
    match = _WAIT.search(text)
    return None if match is None else (match["value"] or "1").lower() not in _NO


def number(text: str) -> int:
    """``0x2A``, ``0000002A`` and ``00 00 00 2A`` are hexadecimal: eight digits are four bytes."""
    digits = text.translate(_BLANKS)
    if digits[:2] in {"0x", "0X"}:
        return int(digits, 16)
    return int(digits, 16 if len(digits) == _HEX_DIGITS or not digits.isdigit() else 10)
