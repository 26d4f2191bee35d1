"""``BlackBox``: the last seconds of each link in memory, and in a file when something has happened.

* The event loop waits for no disk: a thread writes, which is there only while something is to be
  written.
* A disk that fails costs a file, with one warning in ``hsms_engine.link``, and no link.
* Nothing that is there is written over or deleted.
"""

from __future__ import annotations

import logging
import math
import os
import re
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from time import gmtime, monotonic, strftime, time
from typing import Final, TypeAlias

import trio

from hsms_engine.driver.driver import Driver
from hsms_engine.errors import ConnectionLostError, DefectError, HsmsError
from hsms_engine.events import BreakerOpened, Closed, Draining, LinkEvent, Waiting
from hsms_engine.logs import LINK, say
from hsms_engine.protocol.outputs import Step
from hsms_engine.recorder.endings import PATIENCE, end_with_program
from hsms_engine.recorder.memory import MEMORY, Ring, Taken
from hsms_engine.recorder.observed import Observable, expect_from, observe, whole_path
from hsms_engine.recorder.parts import Parts
from hsms_engine.recorder.queue import Item
from hsms_engine.recorder.tap import Mask, Tap, link_lines
from hsms_engine.recording import EndRecord, LostRecord, head, line_of

_HOUR: Final = 3_600.0
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST_NAME: Final = 64
# A link has one number, because each file has one link.
_LINK: Final = 1
_LOST: Final = "the link was lost"
_OPENED: Final = "the breaker has opened"
_NOT_RENEWED: Final = "the lease of the tool was not renewed by its own deadline"
_TAKEN: Final = "the lease of the tool was lost"
# What ends a session as E37 has it; nothing: there was none.
_IN_ORDER: Final = frozenset(
    {"", "separate_req_received", "deselect_req_received", "deselect_rsp_ended"}
)
# What happens again and again is told so often in a file.
_MOST_WHYS: Final = 8


class _Followed:
    """One link: what it tells goes into a ring."""

    __slots__ = (
        "_box",
        "_driver",
        "_error",
        "due",
        "is_gone",
        "ring",
        "server",
        "since",
        "tap",
        "whys",
    )

    def __init__(self, box: BlackBox, driver: Driver, server: str | None, ring: Ring) -> None:
        self._box = box
        self._driver = driver
        self._error: HsmsError | None = None
        self.ring = ring
        self.server = server
        self.tap = Tap(driver, _LINK, self, mask=box.mask, server=server)
        self.is_gone = False
        # Why a file is to be written, when at the earliest, and from when on it is to tell.
        self.whys: list[str] = []
        self.due = self.since = 0.0

    def attach(self) -> None:
        self.tap.attach()
        self._driver.followers.append(self._happened)
        self._driver.recorders.append(self._stepped)

    # What a tap puts

    @property
    def is_over(self) -> bool:
        return self._box.is_over

    def put(self, item: Item, size: int) -> None:
        MEMORY.keep(self.ring, item, size, self.tap.now)

    # What the driver tells

    def _happened(self, event: LinkEvent) -> None:
        match event:
            case BreakerOpened():
                self._box.ask(self, _OPENED)
            case Draining(why="deadline"):
                self._box.ask(self, _NOT_RENEWED)
            case Draining(why="lost"):
                self._box.ask(self, _TAKEN)
            case Waiting(error=error):
                self._look(error)
            case Closed(error=defect):
                self._look(defect or self._driver.engine.last_error)
                if defect is not None:
                    # No step follows.
                    self._end()
            case _:
                pass

    def _look(self, error: HsmsError | None) -> None:
        """A file is for a session that has broken off: not for one that an end has ended, nor for a
        connection that a scanner has made."""
        if error is self._error:
            return
        self._error = error
        match error:
            case DefectError():
                self._box.ask(self, str(error))
            case ConnectionLostError() if self._driver.engine.session_ended_by not in _IN_ORDER:
                self._box.ask(self, f"{_LOST}: {error}")
            case _:
                pass

    def _stepped(self, _step: Step) -> None:
        if self.tap.is_ended:
            self._end()

    def _end(self) -> None:
        driver = self._driver
        driver.recorders[:] = [each for each in driver.recorders if each != self._stepped]
        self._box.end(self)


