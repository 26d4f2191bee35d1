"""The packets of a recording.

Invariants:

* Packets come in the order of the records. A frame that opens a connection is kept until the next
  record: an engine tells the addresses of a connection behind its first frame.
* Each frame is in the connection that its link had in its epoch, and each connection is opened
  before its first frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor
from typing import Final

from hsms_engine.capture.places import Places
from hsms_engine.capture.replayed import ReplayedConnection
from hsms_engine.recording import EventRecord, FrameRecord, GoneRecord, LinkRecord, Record
from hsms_engine.wire import HEADER_LENGTH

__all__ = ["PcapWriter"]

_LENGTH_BYTES: Final = 4
_NANOSECONDS: Final = 1_000_000_000
# Sequence numbers begin so far apart that no connection looks like another one between its ports.
_STEP: Final = 0x9E37_79B1
# The events with which a connection begins, if they have its addresses, and those that end it.
_OPEN: Final = frozenset({"Selecting", "NotSelected", "PeerAccepted"})
_OVER: Final = frozenset({"Waiting", "Idle", "Closed", "PeerEnded"})


@dataclass(slots=True)
class _Link:
    peer: str = ""
    # Our end, as far as its settings say.
    local: str = ""
    is_active: bool = True
    epoch: int = 0
    connection: ReplayedConnection | None = None


class PcapWriter:
    """Makes packets of records, one after the other. ``PCAP_HEADER`` goes before the first one.

    ``link`` is the name, the peer or the number of the only link that is wanted. ``names`` are
    those of the links that have come, if one is wanted, and ``frames`` counts the frames that were
    written.
    """

    def __init__(self, link: str | None = None) -> None:
        self.names: set[str] = set()
        self.frames = 0
        self._wanted = link
        self._links: dict[int, _Link] = {}
        self._unwanted: set[int] = set()
        self._places = Places()
        # A frame whose connection is not open.
        self._first: FrameRecord | None = None

    def packets(self, record: Record) -> Iterator[bytes]:
        """The packets of one record, as pcap has them; a long frame has several."""
        first, self._first = self._first, None
        if first is not None:
            match record:
                case EventRecord() if (record.link, record.epoch) == (first.link, first.epoch):
                    yield from self._event(record, first.wall)
                    yield from self._frame(first)
                    return
                case _:
                    yield from self._frame(first)
        match record:
            case LinkRecord():
                self._begin(record)
            case FrameRecord() if self._opens(record):
                self._first = record
            case FrameRecord() if record.link not in self._unwanted:
                yield from self._frame(record)
            case EventRecord() if record.link not in self._unwanted:
                yield from self._event(record, record.wall)
            case GoneRecord() if record.link in self._links:
                yield from self._close(self._links.pop(record.link), record.wall, is_reset=False)
            case _:
                pass

    def finish(self) -> Iterator[bytes]:
        """The packets of what is kept, when no record follows."""
        first, self._first = self._first, None
        if first is not None:
            yield from self._frame(first)

    def _opens(self, record: FrameRecord) -> bool:
        link = self._links.get(record.link)
        return link is not None and (link.connection is None or link.epoch != record.epoch)

    def _begin(self, record: LinkRecord) -> None:
        if self._wanted is not None:
            self.names.add(record.name or record.peer)
        if self._wanted not in (None, record.name, record.peer, str(record.link)):
            self._unwanted.add(record.link)
            return
        # It comes again at the beginning of each file, while the connection goes on.
        link = self._links.setdefault(record.link, _Link())
        link.peer, link.is_active = record.peer, record.role == "active"
        match record.settings.get("port"):
            case int() as port if not link.is_active and port:
                link.local = f":{port}"
            case _:
                pass

    def _frame(self, record: FrameRecord) -> Iterator[bytes]:
        link = self._links.setdefault(record.link, _Link())
        at = _nanoseconds(record.wall)
        yield from self._open(link, record.epoch, record.wall, "", "")
        assert link.connection is not None  # it was opened
        known, length = _known(record)
        data = (length - _LENGTH_BYTES).to_bytes(_LENGTH_BYTES) + known
        yield from link.connection.send(at, data, length, is_ours=record.sent)
        self.frames += 1

    def _event(self, record: EventRecord, wall: float) -> Iterator[bytes]:
        link = self._links.setdefault(record.link, _Link())
        if record.event in _OPEN:
            local, remote = (str(record.fields.get(each, "")) for each in ("local", "remote"))
            yield from self._open(link, record.epoch, wall, local, remote)
        elif record.event in _OVER:
            is_reset = record.fields.get("error") is not None
            yield from self._close(link, wall, is_reset=is_reset)

    def _open(
        self, link: _Link, epoch: int, wall: float, local: str, remote: str
    ) -> Iterator[bytes]:
        """Open the connection of this epoch, if it is not open."""
        if link.connection is not None and link.epoch == epoch:
            return
        yield from self._close(link, wall, is_reset=False)
        start = self._places.connections * _STEP
        ends = self._places.ends(local or link.local, remote or link.peer, is_active=link.is_active)
        link.epoch = epoch
        link.connection = ReplayedConnection(*ends, is_active=link.is_active, start=start)
        yield link.connection.open(_nanoseconds(wall))

    def _close(self, link: _Link, wall: float, *, is_reset: bool) -> Iterator[bytes]:
        if link.connection is not None:
            yield link.connection.close(_nanoseconds(wall), is_reset=is_reset)
            link.connection = None


def _known(record: FrameRecord) -> tuple[bytes, int]:
    """What is known of a frame from its header on, and its bytes on the wire."""
    size = _LENGTH_BYTES + len(record.data)
    if record.body is None or size == record.length:
        return record.data, size
    # A masked body may be shorter or longer than the one that was on the wire.
    return record.data[:HEADER_LENGTH], max(record.length, _LENGTH_BYTES + HEADER_LENGTH)


def _nanoseconds(wall: float) -> int:
    # A product of the whole would be rounded to some hundreds of them.
    seconds = floor(wall)
    return seconds * _NANOSECONDS + round((wall - seconds) * _NANOSECONDS)
