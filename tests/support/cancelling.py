"""Cancels an operation after the k-th step of any task of its run, for every k, and looks at it.

A cancellation from outside may come between any two steps of any task: while the operation waits,
when what it waits for has come and it has not run yet, and before it has begun (k = 0). So the
steps of all tasks are counted, from the begin of the operation on. The scheduler is seeded: the
k-th step is the same one in each run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import trio

from tests.support.leaks import engine_tasks


@dataclass(frozen=True, slots=True)
class Returned:
    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    error: Exception


@dataclass(frozen=True, slots=True)
class Cancelled:
    pass


Outcome = Returned | Raised | Cancelled


class Cut(trio.abc.Instrument):
    """One run: the operation is cancelled after the step of number ``at``, and again after
    ``more`` more steps, if the operation lives so long.
    """

    def __init__(self, at: int, more: int | None = None, *, is_virtual: bool = True) -> None:
        self.at = at
        self._is_virtual = is_virtual
        self._more = more
        self._steps = 0
        self._is_watching = False
        self._scopes: list[trio.CancelScope] = []
        self._task: trio.lowlevel.Task | None = None
        # What the program sees in the moment of the cancellation.
        self.look: Callable[[], object] = lambda: None
        self.seen: object = None
        # Whether it was cancelled; when; and whether that ended a wait of the operation itself.
        self.is_made = False
        self.made_at = 0.0
        self.has_woken = False
        self._is_cancelling = False

    @contextmanager
    def watching(self, *scopes: trio.CancelScope) -> Iterator[None]:
        """Cancel ``scopes``, one after the other, by the steps within this block."""
        self._scopes = list(scopes)
        self._task = trio.lowlevel.current_task()
        self._is_watching = True
        if not self.at:
            self._cancel()
        try:
            yield
        finally:
            self._is_watching = False

    async def __call__(self, operation: Callable[[], Awaitable[Any]]) -> Outcome:
        """What becomes of ``operation``, which must end in the moment of its cancellation."""
        outcome = await self.patiently(operation)
        # No other clock is exact.
        assert not (self.is_made and self._is_virtual) or trio.current_time() == self.made_at
        return outcome

    async def patiently(self, operation: Callable[[], Awaitable[Any]]) -> Outcome:
        """What becomes of ``operation``, which may take its time."""
        outcome: Outcome = Cancelled()
        with trio.CancelScope() as outer, trio.CancelScope() as inner, self.watching(inner, outer):
            try:
                outcome = Returned(await operation())
            except Exception as error:  # noqa: BLE001  # it is the outcome, whatever it is
                outcome = Raised(error)
        was_caught = inner.cancelled_caught or outer.cancelled_caught
        # None is swallowed, and none comes of another scope.
        assert was_caught == (outcome == Cancelled())
        assert not (self.has_woken and isinstance(outcome, Returned)), outcome
        return outcome

    def after_task_step(self, _: trio.lowlevel.Task) -> None:
        if self._is_watching:
            self._steps += 1
            if self._steps == self.at or (
                self.is_made and self._steps == self.at + (self._more or 0)
            ):
                self._cancel()

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if self._is_cancelling and task is self._task:
            self.has_woken = True

    def _cancel(self) -> None:
        if self._scopes:
            if not self.is_made:
                self.seen = self.look()
                self.made_at = trio.current_time()
            self.is_made = self._is_cancelling = True
            self._scopes.pop(0).cancel()
            self._is_cancelling = False


def nothing_runs() -> None:
    """No task of the engine is left in this run of trio."""
    assert engine_tasks() == []
