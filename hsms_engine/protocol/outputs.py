"""The outputs of an engine, in order: a closed union, and the queue in which they wait.

All bytes of a turn come out first and as one piece. So bytes that were queued before a change of
TCP also come out before it.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from hsms_engine.events import LinkEvent
from hsms_engine.protocol.control import ControlTransaction
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.protocol.transactions import Transaction
from statecharts import Effect, Hop
from statecharts.hsms.vocabulary import (
    AbandonTcp,
    CloseTcp,
    ContestSession,
    FinishTcp,
    OpenTcp,
    ResetTcp,
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
    | LinkEvent
)
"""Bytes to write; a settled transaction; a primary for the program; a step of the charts; a
message that somebody watches; what to do about TCP; that others have the session which a peer asked
for; an event of the link."""


class Outputs:
    """The outputs that are not taken yet."""

    def __init__(self) -> None:
        # The encoded frames, in order, that come out as one piece; and all other outputs.
        self.frames: list[bytes] = []
        self._others: deque[Output] = deque()
        self.put = self._others.append

    def next(self) -> Output | None:
        """The next output; None when there is none."""
        if frames := self.frames:
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            frames.clear()
            return data
        return self._others.popleft() if self._others else None
