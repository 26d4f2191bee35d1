"""``Recorder``: what links and servers do, into files, by one thread.

* The event loop waits for no disk: it puts lines into a queue, which is bounded.
* A disk that fails ends the recording, with one warning in ``hsms_engine.link``, and no link.
* What is over takes no memory and no thread.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from time import time
from typing import Final, TypeAlias

import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.logs import LINK, say
from hsms_engine.recorder.endings import PATIENCE, end_with_program
from hsms_engine.recorder.forms import Form, LinesForm, PcapForm
from hsms_engine.recorder.observed import (
    Follower,
    Observable,
    expect_from,
    observe,
    whole_path,
)
from hsms_engine.recorder.parts import NotOursError, Parts
from hsms_engine.recorder.queue import Batch, Queue
from hsms_engine.recorder.tap import Mask, Tap
from hsms_engine.recording import EndRecord, LostRecord, head, line_of

# Seconds between two batches: so long at most what a killed program has not written yet.
_PAUSE: Final = 0.1
# Bytes that are written at once.
_PIECE: Final = 131_072
# Lines that are joined at once: so the event loop soon has its turn again.
_LINES: Final = 256
_NO_ROOM: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})


class Recorder:
    """Records what is added to it into ``path``, and into ``path.1``, ``path.2`` … when it is full.

    A file is full at ``part_bytes`` bytes or after ``part_seconds`` seconds; of one path there are
    never more than ``parts`` files, earlier recordings included: the oldest is deleted. All are
    readable by their owner only. What waits for the disk is bounded by ``queue_size`` records and
    ``queue_bytes`` bytes; the oldest is dropped, which the file tells (``lost``).

    With ``pcap`` the files are captures, for Wireshark, as ``docs/capture.md`` has it.

    ``mask(message)`` gives what is recorded as the body of a data message, or None for no body. It
    is called in the event loop. When it raises, the body is left out.

    Raises ``ValueError`` for a bound that is none, and for a name that no file can have. Nothing
    else raises: when the file cannot be made or written, or is deleted, ``hsms_engine.link`` has a
    warning and the recording is over. Links go on.
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
        pcap: bool = False,
    ) -> None:
        for name, value, least in (
            ("part_bytes", part_bytes, 65_536),
            ("part_seconds", part_seconds, 1),
            ("parts", parts, 1),
            ("queue_size", queue_size, 1),
            ("queue_bytes", queue_bytes, 1),
        ):
            expect_from(least, value, name)
        self._path = whole_path(path)
        self._part_seconds = part_seconds
        self._mask = mask
        self._form: Form = PcapForm(str(self._path)) if pcap else LinesForm()
        self._parts = Parts(self._path, part_bytes, parts, self._form.mark)
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
        end_with_program(self)

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
        observe(observable, self.attach)

    def attach(self, driver: Driver, /, server: str | None = None) -> None:
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
            thread.join(PATIENCE)

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
        for data in self._form.data(pieces):
            self._parts.write(data)
            if self._form.is_whole:
                self._whole = self._parts.written
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
        self._parts.write(self._form.start)
        self._whole = self._parts.written
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


OneRecord: TypeAlias = str | os.PathLike[str] | Follower
"""A file for one link or server, or what several share."""

RecordTo: TypeAlias = OneRecord | Sequence[OneRecord]
"""What ``record=`` takes: one of these, or several."""
