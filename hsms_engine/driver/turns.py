"""Who has the next turn: connections of one event loop take turns, in slices of time.

Slices are long as long as every connection has much to do, because short ones cost much time. They
are short while some connection has little to do at a time, such as a host that sends one request
after the other: its frames are handled when they come, and it must not wait long for the others.
Then only one connection that has much to do has its slice in each pass of the event loop, the one
with the least debt first; and none in the pass after a connection had little to do, in which its
program may answer. So a peer that floods costs the others the time of one short slice, however many
such peers there are. And only one connection is accepted in each pass, because it costs as much as
many frames.

Time is trio's clock. On a virtual clock a slice takes no time and ends by its number of frames, so
runs stay exactly repeatable.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple, NoReturn

import trio


class Slice(NamedTuple):
    """How much one connection may do in one turn of its task; frames are also messages.

    ``look``: the frames after which the clock is looked at.
    """

    seconds: float
    frames: int
    look: int


LONG = Slice(0.001, 1_024, 32)
SHORT = Slice(0.000_1, 64, 2)
# The messages of a program between two looks at the clock.
_MESSAGES = 4

# A connection has little to do when so few frames, and bytes, have come at once.
LITTLE_FRAMES, LITTLE_BYTES = 2, 4_096
# Slices are short for so many seconds after another connection had little to do.
_LATELY = 0.05
# Up to the first debt, in seconds, a connection does not wait; up to the second, its debt grows.
_SMALL_DEBT, _LARGEST_DEBT = 0.000_4, 0.004
# What a connection may use, as a part of all time, without getting into debt.
_FREE = 0.25


class Share:
    """One connection's part of the time of its event loop."""

    __slots__ = (
        "_began",
        "_clock",
        "_debt",
        "_left",
        "_messages",
        "_program_began",
        "_settled_at",
        "_slice",
        "_turns",
        "look",
    )

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._clock = turns.clock
        self._debt = 0.0
        self._settled_at = 0.0
        # Of the reader: when its slice began, and the frames in it that are left.
        self._began = 0.0
        self._left = 0
        # Of the program: the messages since others had a turn, and when the first few were done.
        self._program_began = 0.0
        self._messages = 0
        # The slice in force, and the frames that may be handled before ``handled`` is called.
        self._slice = LONG
        self.look = LONG.look

    # The reader of the connection

    def begin(self) -> None:
        """A slice begins."""
        self._began = self._clock()
        self._slice = self._turns.slice_for(self, self._began)
        self.look, self._left = self._slice.look, self._slice.frames

    def handled(self) -> bool:
        """``look`` frames, or fewer, are handled. Returns whether the slice is over."""
        self._left -= self.look
        return self._left <= 0 or self._clock() - self._began >= self._slice.seconds

    def end(self) -> bool:
        """The slice ends. Returns whether to ``wait``."""
        now = self._clock()
        self._use(now, now - self._began)
        return self._slice is SHORT and self.is_heavy

    @property
    def is_heavy(self) -> bool:
        """Whether it has used so much lately that it waits for its slices."""
        return self._debt > _SMALL_DEBT

    def handled_little(self, *, all_of_it: bool) -> None:
        """Not more than the first few frames are handled, without a slice; perhaps all there is.

        They cost too little to be measured.
        """
        if all_of_it:
            self._turns.had_little(self, self._clock())

    def _use(self, now: float, seconds: float) -> None:
        owed = self._debt - _FREE * (now - self._settled_at)
        self._debt = min(max(owed, 0.0) + seconds, _LARGEST_DEBT)
        self._settled_at = now

    async def wait(self) -> None:
        """Wait for the next slice; at least, let all other tasks have a turn."""
        if self._slice is SHORT:
            await self._turns.wait(self._debt)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()

    def leave(self) -> None:
        """There is nothing to do for this task: another connection may have its slice."""
        self._turns.leave()

    # The program that takes and answers its messages

    def resume(self) -> None:
        """The program has waited for a message, so the others had a turn."""
        self._messages = 0

    def count_message(self) -> bool:
        """The program takes or answers a message. Returns whether it is to ``pause`` first."""
        self._messages += 1
        if self._messages % _MESSAGES:
            return False
        now = self._clock()
        if self._messages == _MESSAGES:
            # Most programs have waited again by now, and no clock was read for them.
            self._program_began = now
        self._slice = self._turns.slice_for(self, now)
        seconds, frames, _ = self._slice
        return self._messages >= frames or now - self._program_began >= seconds

    async def pause(self) -> None:
        """The program's slice is over: let others have a turn."""
        now = self._clock()
        self._use(now, now - self._program_began)
        await self.wait()
        self.leave()
        self.resume()


class Turns:
    """The connections of one event loop that wait for a slice."""

    def __init__(self) -> None:
        # The method itself, because it is called for every few messages.
        self.clock = trio.lowlevel.current_clock().current_time
        # The earliest first: when it began to wait plus its debt, so that nobody waits for ever.
        self._waiting: list[tuple[float, int, trio.lowlevel.Task]] = []
        self._numbers = itertools.count()
        # The task that has its slice.
        self._holder: trio.lowlevel.Task | None = None
        # The latest connection that had little to do, and when; and when another one had.
        self._latest: Share | None = None
        self._latest_at = self._other_at = -math.inf
        # Whether some connection had little to do, and its program may not have answered yet.
        self._goes_first = False

    def had_little(self, share: Share, now: float) -> None:
        """``share`` had little to do."""
        if self._latest is not share:
            self._latest, self._other_at = share, self._latest_at
        self._latest_at = now
        self._goes_first = True

    @property
    def are_short(self) -> bool:
        """Whether some connection has little to do at a time."""
        return self.clock() - self._latest_at < _LATELY

    def slice_for(self, share: Share, now: float) -> Slice:
        """The slice of ``share``, which begins now."""
        at = self._other_at if self._latest is share else self._latest_at
        return SHORT if now - at < _LATELY else LONG

    async def wait(self, debt: float) -> None:
        """Wait until this task is the one that has its slice."""
        await self._wait(debt)
        if self._goes_first:
            self._goes_first = False
            await trio.lowlevel.cancel_shielded_checkpoint()

    async def _wait(self, debt: float) -> None:
        task = trio.lowlevel.current_task()
        entry = (self.clock() + debt, next(self._numbers), task)
        if self._holder is None or self._holder is task:
            first = heapq.heappushpop(self._waiting, entry)
            self._holder = first[2]
            if first is entry:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return
            trio.lowlevel.reschedule(self._holder)
        else:
            heapq.heappush(self._waiting, entry)

        def abort(_: Callable[[], NoReturn]) -> trio.lowlevel.Abort:
            self._waiting.remove(entry)
            heapq.heapify(self._waiting)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def leave(self) -> None:
        """This task has nothing to do now."""
        if self._holder is not None and self._holder is trio.lowlevel.current_task():
            self._holder = heapq.heappop(self._waiting)[2] if self._waiting else None
            if self._holder is not None:
                trio.lowlevel.reschedule(self._holder)


_TURNS: trio.lowlevel.RunVar[Turns] = trio.lowlevel.RunVar("hsms_engine_turns")


def turns_here() -> Turns:
    """The turns of this event loop."""
    try:
        turns = _TURNS.get()
    except LookupError:
        turns = Turns()
        _TURNS.set(turns)
    return turns


def new_share() -> Share:
    """The share of a new connection of this event loop."""
    return Share(turns_here())