class BlackBox:
    """Keeps the last ``seconds`` of what is added to it, and writes them when a link is lost.

    Or when a breaker opens, or a link is disabled because the lease of its tool was lost, or was
    not renewed: each time a file of its own in ``folder``, which is made if it is not there. It has
    also what happens within ``after`` seconds, in which a further loss gets no file; what is closed
    earlier is written at once. ``files_per_hour`` bounds the files of all links. It
    tells in the next file, and in ``not_written``, how many losses have none.

    What is kept in memory has one bound for the process, 64 MiB; the oldest of all is dropped,
    which the file tells (``lost``). Files are readable by their owner only, and stay.

    ``mask`` is as for ``Recorder``. Raises ``ValueError`` for a bound that is none, and for a
    name that no folder can have. Nothing else raises: when a file cannot be written,
    ``hsms_engine.link`` has a warning. Links go on.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        seconds: float = 60.0,
        after: float = 5.0,
        files_per_hour: int = 20,
        mask: Mask | None = None,
    ) -> None:
        expect_from(1, seconds, "seconds")
        expect_from(0, after, "after")
        expect_from(1, files_per_hour, "files_per_hour")
        self.mask = mask
        self.is_over = False
        """Whether nothing is kept any more: it is closed."""
        self.files = 0
        """How many files were written."""
        self.not_written = 0
        """How many losses have no file, or none that is whole."""
        self._folder = whole_path(folder)
        self._seconds, self._after = seconds, after
        # When each of the latest files was begun.
        self._begun: deque[float] = deque()
        self._most = files_per_hour
        # Losses without a file that no file has told, and whether the log has told of one.
        self._untold = 0
        self._is_told = False
        # Held for moments only. It guards the links, what they have lost, and the thread.
        self._news = threading.Condition()
        self._links: set[_Followed] = set()
        self._asking: list[_Followed] = []
        self._is_writing = False
        self._thread: threading.Thread | None = None
        end_with_program(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._folder}>"

    @property
    def folder(self) -> Path:
        """Where its files are, as an absolute path."""
        return self._folder

    def add(self, observable: Observable, /) -> None:
        """Keep what this link, connection or server does from now on: as ``Recorder.add``."""
        observe(observable, self.attach)

    def attach(self, driver: Driver, /, server: str | None = None) -> None:
        """Follow what runs a link, in its event loop. ``server`` has accepted it."""
        if self.is_over or driver.engine.is_closed:
            return
        clock = trio.lowlevel.current_clock().current_time
        followed = _Followed(self, driver, server, Ring(clock, self._seconds + self._after))
        with self._news:
            self._links.add(followed)
        followed.attach()

    def flush(self) -> None:
        """Wait until the files of links that are closed are written, for 5 seconds at most."""
        with self._news:
            self._news.wait_for(lambda: not self._is_behind(), PATIENCE)

    @property
    def is_behind(self) -> bool:
        """Whether files of links that are closed are still to be written."""
        with self._news:
            return self._is_behind()

    def close(self) -> None:
        """Write what is to be written, and keep nothing any more. Waits 5 seconds at most."""
        with self._news:
            self.is_over = True
            self._news.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(PATIENCE)
        with self._news:
            links, self._links = self._links, set()
        for each in links:
            MEMORY.forget(each.ring)

    def leave(self) -> None:
        """In a child process: it is its parent's."""
        self.is_over, self._thread = True, None
        self._news = threading.Condition()
        MEMORY.leave()

    # What links tell, in their event loops

    def ask(self, followed: _Followed, why: str) -> None:
        """A file of this link is to be written."""
        with self._news:
            if self.is_over:
                return
            if not followed.whys and len(self._asking) >= self._most:
                # The disk hangs, or so much is lost at once that it has no file in this hour.
                self.not_written += 1
                self._untold += 1
                return
            if not followed.whys:
                followed.since = followed.ring.clock() - self._seconds
                followed.due = monotonic() + self._after
                self._asking.append(followed)
            if len(followed.whys) < _MOST_WHYS:
                followed.whys.append(why)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name=f"hsms_engine black box {self._folder.name}", daemon=True
                )
                self._thread.start()
            self._news.notify_all()

    def end(self, followed: _Followed) -> None:
        """It is closed: what is to be written of it is written now, or nothing."""
        with self._news:
            followed.due = -math.inf
            followed.is_gone = True
            self._links.discard(followed)
            is_asking = followed in self._asking
            self._news.notify_all()
        if not is_asking:
            MEMORY.forget(followed.ring)

    # In the thread

    def _is_behind(self) -> bool:
        return self._is_writing or any(each.is_gone for each in self._asking)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            followed, whys = job
            self._write(followed, whys)
            if followed.is_gone:
                MEMORY.forget(followed.ring)

    def _next(self) -> tuple[_Followed, list[str]] | None:
        """The next link of which a file is to be written, and why; None when there is none."""
        with self._news:
            self._is_writing = False
            self._news.notify_all()
            while self._asking:
                first = min(self._asking, key=lambda each: each.due)
                rest = first.due - monotonic()
                if rest <= 0 or self.is_over:
                    self._asking.remove(first)
                    whys, first.whys = first.whys, []
                    self._is_writing = True
                    return first, whys
                self._news.wait(rest)
            self._thread = None
            return None

    def _write(self, followed: _Followed, whys: list[str]) -> None:
        now = monotonic()
        while self._begun and now - self._begun[0] >= _HOUR:
            self._begun.popleft()
        if len(self._begun) >= self._most:
            limit = f"there are {self._most} files of this hour (files_per_hour)"
            self._fail(followed, len(whys), limit)
            return
        self._begun.append(now)
        taken = MEMORY.take(followed.ring, followed.since)
        untold, parts = self._untold, None
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            parts = self._make(followed)
            for line in self._lines(followed, taken, whys, untold):
                parts.write(line.encode("ascii"))
        except OSError as error:
            self._fail(followed, len(whys), str(error))
        else:
            self.files += 1
            self._is_told = False
            with self._news:
                # Not those that a link has asked for meanwhile.
                self._untold -= untold
            text = "the black box of %s is in %s: %s"
            say(LINK, logging.INFO, text, _name(followed), str(parts.path), "; ".join(whys))
        finally:
            for kept in taken.kept:
                MEMORY.written(kept)
            if parts is not None:
                parts.close()

    def _make(self, followed: _Followed) -> Parts:
        """A new file. Raises ``OSError``."""
        name = _UNSAFE.sub("_", _name(followed)).strip(".")[:_LONGEST_NAME]
        start = f"{name}-{strftime('%Y%m%dT%H%M%SZ', gmtime())}"
        number = 1
        while True:
            more = f"-{number}" if number > 1 else ""
            parts = Parts(self._folder / f"{start}{more}.jsonl")
            try:
                parts.make()
            except FileExistsError:
                number += 1
            else:
                return parts

    def _lines(
        self, followed: _Followed, taken: Taken, whys: list[str], untold: int
    ) -> Iterator[str]:
        """A whole recording."""
        before = taken.before
        at, wall = (followed.ring.clock(), time()) if before is None else (before.at, before.wall)
        yield line_of(head(at, wall, token_hex(8)))
        if taken.lost_count:
            yield line_of(LostRecord(at, wall, taken.lost_count, taken.lost_bytes))
        if before is not None:
            yield from link_lines(before, _LINK, followed.server)
        for kept in taken.kept:
            if isinstance(kept.item, str):
                yield kept.item
            else:
                yield from kept.item()
        why = "; ".join(whys)
        if untold:
            why += f"; {untold} before it have no file"
        yield line_of(EndRecord(followed.ring.clock(), time(), why))

    def _fail(self, followed: _Followed, count: int, why: str) -> None:
        with self._news:
            self.not_written += count
            self._untold += count
        if not self._is_told:
            self._is_told = True
            text = "no black box of %s is written into %s, and its link goes on: %s"
            say(LINK, logging.WARNING, text, _name(followed), str(self._folder), why)


def _name(followed: _Followed) -> str:
    now = followed.tap.now
    return now.settings.name or now.peer


BlackBoxIn: TypeAlias = str | os.PathLike[str] | BlackBox
"""A folder, or what several share, with bounds of its own."""

# Those that ``black_box="folder"`` has made, by their folders: what is written per hour is bounded
# for all of them.
_OF_FOLDERS: Final[dict[Path, BlackBox]] = {}
_FOLDERS_LOCK: Final = threading.Lock()


def box_for(given: BlackBoxIn) -> BlackBox:
    """The black box that ``black_box=`` asks for."""
    match given:
        case BlackBox():
            return given
        case _:
            with _FOLDERS_LOCK:
                folder = whole_path(given)
                box = _OF_FOLDERS.get(folder)
                if box is None or box.is_over:
                    # In a child process, that of its parent is over.
                    box = _OF_FOLDERS[folder] = BlackBox(folder)
                return box
