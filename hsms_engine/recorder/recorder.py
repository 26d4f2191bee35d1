"""``Recorder``: what links and servers do, into files, by one thread.

* The event loop waits for no disk: it puts lines into a queue, which is bounded.
* A disk that fails ends the recording, with one warning in ``hsms_engine.link``, and no link.
* What is over takes no memory and no thread.
"""

from __future__ import annotations

import atexit
import errno
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from time import time
from typing import Final, Protocol, TypeAlias

import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.logs import LINK, say
from hsms_engine.protocol.engine import Engine
from hsms_engine.recorder.parts import NotOursError, Parts
from hsms_engine.recorder.queue import Batch, Queue
from hsms_engine.recorder.tap import Mask, Tap
from hsms_engine.recording import EndRecord, LostRecord, head, line_of
from hsms_engine.server import HsmsServer

Source = Engine | HsmsServer

# Seconds between two batches: so long at most what a killed program has not written yet.
_PAUSE: Final = 0.1
# Bytes that are written at once.
_PIECE: Final = 131_072
# Lines that are joined at once: so the event loop soon has its turn again.
_LINES: Final = 256
# How long the end of a program, or of a block, waits for the disk.
_PATIENCE: Final = 5.0
_NO_ROOM: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
_LIVE: weakref.WeakSet[Recorder] = weakref.WeakSet()


class Observable(Protocol):
    """A link, a connection or a server, of any door."""

    @property
    def _source(self) -> Source: ...
    def _observe(self, attach: Callable[[Driver], None]) -> None: ...


