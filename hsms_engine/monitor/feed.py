"""Records of links that are live: what a recorder would write, in memory."""

from __future__ import annotations

import itertools
from time import time
from typing import Final

import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.monitor.history import LiveHistory
from hsms_engine.monitor.looking import Turn
from hsms_engine.recorder import Mask, Observable
from hsms_engine.recorder.observed import observe
from hsms_engine.recorder.queue import Queue
from hsms_engine.recorder.tap import Tap
from hsms_engine.recording import LostRecord, record_of

# What comes in between: more is dropped, and counted.
_MOST: Final = 20_000
_MOST_BYTES: Final = 16_777_216
# Seconds between two looks: more often no page tells its browser.
_EVERY: Final = 0.25
# Records in one turn: a message of a link waits no longer than these take.
_TURN: Final = 2


class Feed:
    """Follows links and servers, of all doors, until it is ended."""

    def __init__(self, history: LiveHistory, mask: Mask | None = None) -> None:
        self._history = history
        self._mask = mask
        self._queue = Queue(_MOST, _MOST_BYTES)
        self._numbers = itertools.count(1)

    def add(self, observable: Observable) -> None:
        """Follow it. Raises as ``Recorder.add``."""
        observe(observable, self.attach)

    def attach(self, driver: Driver, /, server: str | None = None) -> None:
        """Follow what runs a link."""
        if self._queue.is_over or driver.engine.is_closed:
            return
        Tap(
            driver,
            next(self._numbers),
            self._queue,
            mask=self._mask,
            server=server,
        ).attach()

    async def run(self) -> None:
        """Make records of what is told, until it is cancelled."""
        while True:
            await self.take()
            await trio.sleep(_EVERY)

    def end(self) -> None:
        """Follow no more."""
        self._queue.end()

    async def take(self) -> None:
        """Make records of all that was told until now."""
        turn = Turn(_TURN)
        batch = self._queue.take()
        if batch.lost_count:
            self._history.take(
                LostRecord(trio.current_time(), time(), batch.lost_count, batch.lost_bytes)
            )
        for item, size in batch.items:
            line = item if isinstance(item, str) else "".join(item())
            record, _ = record_of(line.encode())
            self._history.take(record)
            self._queue.written(size)
            await turn.next()
