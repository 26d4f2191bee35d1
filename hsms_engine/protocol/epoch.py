"""Everything that belongs to one TCP connection and is dropped with it.

A new connection gets a new epoch, so no frame, byte or transaction of an earlier connection can
reach it. Only primaries that were received whole stay: the program may still read them. Each
primary knows its epoch, so that a reply cannot go to another connection.
"""

from __future__ import annotations

from hsms_engine.message import Message
from hsms_engine.protocol.classify import OwnRequests
from hsms_engine.protocol.transactions import Transactions
from hsms_engine.wire import Decoder


class Primary(Message):
    """A received primary, with what ``reply`` needs to know.

    ``answered``: its one reply is queued. ``taken``: the program has it, so it does not count
    against ``inbox_size`` any more.
    """

    __slots__ = ("answered", "epoch", "taken")

    epoch: Epoch
    answered: bool
    taken: bool


class Epoch:
    """One TCP connection, from open to closed. Times are seconds of the clock."""

    def __init__(self, number: int, now: float, *, max_frame: int, first_system_bytes: int) -> None:
        self.number = number
        self.decoder = Decoder(max_frame)
        self.own = OwnRequests()
        self.transactions = Transactions(first_system_bytes)
        self.last_received = now
        self.last_sent = now
        # The bytes queued so far, and the bytes that the stream has taken so far.
        self.queued = 0
        self.written = 0

    @property
    def backlog(self) -> int:
        """The queued bytes that the stream has not taken."""
        return self.queued - self.written
