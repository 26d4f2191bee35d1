"""The bytes of one connection on their way to the peer: queued, written, acknowledged.

A position is a number of bytes since the connection began. Bytes are *written* when the stream has
taken them. Some systems also tell which of these the peer's system has *acknowledged*; a driver
asks before it lets a timer judge (``Engine.acknowledged``). Three rules need this:

* A timer that waits for the peer's answer runs from the moment its frame was handed on: written,
  and not behind bytes that are still being acknowledged.
* A peer that takes our bytes is alive, so meanwhile no linktest is sent.
* Answers to what the peer asks are bounded by themselves, not together with the program's messages.
"""

from __future__ import annotations

import math


class Mark:
    """One frame of ours that a timer is about: where it lies, and since when it is handed on."""

    __slots__ = ("arrived", "end", "since", "start", "waited")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        # None: not wholly written.
        self.since: float | None = None
        # Whether all bytes before it are known to be acknowledged; whether it had to wait for that.
        self.arrived = False
        self.waited = False


class Outbox:
    """Positions on one connection. Times are seconds of the clock."""

    __slots__ = (
        "_answers",
        "_answers_before",
        "_unwritten",
        "_written_then",
        "_written_when_heard",
        "acknowledged",
        "asked_at",
        "batch_end",
        "batch_start",
        "blocked_from",
        "marks",
        "messages_end",
        "moved_at",
        "queued",
        "slow_since",
        "taken_at",
        "written",
    )

    def __init__(self) -> None:
        self.queued = 0
        self.written = 0
        # When the stream took some last.
        self.taken_at = -math.inf
        # The end of the last data message that is queued.
        self.messages_end = 0
        # By the id of the timer.
        self.marks: dict[str, Mark] = {}
        self._unwritten: list[Mark] = []
        # The write deadline is for the bytes from ``batch_start`` to ``batch_end``.
        self.batch_start = 0
        self.batch_end = 0
        # Where the bytes begin that the stream has not taken at once: it is the first of a run.
        self.blocked_from = 0
        # Bytes of answers queued before ``batch_end`` and after it, since nothing was queued.
        self._answers_before = 0
        self._answers = 0
        # As last told: the position up to which bytes are acknowledged, and what was written then.
        self.acknowledged = 0
        self._written_then = 0
        # When bytes were last found to be newly acknowledged while others still were not.
        self.moved_at = -math.inf
        # When it was last asked what is acknowledged: what is found then has come since.
        self.asked_at = -math.inf
        # What was written when a byte of the peer came last.
        self._written_when_heard = 0
        # Since when a linktest must wait because of that; None when it need not.
        self.slow_since: float | None = None

    @property
    def backlog(self) -> int:
        """The queued bytes that the stream has not taken."""
        return self.queued - self.written

    @property
    def answers(self) -> int:
        """At least as many bytes as there are answers in the backlog, and at most all of it."""
        return min(self._answers_before + self._answers, self.backlog)

    def put_message(self, size: int) -> None:
        """A data message of the program is queued."""
        self.queued += size
        self.messages_end = self.queued

    def put_answer(self, size: int) -> None:
        """An answer of ours is queued, for which no program waits."""
        self.queued += size
        self._answers += size

    def put_marked(self, size: int, timer: str) -> None:
        """A frame is queued from whose handing on ``timer`` runs."""
        mark = Mark(self.queued, self.queued + size)
        self.queued += size
        self.marks[timer] = mark
        self._unwritten.append(mark)

    def wrote(self, count: int, now: float) -> bool:
        """The stream has taken ``count`` more bytes. Whether a marked frame is wholly written."""
        if count:
            self.written += count
            self.taken_at = now
        if self.written == self.queued:
            self._answers_before = self._answers = 0
        reached = False
        while self._unwritten and self._unwritten[0].end <= self.written:
            self._unwritten.pop(0).since = now
            reached = True
        return reached

    def blocked(self, count: int) -> None:
        """The stream has taken only ``count`` bytes of what was queued while nothing waited."""
        self.blocked_from = self.written - count
        self.begin_batch()

    @property
    def has_answered(self) -> bool:
        """Whether bytes were written after the last byte of the peer."""
        return self.written > self._written_when_heard

    def begin_batch(self) -> None:
        """The write deadline starts, for all that is queued now."""
        self.batch_start, self.batch_end = self.written, self.queued
        self._answers_before, self._answers = self._answers, 0

    def heard(self) -> None:
        """Bytes of the peer have come."""
        self._written_when_heard = self.written

    def told(self, outstanding: int, now: float) -> None:
        """Of the written bytes, the last ``outstanding`` ones are not acknowledged."""
        acknowledged = self.written - outstanding
        if moves := outstanding > 0 and acknowledged > self.acknowledged:
            self.moved_at = now
        for mark in self.marks.values():
            if mark.since is None or mark.arrived:
                continue
            mark.arrived = acknowledged >= mark.start
            if not mark.arrived and moves:
                mark.waited = True
                mark.since = now
            elif mark.arrived and mark.waited:
                mark.since = now
        # What was written before is acknowledged: only newer bytes are on their way.
        caught_up = self.slow_since is not None and acknowledged >= self._written_then
        if caught_up or not outstanding:
            self.slow_since = None
        elif moves and acknowledged > self._written_when_heard:
            # What was written before the peer's last byte may have been acknowledged with it: that
            # is no later sign of life, while our answer to that byte is still on its way.
            self.slow_since = now
        self.acknowledged, self._written_then = acknowledged, self.written
