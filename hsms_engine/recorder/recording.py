"""What ``record=`` and ``black_box=`` ask for, for as long as a link or a server lives."""

from __future__ import annotations

import os
from collections.abc import Sequence

import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.recorder.black_box import BlackBoxIn, box_for
from hsms_engine.recorder.observed import Attach, Follower, observe
from hsms_engine.recorder.recorder import OneRecord, Recorder, RecordTo
from hsms_engine.server import HsmsServer


class Recording:
    """A recorder that is made here ends with what it records; one that is shared goes on."""

    __slots__ = ("_box", "_followers", "_of", "_own")

    def __init__(
        self,
        record: RecordTo | None,
        black_box: BlackBoxIn | None,
        of: Driver | HsmsServer,
    ) -> None:
        self._own: list[Recorder] = []
        self._followers: list[Follower] = []
        match record:
            case None:
                given: Sequence[OneRecord] = ()
            case str() | os.PathLike() | Follower():
                given = (record,)
            case _:
                given = record
        for each in given:
            if isinstance(each, Follower):
                self._followers.append(each)
            else:
                self._own.append(Recorder(each))
        self._box = None if black_box is None else box_for(black_box)
        self._of = of

    def begin(self) -> None:
        """Record from now on, in the event loop of what is recorded."""
        for follower in (*self._followers, *self._own):
            self._begin(follower.attach)
        if self._box is not None:
            self._begin(self._box.attach)

    def _begin(self, attach: Attach) -> None:
        match self._of:
            case Driver():
                attach(self._of)
            case _:
                observe(self._of, attach)

    async def end(self) -> None:
        """Wait until all is written, for a while. It is not cancelled."""
        ends = [recorder.close for recorder in self._own]
        if self._box is not None and self._box.is_behind:
            ends.append(self._box.flush)
        with trio.CancelScope(shield=True):
            for end in ends:
                await trio.to_thread.run_sync(end)
