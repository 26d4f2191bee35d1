"""The outputs of an engine, in order: a closed union, and the queue in which they wait.

All bytes of a turn come out first, in order; a long body is a part of its own. So bytes that were
queued before a change of TCP also come out before it.
"""

from __future__ import annotations

from typing import NamedTuple

from hsms_engine.events import LinkEvent
from hsms_engine.protocol.control import ControlTransaction
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.protocol.transactions import Transaction
from statecharts import Effect, Hop
from statecharts.hsms.vocabulary import (
    AbandonTcp,
    AskStore,
    CloseTcp,
    ContestSession,
    FinishTcp,
    OpenTcp,
    ReleaseLease,
    ResetTcp,
    StopAsking,
)


class Step(NamedTuple):
    """One step of the charts, for logs, and for comparing a run with the charts.

    ``at`` is the clock in seconds, ``epoch`` the number of the TCP connection.
    """

    at: float
    epoch: int
    event: str
    hops: tuple[Hop, ...]
    effects: tuple[Effect, ...]


Output = (
    bytes
    | Transaction
    | ControlTransaction
    | Primary
    | Step
    | Traffic
    | OpenTcp
    | AbandonTcp
    | FinishTcp
    | CloseTcp
    | ResetTcp
    | ContestSession
    | AskStore
    | StopAsking
    | ReleaseLease
    | LinkEvent
)
"""Bytes to write; a settled transaction; a primary for the program; a step of the charts; a
message that somebody watches; what to do about TCP; that others have the session which a peer asked
for; what to ask the store of leases; an event of the link."""


# Bytes of a body that is not joined with what comes before it.
LONG_PIECE = 32_768


class Outputs:
    """The outputs that are not taken yet."""

    __slots__ = ("_next", "_others", "pieces", "put")

    def __init__(self) -> None:
        # The parts of the encoded frames, in order; and all other outputs.
        self.pieces: list[bytes] = []
        self._others: list[Output] = []
        # Those that were put before these, the next one last. A deque would be 0.7 kB of each link.
        self._next: list[Output] = []
        self.put = self._others.append

    def next(self) -> Output | None:
        """The next output; None when there is none."""
        if pieces := self.pieces:
            # A long one comes out as it is, because to join it would cost a copy.
            if max(map(len, pieces)) > LONG_PIECE:
                index = next(at for at, piece in enumerate(pieces) if len(piece) > LONG_PIECE)
                data = b"".join(pieces[:index]) if index else pieces[0]
                del pieces[: index or 1]
                return data
            data = b"".join(pieces)
            pieces.clear()
            return data
        if self._next:
            return self._next.pop()
        others = self._others
        if len(others) > 1:
            self._next[:] = reversed(others)
            others.clear()
            return self._next.pop()
        return others.pop() if others else None
