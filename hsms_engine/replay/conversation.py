"""What the two ends of a link have said to each other in a recording, in its order.

Invariants:

* A recording is read twice: once to know that it can be played, before anything is sent, and once
  while it is played. Each time it is streamed. What its writer adds in between is not played: the
  other side may be that writer, and there would be no end.
* Of a transaction that was begun long ago nothing is known any more: ``REMEMBERED`` are known.
* Only what went through a session is played: a message that was passed over is counted.
"""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Literal, TypeAlias, Unpack, assert_never

import trio

from hsms_engine.difference import head_of
from hsms_engine.message import Message
from hsms_engine.protocol.stream_nine import reported_header
from hsms_engine.recording import (
    FrameRecord,
    GoneRecord,
    HeadRecord,
    LinkRecord,
    LostRecord,
    Record,
    Unread,
    parts_of,
    read,
)
from hsms_engine.settings import Settings, SettingsChanges
from hsms_engine.spelling import hint
from hsms_engine.wire import HEADER_LENGTH, SECS_II, WAIT, SType

Role: TypeAlias = Literal["host", "equipment"]
"""The side to play."""

REMEMBERED: Final = 10_000
"""Primaries of one connection that may still be answered."""
# Between two looks for a signal.
_STRETCH: Final = 1_000
# What cannot be read, each told by itself, and the links that an error lists.
_MOST_TOLD: Final = 20


@dataclass(frozen=True, slots=True)
class Said:
    """A data message. ``number`` counts those that are played, from 1; ``at`` is as recorded."""

    number: int
    connection: int
    """The number of its connection, of those that are played, from 1."""
    at: float
    pause: float
    """Seconds since the message before it on this connection, or since that was selected."""
    is_ours: bool
    """Whether the side that is played has said it."""
    message: Message
    about: int | None = None
    """The number of the primary that it answers, or that a report of stream 9 is about."""
    body: Literal["masked", "left out", "not kept"] | None = None
    """Why ``message`` has not the body that it had."""

    def __str__(self) -> str:
        return f"message {self.number} of the recording ({head_of(self.message)}, at {self.at!r})"


@dataclass(frozen=True, slots=True)
class Separated:
    """A connection was ended with Separate.req, by the side that is played or the other one."""

    connection: int
    at: float
    pause: float
    is_ours: bool

    def __str__(self) -> str:
        return f"Separate.req of the recording (at {self.at!r})"


Turn: TypeAlias = Said | Separated
"""What one of the two ends has done."""