class Recorder:
    """Records what is added to it into ``path``, and into ``path.1``, ``path.2`` … when it is full.

    A file is full at ``part_bytes`` bytes or after ``part_seconds`` seconds; of one path there are
    never more than ``parts`` files, earlier recordings included: the oldest is deleted. All are
    readable by their owner only. What waits for the disk is bounded by ``queue_size`` records and
    ``queue_bytes`` bytes; the oldest is dropped, which the file tells (``lost``).

    ``mask(message)`` gives what is recorded as the body of a data message, or None for no body. It
    is called in the event loop. When it raises, the body is left out.

    Raises ``ValueError`` for a bound that is none. Nothing else raises: when the file cannot be
    made or written, or is deleted, ``hsms_engine.link`` has a warning and the recording is over.
    Links go on.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        part_bytes: int = 67_108_864,
        part_seconds: float = 86_400.0,
        parts: int = 16,
        queue_size: int = 100_000,
        queue_bytes: int = 33_554_432,
        mask: Mask | None = None,
    ) -> None:
        for name, value, least in (
            ("part_bytes", part_bytes, 65_536),
            ("part_seconds", part_seconds, 1),
            ("parts", parts, 1),
            ("queue_size", queue_size, 1),
            ("queue_bytes", queue_bytes, 1),
        ):
            # Not every caller uses a type checker. NaN is not less than anything.
            given: object = value
            if type(given) not in (int, float) or not value >= least:
                raise ValueError(f"{name}={value!r} is no number from {least} on")
        self._path = Path(path).absolute()
        self._part_seconds = part_seconds
        self._mask = mask
        self._parts = Parts(self._path, part_bytes, parts)
        self._queue = Queue(queue_size, queue_bytes)
        self._id = token_hex(8)
        self._part = 0
        # When the part that is written began; up to where it has whole lines, and where its own
        # beginning ends.
        self._part_began = 0.0
        self._whole = self._beginning = 0
        self._clock: Callable[[], float] = float
        # By the numbers of their links; replaced as a whole, because the thread reads it.
        self._taps: dict[int, Tap] = {}
        self._links = 0
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_closing = threading.Event()
        _LIVE.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._path}>"

    @property
    def path(self) -> Path:
        """The file that is written, as an absolute path."""
        return self._path

    @property
    def is_over(self) -> bool:
        """Whether nothing is recorded any more: it is closed, or the disk has failed."""
        return self._queue.is_over

    def add(self, observable: Observable, /) -> None:
        """Record this link, connection or server from now on; of a server, all its connections.

        Add what lives in trio in its event loop: elsewhere that raises ``WrongLoopError``. For the
        other doors it may be called in any thread. Raises ``TypeError`` for anything else. Does
        nothing when the recording is over.
        """
        # Not every caller uses a type checker.
        source: object = getattr(observable, "_source", None)
        match source:
            case Engine():
                observable._observe(self.attach)
            case HsmsServer():
                name = source.settings.name or source.address
                observable._observe(partial(self.attach, server=name))
            case _:
                raise TypeError(f"{observable!r} is no link, connection or server")

    def attach(self, driver: Driver, server: str | None = None) -> None:
        """Record what runs a link, in its event loop. ``server`` has accepted it."""
        if self.is_over or driver.engine.is_closed:
            return
        with self._changing:
            self._links += 1
            tap = Tap(
                driver,
                self._links,
                self._queue,
                mask=self._mask,
                server=server,
                gone=self._forget,
            )
            self._taps = {**self._taps, self._links: tap}
            if self._thread is None:
                self._clock = trio.lowlevel.current_clock().current_time
                self._thread = threading.Thread(
                    target=self._run, name=f"hsms_engine recorder {self._path.name}", daemon=True
                )
                self._thread.start()
        tap.attach()

    def close(self) -> None:
        """End the recording. Waits until all is written, but not longer than 5 seconds."""
        self._queue.finish()
        self._is_closing.set()
        with self._changing:
            thread = self._thread
        if thread is not None:
            thread.join(_PATIENCE)

    def _forget(self, link: int) -> None:
        with self._changing:
            self._taps = {each: tap for each, tap in self._taps.items() if each != link}

    def leave(self) -> None:
        """In a child process: the recording is its parent's."""
        # The thread is not there, and may have held a lock.
        self._queue.is_over, self._thread = True, None
        self._changing = threading.Lock()
        self._parts.close()

    # In the thread

    def _run(self) -> None:
        try:
            self._begin_part()
            while self._write_next():
                pass
            self._end_part("closed")
        except (OSError, NotOursError) as error:
            self._fail(error)
        finally:
            self._queue.end()
            self._parts.close()
            self._taps = {}

    def _write_next(self) -> bool:
        """Write what has come. False at the end."""
        batch = self._queue.take()
        if batch.items or batch.lost_count:
            if not self._parts.is_there():
                raise NotOursError("it was deleted or moved")
            self._write_batch(batch)
        elif self._queue.is_over:
            return False
        else:
            self._forget_ended()
            self._queue.wait()
        # What comes meanwhile is written together.
        self._is_closing.wait(_PAUSE)
        return True

    def _write_batch(self, batch: Batch) -> None:
        if batch.lost_count:
            self._write(
                line_of(LostRecord(self._clock(), time(), batch.lost_count, batch.lost_bytes))
            )
            # So that what is told next is known to follow from this.
            self._write_links()
        lines: list[str] = []
        size, items = 0, batch.items
        while items:
            item, length = items.popleft()
            if isinstance(item, str):
                lines.append(item)
                size += length
                if size < _PIECE and len(lines) < _LINES:
                    continue
            self._write_lines(lines, size)
            lines, size = [], 0
            if not isinstance(item, str):
                self._make_room(length)
                self._write(*item())
                self._queue.written(length)
        self._write_lines(lines, size)

    def _write_lines(self, lines: list[str], size: int) -> None:
        if lines:
            self._make_room(size)
            self._write("".join(lines))
            self._queue.written(size)

    def _write(self, *pieces: str) -> None:
        """Write one line, or several, that ``pieces`` make."""
        for piece in pieces:
            self._parts.write(piece.encode("ascii"))
        self._whole = self._parts.written

    def _make_room(self, size: int) -> None:
        """Begin the next part when so many bytes have no room in this one, or it is too old."""
        is_old = time() - self._part_began >= self._part_seconds
        has_room = self._parts.has_room(size) or self._whole == self._beginning
        if is_old or not has_room:
            self._end_part("next part")
            self._begin_part()

    def _begin_part(self) -> None:
        self._parts.begin()
        self._whole = 0
        self._part += 1
        self._part_began = time()
        self._write(line_of(head(self._clock(), time(), self._id, self._part)))
        if self._part > 1:
            self._write_links()
        self._beginning = self._whole

    def _end_part(self, why: str) -> None:
        self._write(line_of(EndRecord(self._clock(), time(), why)))
        self._parts.close()

    def _write_links(self) -> None:
        for tap in self._taps.values():
            self._write(*tap.lines())

    def _forget_ended(self) -> None:
        """All is written: the last lines of links that are there no more were dropped."""
        for link, tap in self._taps.items():
            if tap.is_ended:
                self._forget(link)

    def _fail(self, error: OSError | NotOursError) -> None:
        end = why = str(error)
        if isinstance(error, OSError):
            end = "no room" if error.errno in _NO_ROOM else "the disk has failed"
        if self._parts.is_open:
            # What is left of a line that was not written makes room for the end.
            with suppress(OSError):
                self._parts.cut(self._whole)
                self._end_part(end)
        text = "the recording into %s is over, and its links go on: %s"
        say(LINK, logging.WARNING, text, str(self._path), why)


def _close_all() -> None:
    """The program ends: write what waits."""
    for recorder in list(_LIVE):
        recorder.close()


def _leave_all() -> None:
    for recorder in list(_LIVE):
        recorder.leave()


atexit.register(_close_all)
if sys.platform == "win32":
    pass  # It has no forks.
else:
    os.register_at_fork(after_in_child=_leave_all)

RecordTo: TypeAlias = str | os.PathLike[str] | Recorder
"""A file for one link or server, or what several share."""


class Recording:
    """What ``record=`` asks for. A recorder that is made here ends with it, one that is shared goes
    on."""

    __slots__ = ("_of", "_own", "_recorder")

    def __init__(self, record: RecordTo, of: Driver | HsmsServer) -> None:
        match record:
            case Recorder():
                self._recorder, self._own = record, False
            case _:
                self._recorder, self._own = Recorder(record), True
        self._of = of

    def begin(self) -> None:
        """Record from now on, in the event loop of what is recorded."""
        match self._of:
            case Driver():
                self._recorder.attach(self._of)
            case _:
                self._recorder.add(self._of)

    async def end(self) -> None:
        """Wait until all is written, for a while. It is not cancelled."""
        if self._own:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._recorder.close)
