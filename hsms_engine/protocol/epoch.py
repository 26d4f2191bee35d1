"""All that belongs to one TCP connection and dies with it.

A new connection gets a new epoch, so that no frame, byte or transaction of an earlier one can reach
it: nothing of it survives. What was received whole belongs to the program, which may still read it;
each primary knows its epoch, so that a reply to it cannot go to another.
"""

from __future__ import annotations

from hsms_engine.message import Message
from hsms_engine.protocol.classify import OwnRequests
from hsms_engine.protocol.transactions import Transactions
from hsms_engine.wire import Decoder


class Primary(Message):
    """A primary as received, and what ``reply`` needs to know of it.

    ``answered``: it has had its one reply. ``taken``: the program has it, so that it no longer
    counts against ``inbox_size``.
    """

    __slots__ = ("answered", "epoch", "taken")

    epoch: Epoch
    answered: bool
    taken: bool


class Epoch:
    """One TCP connection, from its coming up to its end. Times are the clock's, in seconds."""

    def __init__(self, number: int, now: float, *, max_frame: int, first_system_bytes: int) -> None:
        self.number = number
        self.decoder = Decoder(max_frame)
        self.own = OwnRequests()
        self.transactions = Transactions(first_system_bytes)
        self.last_received = now
        self.last_sent = now
        # Bytes queued so far, and bytes handed to the transport so far.
        self.queued = 0
        self.written = 0

    @property
    def backlog(self) -> int:
        """Bytes queued that the transport has not taken."""
        return self.queued - self.written
