"""Who reads from a connection: its reader, or the task of the program that waits for a message.

A task that waits reads itself when the reader offers it. So a message is in the hands of the task
that waits for it in the turn in which it came, without a switch from one task to the other. Such a
task handles only what is little; all else is left to the reader, which takes turns with other
connections.

When a task has its message, and does not wait for the next one in the same step, the reader reads
on. An instrument of trio tells when that step is over: to wake the reader each time would cost the
switch that is to be saved, and a cancel scope for each wait would cost more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import trio

from hsms_engine.driver.lot import Lot


@runtime_checkable
class Readable(Protocol):
    """A stream on which waiting for bytes and taking them are two calls, as ``DirectStream``."""

    async def wait_readable(self) -> None: ...

    def stop_waiting(self) -> None: ...

    def receive_nowait(self, max_bytes: int) -> bytes | None: ...

    def receive_into_nowait(self, space: memoryview) -> int | None: ...


class _Steps(trio.abc.Instrument):
    """Sees the end of each step of a task, while some reader of this event loop rests."""

    def __init__(self) -> None:
        self._resting = 0
        # Those whose task has its message since the last step was over.
        self._left: list[Reading] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within this block the steps are seen."""
        if not self._resting:
            trio.lowlevel.add_instrument(self)
        self._resting += 1
        try:
            yield
        finally:
            self._resting -= 1
            if not self._resting:
                trio.lowlevel.remove_instrument(self)

    def go_on_after_step(self, reading: Reading) -> None:
        """Its task has its message: its reader goes on when this step is over, if it rests."""
        if self._resting:
            self._left.append(reading)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002  # trio's name
        """A step is over. It must not raise: trio would not call it again."""
        if self._left:
            left, self._left = self._left, []
            for reading in left:
                reading.go_on()


_STEPS: trio.lowlevel.RunVar[_Steps] = trio.lowlevel.RunVar("hsms_engine_steps")


def _steps_here() -> _Steps:
    try:
        return _STEPS.get()
    except LookupError:
        steps = _Steps()
        _STEPS.set(steps)
        return steps


class Reading:
    """The turns of the reader of one connection and of tasks that wait for messages."""

    __slots__ = (
        "_handle",
        "_is_handling",
        "_is_offered",
        "_is_read",
        "_left",
        "_rest",
        "_steps",
        "stream",
    )

    def __init__(
        self, stream: Readable, handle: Callable[[Readable], bytes | Exception | None]
    ) -> None:
        """``handle`` takes what has come; it returns what is left of it for the reader.

        That is bytes, none of them at the end, or why reading failed; None: nothing is left.
        """
        self.stream = stream
        self._handle = handle
        self._steps = _steps_here()
        # Whether the reader waits until it is to read, and where.
        self._is_offered = False
        self._rest = Lot()
        self._left: bytes | Exception | None = None
        # Whether a task reads in its place, and whether it handles what has come.
        self._is_read = False
        self._is_handling = False

    @property
    def is_free(self) -> bool:
        """Whether a task that waits is to read itself."""
        return self._is_offered and not self._is_read

    async def offer(self) -> None:
        """By the reader: a task has what it waited for. Wait while it reads by itself."""
        self._is_offered = True
        try:
            with self._steps.watched():
                # In the first pass it has its message, and may ask and wait again.
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                while self._is_read:
                    await self._rest.park()
        finally:
            self._is_offered = False

    async def read_until(self, done: Callable[[], bool]) -> None:
        """Read, in a task that waits, until ``done()``, or something is left."""
        self._is_read = True
        try:
            while not done():
                await self.stream.wait_readable()
                self._is_handling = True
                self._left = self._handle(self.stream)
                self._is_handling = False
                if self._left is not None:
                    self._is_offered = False
                    return
        except trio.ClosedResourceError:
            # The connection is over, as the engine tells who waits.
            self._is_offered = False
        finally:
            self._is_handling = self._is_read = False
            self._steps.go_on_after_step(self)

    def go_on(self) -> None:
        """The step in which a task got its message is over."""
        if not self._is_read:
            self._rest.unpark_all()

    @property
    def has_left(self) -> bool:
        """Whether something is left for the reader."""
        return self._left is not None

    def take_left(self) -> bytes | Exception | None:
        """By the reader: what is left for it."""
        left, self._left = self._left, None
        return left

    def wake(self) -> None:
        """What the task that reads waits for may have come about, or never will."""
        if self._is_read and not self._is_handling:
            self.stream.stop_waiting()
