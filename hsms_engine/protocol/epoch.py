"""Everything that belongs to one TCP connection and is dropped with it.

A new connection gets a new epoch, so no frame, byte or transaction of an earlier connection can
reach it. Only primaries that were received whole stay: the program may still read them. Each
primary knows its epoch, so that a reply cannot go to another connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hsms_engine.message import Message
from hsms_engine.protocol.classify import OwnRequests
from hsms_engine.protocol.not_taken import NotTakenMessages
from hsms_engine.protocol.outbox import Outbox
from hsms_engine.protocol.transactions import Transactions
from hsms_engine.wire import Decoder, Frame, SType


class Unreadable:
    """Received messages in whose bodies the program found no SECS-II, not reported yet.

    The program may read in any thread, so here they only wait, as headers. ``tell`` is called for
    each. It is set while the connection is open: a kept message keeps no connection, and a copy of
    a message belongs to none.
    """

    __slots__ = ("_found", "tell")

    def __init__(self) -> None:
        self.tell: Callable[[], None] | None = None
        self._found: list[Frame] = []

    def __reduce__(self) -> tuple[type[Unreadable], tuple[()]]:
        return Unreadable, ()

    def add(self, message: Primary | Secondary) -> None:
        """The program has read this message. Nothing happens when its connection is over."""
        tell = self.tell
        if tell is not None:
            self._found.append(_header(message))
            tell()

    def next(self) -> Frame | None:
        """The header of the next one, None when there is none."""
        return self._found.pop(0) if self._found else None


def _header(message: Primary | Secondary) -> Frame:
    """The frame of a received message as it came, without its body."""
    session_id, system_bytes = message.session_id, message.system_bytes
    assert session_id is not None
    assert system_bytes is not None
    byte2 = message.stream | (0x80 if message.wait else 0)
    return Frame(
        session_id | message.direction, byte2, message.function, 0, SType.DATA, system_bytes, b""
    )


class Primary(Message):
    """A received primary, with what ``reply`` needs to know.

    ``size`` is that of its body in bytes. ``answered``: its one reply is queued. ``taken``: the
    program has it, so it does not count against ``inbox_size`` any more. ``told``: its connection
    knows that it is no SECS-II. ``received_at`` is the clock in seconds, ``number`` counts the
    primaries in the inbox of a link. ``direction``: the direction bit that its header had and its
    ``session_id`` has not, or 0.
    """

    __slots__ = (
        "answered", "direction", "epoch", "number", "received_at", "size", "taken", "told",
    )  # fmt: skip

    epoch: Epoch
    size: int
    answered: bool
    taken: bool
    told: bool
    received_at: float
    number: int
    direction: int

    def _found_unreadable(self) -> None:
        if not self.told:
            self.told = True
            self.epoch.unreadable.add(self)


class Secondary(Message):
    """A received secondary. ``unreadable`` is None when its connection knows.

    ``direction``: as in a ``Primary``.
    """

    __slots__ = ("direction", "unreadable")

    unreadable: Unreadable | None
    direction: int

    def _found_unreadable(self) -> None:
        if (unreadable := self.unreadable) is not None:
            self.unreadable = None
            unreadable.add(self)


class Epoch:
    """One TCP connection, from open to closed. Times are seconds of the clock."""

    __slots__ = (
        "decoder",
        "last_received",
        "met",
        "not_taken",
        "number",
        "outbox",
        "own",
        "transactions",
        "unreadable",
        "was_selected",
    )

    def __init__(self, number: int, now: float, *, max_frame: int, first_system_bytes: int) -> None:
        self.number = number
        self.decoder = Decoder(max_frame)
        self.own = OwnRequests()
        self.transactions = Transactions(first_system_bytes)
        self.outbox = Outbox()
        self.not_taken = NotTakenMessages()
        self.was_selected = False
        # What is told of its first message only, and has come.
        self.met: tuple[str, ...] = ()
        self.unreadable = Unreadable()
        self.last_received = now

    def meet(self, kinds: Iterable[str]) -> tuple[str, ...]:
        """A message of these kinds has come. Returns those of which it is the first."""
        new = tuple(each for each in kinds if each not in self.met)
        self.met += new
        return new
