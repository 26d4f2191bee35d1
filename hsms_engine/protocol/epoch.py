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
    """A primary as received: what ``reply`` needs to know of it. Answered at most once."""

    __slots__ = ("answered", "epoch")

    epoch: Epoch
    answered: bool


class Epoch:
    """One TCP connection, from its coming up to its end."""

    def __init__(self, number: int, now: float, *, max_frame: int, first_system_bytes: int) -> None:
        self.number = number
        self.decoder = Decoder(max_frame)
        self.own = OwnRequests()
        self.transactions = Transactions(first_system_bytes)
        self.last_received = now
        self.last_sent = now
        # When the frame in progress began, for the frame deadline.
        self.frame_began = now
        # Bytes queued so far, bytes handed to the transport so far, and the chunks in between.
        self.queued = 0
        self.written = 0
        self._chunks: list[bytes] = []

    def queue(self, data: bytes) -> None:
        self._chunks.append(data)
        self.queued += len(data)

    @property
    def backlog(self) -> int:
        """Bytes queued that the transport has not taken."""
        return self.queued - self.written

    def take(self) -> bytes:
        """All queued chunks as one piece, which the caller now has to write."""
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        return data

    @property
    def has_chunks(self) -> bool:
        """Whether something is queued that nobody has taken."""
        return bool(self._chunks)
