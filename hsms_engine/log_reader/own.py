"""The log of messages that this package writes (``hsms_engine.traffic``), read back exactly.

A message is one record with its header, and at DEBUG one with its body as SML, and with
``log_hex`` one with its bytes. Those of several links may be mixed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from hsms_engine.log_reader.entries import (
    CutMessage,
    Entry,
    LoggedControl,
    LoggedMessage,
    LogTime,
    NotUnderstood,
    beginning,
)
from hsms_engine.log_reader.stamps import Stamp
from hsms_engine.message import Message
from hsms_engine.secs2 import encode
from hsms_engine.sml.errors import OffsetError
from hsms_engine.sml.parser import Parser
from hsms_engine.wire import PREFIX_BYTES

__all__ = ["OwnLog"]

# The name of a control message may have a status; a frame of no known type has numbers.
_NAME: Final = (
    r"S[0-9]{1,3}F[0-9]{1,3}|[A-Z][a-z]+\.(?:req|rsp)(?: [0-9]{1,3})?"
    r"|(?:PType [0-9]{1,3} )?SType [0-9]{1,3}"
)
_HEAD: Final = re.compile(
    rf" (?P<direction>sent|received) (?P<name>{_NAME})(?P<wait> W)?"
    r" session=(?P<session>[0-9]{1,5}) system=(?P<system>[0-9A-F]{8})"
    r" length=(?P<length>[0-9]{1,10})"
    r"(?: (?:[0-9.]+|inf|nan) ms)?(?:, (?:passed over|tolerated): .{1,800})?$"
)
# The longest end of a line that begins as a head does.
_LONGEST: Final = 1_000
_DATA: Final = re.compile(r"S([0-9]{1,3})F([0-9]{1,3})")
# A line of the body is of another level than the one of the header.
_LEVEL: Final = re.compile(r"\s*\b(?:INFO|DEBUG)\b:?\s*")
_CUT: Final = "..."
_NO_SECS: Final = "no SECS-II, "
# The most messages that wait for their bodies: one for each link, as a rule.
_MOST_OPEN: Final = 64

Direction = Literal["sent", "received"]


@dataclass(slots=True)
class Head:
    """The header of one message, while its body may follow."""

    time: LogTime | None
    line: int
    link: str
    """The link; in a text, all that is before the direction but time and level."""
    direction: Direction
    name: str
    wait: bool
    session_id: int
    system: str
    length: int
    texts: dict[str, str] = field(default_factory=dict)
    """What the log has of the body, as ``body`` and as ``hex``."""

    @property
    def marker(self) -> str:
        """What the lines of the body have between link and text."""
        return f" {self.direction} {self.name} system={self.system} "

    def entries(self, text_encoding: str | None) -> Iterator[Entry]:
        """The message, and what is wrong with it."""
        data = _DATA.fullmatch(self.name)
        system = int(self.system, 16)
        if data is None:
            yield LoggedControl(
                self.time, self.direction, self.name, self.session_id, system, self.line
            )
            return
        stream, function = int(data[1]), int(data[2])
        size = self.length - PREFIX_BYTES
        body, why = self._body(size, text_encoding)
        if body is None:
            shown = self.texts.get("body", self.texts.get("hex", ""))
            yield CutMessage(
                self.time,
                self.direction,
                self.name,
                self.wait,
                self.session_id,
                system,
                self.line,
                why,
                shown,
            )
            return
        message = Message.received(
            stream, function, self.wait, body, self.session_id, system, text_encoding
        )
        yield LoggedMessage(self.time, self.direction, message, self.line)
        if len(body) != size:
            yield NotUnderstood(
                self.line,
                1,
                beginning(self.texts["body"]),
                f"the body was sent with other length bytes: {size} bytes, and {len(body)} as this "
                "package writes it; log_hex=True logs the bytes themselves",
            )

    def _body(self, size: int, text_encoding: str | None) -> tuple[bytes | None, str]:
        """The bytes of the body, or None and why they are not known."""
        if size == 0:
            return b"", ""
        text, digits = self.texts.get("body"), self.texts.get("hex")
        if text is None and digits is None:
            return None, f"its body of {size} bytes is not in the log"
        if text is not None and text.startswith(_NO_SECS):
            # The reason has a colon before the bytes, and may have others.
            digits = digits or text.rpartition(": ")[2]
        if digits is not None and not digits.endswith(_CUT):
            try:
                data = bytes.fromhex(digits)
            except ValueError:
                return None, "its body is no hexadecimal text"
            if len(data) != size:
                return (
                    None,
                    f"its body has {len(data)} bytes in the log, and its header says {size}",
                )
            return data, ""
        if text is None or text.startswith(_NO_SECS) or text.endswith(_CUT):
            return None, f"its body of {size} bytes is cut"
        try:
            body = _body_of(text, text_encoding)
        except OffsetError as error:
            return None, f"its body is no SML: {error.problem}"
        if len(body) != size and not _is_clear(text, text_encoding):
            why = (
                f"its body would have {len(body)} bytes in {text_encoding}, and its header says "
                f"{size}: give the text_encoding of the link; log_hex=True logs the bytes"
            )
            return None, why
        return body, ""


class OwnLog:
    """The messages of our log whose bodies may still follow. At most ``_MOST_OPEN`` are kept.

    ``text_encoding`` is that of the links, and fit for them.
    """

    def __init__(self, text_encoding: str | None) -> None:
        self._text_encoding = text_encoding
        self._open: dict[str, Head] = {}

    def line(self, text: str, number: int, stamp: Stamp | None) -> list[Entry] | None:
        """What a line of text brings; None when it is none of ours."""
        if " system=" not in text:
            return None
        # First, because a body may have anything in it, also what looks like a header.
        if self._open and self._take(text, stamp):
            return []
        head = _HEAD.search(text, max(len(text) - _LONGEST, 0)) if " length=" in text else None
        if head is None:
            return None
        return self._begin(
            Head(
                None if stamp is None else stamp.time,
                number,
                _link(text[: head.start()], stamp),
                "sent" if head["direction"] == "sent" else "received",
                head["name"],
                head["wait"] is not None,
                int(head["session"]),
                head["system"],
                int(head["length"]),
            )
        )

    def record(
        self, facts: Mapping[str, object], number: int, time: LogTime | None
    ) -> list[Entry] | None:
        """What the facts of a record bring written as JSON; None: none of ours."""
        match facts:
            case {
                "link": str(link),
                "direction": "sent" | "received" as direction,
                "message_name": str(name),
                "wait": bool(wait),
                "session_id": int(session),
                "system_bytes": str(system),
                "length": int(length),
            } if re.fullmatch("[0-9A-F]{8}", system):
                pass
            case _:
                return None
        texts = {kind: text for kind in ("body", "hex") if isinstance(text := facts.get(kind), str)}
        head = Head(time, number, link, direction, name, wait, session, system, length)
        if not texts:
            return self._begin(head)
        known, done = self._open.get(link), list[Entry]()
        if known is None or known.marker != head.marker:
            # Its first record is in another file.
            known, done = head, self._begin(head)
        known.texts |= texts
        return done

    def end(self) -> list[Entry]:
        """The messages that are still open."""
        encoding = self._text_encoding
        done = [entry for head in self._open.values() for entry in head.entries(encoding)]
        self._open.clear()
        return sorted(done, key=lambda entry: entry.line)

    def _begin(self, head: Head) -> list[Entry]:
        """A new message: the one before it on this link is complete."""
        before = self._open.pop(head.link, None)
        if before is None and len(self._open) >= _MOST_OPEN:
            before = self._open.pop(next(iter(self._open)))
        self._open[head.link] = head
        return [] if before is None else list(before.entries(self._text_encoding))

    def _take(self, text: str, stamp: Stamp | None) -> bool:
        """Keep the text of a body with its message."""
        for head in self._open.values():
            for kind in ("body", "hex"):
                marker = f"{head.marker}{kind}: "
                at = text.find(marker)
                while at >= 0:
                    if _link(text[:at], stamp) == head.link:
                        head.texts[kind] = text[at + len(marker) :]
                        return True
                    at = text.find(marker, at + 1)
        return False


def _body_of(text: str, text_encoding: str | None) -> bytes:
    """The bytes of a body that is logged as SML. Raises ``OffsetError``.

    Some equipment sends several items.
    """
    parser = Parser(text, text_encoding=text_encoding)
    items = [parser.item()]
    while not parser.is_at_end:
        items.append(parser.item())
    return b"".join(map(encode, items))


def _is_clear(text: str, text_encoding: str | None) -> bool:
    """Whether the text has the same bytes in any encoding."""
    if text_encoding is None or text.isascii():
        return True
    try:
        _body_of(text, None)
    except OffsetError:
        return False
    return True


def _link(before: str, stamp: Stamp | None) -> str:
    """What is before the direction, as all lines of one link have it: without time and level."""
    if stamp is not None:
        before = f"{before[: stamp.start]} {before[stamp.end :]}"
    return _LEVEL.sub(" ", before, count=1)