class UnplayableError(ValueError):
    """A recording cannot be played. ``str`` says why in one line, and what to do."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """What ``open_conversation`` has found in a recording.

    ``dials``: the end that is played has dialled the other one. ``ours`` and ``theirs`` count the
    data messages of both, ``connections`` the connections that have any, ``records`` all that was
    read. ``notes`` are lines for people: what cannot be read, and what is not played.
    """

    files: tuple[Path, ...]
    role: Role
    link: str | None
    dials: bool
    session_id: int
    text_encoding: str | None
    connections: int
    ours: int
    theirs: int
    records: int
    is_cut: bool
    """Whether its writer was killed, or still writes: there may have been more."""
    notes: tuple[str, ...]

    def settings(
        self, base: Settings | None = None, **changes: Unpack[SettingsChanges]
    ) -> Settings:
        """Settings for the end that is played: session id, text encoding and role as recorded.

        ``changes`` win over them. Raises ``SettingsError``.
        """
        recorded = (base or Settings()).replace(
            session_id=self.session_id,
            text_encoding=self.text_encoding,
            is_equipment=self.role == "equipment",
        )
        return recorded.replace(**changes)

    def turns(self) -> Iterator[Turn | None]:
        """All turns of ``records``, read anew. None now and then, where there was none for a while.

        Raises ``OSError``, and ``UnplayableError`` when the recording is another one now.
        """
        listener = _Listener(self.role, self.link)
        for number, record in enumerate(islice(read(self.files), self.records), 1):
            turn = listener.take(record)
            if listener.problem is not None:
                raise UnplayableError(listener.problem)
            if turn is not None or not number % _STRETCH:
                yield turn


@dataclass(slots=True)
class _Link:
    label: str
    # Whether the end that is played has sent what the recording says was sent.
    is_ours: bool
    dials: bool
    text_encoding: str | None
    # The latest connection that has said anything, and when the frame before came.
    epoch: int = -1
    before: tuple[int, float] = (-1, 0.0)


@dataclass(slots=True)
class _Primary:
    number: int
    stream: int
    function: int
    is_open: bool


class _Listener:
    """Makes turns of records, one after the other."""

    def __init__(self, role: Role, wanted: str | None) -> None:
        self._role = role
        self._wanted = wanted
        self._recording: str | None = None
        self._links: dict[int, _Link] = {}
        # Names of the links that are wanted, and of all. Of many, some are enough for an error.
        self.labels: dict[str, None] = {}
        self.all_labels: dict[str, None] = {}
        # Why one side cannot be played.
        self.problem: str | None = None
        self.counts: Counter[str] = Counter()
        self.is_recording = False
        self.link: _Link | None = None
        self.session_id = 0
        self._number = self.connections = 0
        # Of the connection that speaks.
        self._current: tuple[int, int] | None = None
        self._at = 0.0
        self._has_separated = False
        # By who has sent it, and its system bytes.
        self._primaries: OrderedDict[tuple[bool, int], _Primary] = OrderedDict()

    def take(self, record: Record | Unread) -> Turn | None:
        """The turn that a record is; None when it is none."""
        match record:
            case HeadRecord():
                self.is_recording = True
                if record.recording != self._recording:
                    # Another one, behind the first in the same file, counts its links anew.
                    self._recording, self._current = record.recording, None
                    self._links.clear()
            case LinkRecord():
                self._begin(record)
            case LostRecord():
                self.counts["records were dropped by the recorder, because its disk was slow"] += (
                    record.count
                )
            case GoneRecord():
                self._links.pop(record.link, None)
            case FrameRecord():
                link = self._links.get(record.link)
                if link is not None:
                    return self._frame(record, link)
            case _:
                pass
        return None

    def _begin(self, record: LinkRecord) -> None:
        label = record.name or record.server or record.peer
        names = (record.name, record.server, record.peer, str(record.link))
        if len(self.all_labels) <= _MOST_TOLD:
            self.all_labels[label] = None
        if self._wanted is not None and self._wanted not in names:
            return
        if len(self.labels) <= _MOST_TOLD:
            self.labels[label] = None
        # It comes again at the beginning of each file, while the connection goes on.
        if record.link in self._links:
            return
        is_active = record.role == "active"
        # A capture does not say who is the equipment: as a rule it is the end that was dialled.
        is_equipment = bool(record.settings.get("is_equipment", not is_active))
        is_ours = is_equipment == (self._role == "equipment")
        encoding = record.settings.get("text_encoding")
        self._links[record.link] = self.link = _Link(
            label, is_ours, is_active == is_ours, encoding if isinstance(encoding, str) else None
        )

    def _frame(self, record: FrameRecord, link: _Link) -> Turn | None:
        data, key = record.data, (record.link, record.epoch)
        ptype, stype = data[4], data[5]
        is_ours = record.sent == link.is_ours
        if (ptype, stype) != (SECS_II, SType.DATA):
            if self._current != key:
                # Not a linktest later on: it would hide how long nothing was said.
                link.before = (record.epoch, record.at)
            elif (ptype, stype) == (SECS_II, SType.SEPARATE_REQ) and not self._has_separated:
                self._has_separated = True
                return Separated(self.connections, record.at, self._pause(record.at), is_ours)
            return None
        if record.passed_over is not None or (self._has_separated and self._current == key):
            self.counts["messages are not played: their receivers have passed them over"] += 1
            return None
        if self._current != key:
            self._turn_to(record, link)
        return self._said(record, link, is_ours)

    def _turn_to(self, record: FrameRecord, link: _Link) -> None:
        """Another connection speaks."""
        if record.epoch <= link.epoch:
            self.problem = (
                f"two connections of {link.label} were open at the same time, and one side can be "
                f"played over one only: give --link with the number of a link, such as "
                f"{record.link}"
            )
        link.epoch = record.epoch
        self._current = (record.link, record.epoch)
        self._has_separated = False
        self._primaries.clear()
        self.connections += 1
        epoch, at = link.before
        self._at = at if epoch == record.epoch else record.at
        if self.connections == 1:
            self.session_id = int.from_bytes(record.data[:2]) & 0x7FFF

    def _said(self, record: FrameRecord, link: _Link, is_ours: bool) -> Said | None:
        data = record.data
        stream, function, wait = data[2] & ~WAIT, data[3], bool(data[2] & WAIT)
        system_bytes = int.from_bytes(data[6:HEADER_LENGTH])
        message = Message.received(
            stream, function, wait, data[HEADER_LENGTH:], 0, system_bytes, link.text_encoding
        )
        about = None
        if stream == 9 and (function == 1 or (is_ours and function == 9)):
            self.counts["reports S9F1 and S9F9 are left to the engines"] += 1
            return None
        if not function % 2:
            primary = self._primaries.get((not is_ours, system_bytes))
            if primary is None or not primary.is_open or not _answers(message, primary):
                self.counts["secondaries are not played: they answer nothing in it"] += 1
                return None
            primary.is_open, about = False, primary.number
        elif stream == 9 and (reported := reported_header(message.body)) is not None:
            primary = self._primaries.get((not is_ours, int.from_bytes(reported[-4:])))
            about = None if primary is None else primary.number
        self._number += 1
        if function % 2:
            self._primaries[is_ours, system_bytes] = _Primary(self._number, stream, function, wait)
            if len(self._primaries) > REMEMBERED:
                self._primaries.popitem(last=False)
        pause = self._pause(record.at)
        return Said(
            self._number, self.connections, record.at, pause, is_ours, message, about, record.body
        )

    def _pause(self, at: float) -> float:
        if at < self._at:
            self.counts["messages have an earlier time than the one above them"] += 1
        pause, self._at = max(0.0, at - self._at), at
        return pause


def _answers(message: Message, primary: _Primary) -> bool:
    return message.stream == primary.stream and message.function in (0, primary.function + 1)


def reporting(message: Message, system_bytes: int) -> Message:
    """The same report of stream 9 about a message with other system bytes."""
    return Message(
        message.stream,
        message.function,
        message.wait,
        body=message.body[:-4] + system_bytes.to_bytes(4),
        text_encoding=message.text_encoding,
    )


async def open_conversation(
    file: str | os.PathLike[str], role: Role, link: str | None = None
) -> Conversation:
    """Read a recording, to play ``role`` of it.

    Its earlier parts (``file.1``, ``file.2`` …) are read too. ``link`` is needed when it has
    several links: a name, a peer, a server or a number. Raises ``UnplayableError`` when ``role``
    cannot be played, and ``OSError`` when a file cannot be read.
    """
    path = Path(file)
    files = _parts(path)
    listener, reader = _Listener(role, link), read(files)
    sides: Counter[bool] = Counter()
    unread: list[str] = []
    bodiless: Said | None = None
    bodiless_count = unread_count = number = 0
    for number, record in enumerate(reader, 1):
        if not number % _STRETCH:
            await trio.lowlevel.checkpoint()
        match record:
            case Unread():
                unread_count += 1
                if unread_count <= _MOST_TOLD:
                    unread.append(str(record))
            case _:
                pass
        match listener.take(record):
            case Said() as said:
                sides[said.is_ours] += 1
                if said.is_ours and said.body is not None:
                    bodiless = bodiless or said
                    bodiless_count += 1
            case Separated() | None:
                pass
            case other:
                assert_never(other)
    names = ", ".join(map(str, files))
    if not listener.is_recording:
        raise UnplayableError(f"{path} is no recording{f': {unread[0]}' if unread else ''}")
    if link is None and len(listener.labels) > 1:
        raise UnplayableError(
            f"several links are in {names}: give --link, one of {_listed(listener)}"
        )
    if listener.problem is not None:
        raise UnplayableError(listener.problem)
    if listener.link is None and link is not None:
        raise UnplayableError(f"no link {link!r} is in {names}; {hint(link, listener.all_labels)}")
    if listener.link is None or not listener.connections:
        raise UnplayableError(f"no data message that can be played is in {names}")
    if bodiless is not None:
        are = "messages have" if bodiless_count > 1 else "message has"
        raise UnplayableError(
            f"{bodiless_count:,} {are} no body in {names}, and the {role} cannot send that: the "
            f"first is {bodiless}, which is {bodiless.body}"
        )
    notes = unread
    if unread_count > len(unread):
        notes.append(f"and {unread_count - len(unread):,} more lines that cannot be read")
    notes += [f"{each} is cut: it has no end" for each in reader.cut]
    notes += [f"{count:,} {what}" for what, count in listener.counts.items()]
    return Conversation(
        tuple(files),
        role,
        link,
        listener.link.dials,
        listener.session_id,
        listener.link.text_encoding,
        listener.connections,
        sides[True],
        sides[False],
        number,
        bool(reader.cut),
        tuple(notes),
    )


def _listed(listener: _Listener) -> str:
    labels = [*listener.labels]
    more = ", ..." if len(labels) > _MOST_TOLD else ""
    return f"{', '.join(labels[:_MOST_TOLD])}{more}"


def _parts(path: Path) -> list[Path]:
    """The files of the recording that ends with ``path``."""
    if not path.is_file() and path.exists():
        raise UnplayableError(f"{path} is no file that can be read twice")
    own = _recording(path)
    return [
        each
        for each in parts_of(path)
        if each == path or (own is not None and _recording(each) == own)
    ]


def _recording(path: Path) -> str | None:
    match next(read([path]), None):
        case HeadRecord(recording=recording):
            return recording
        case _:
            return None
