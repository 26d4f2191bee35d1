"""One call into the trio thread: its outcome is for its caller, unless it was abandoned before.

Invariants:

* The first outcome counts, and never changes. ``wake`` is called once, when it is there, and is
  then forgotten: it may know the call, and what came with it must not wait for the collector.
* ``abandon`` and the first outcome race for one claim. A value that comes to an abandoned call goes
  to ``late``, so that a message is never lost on the way to its caller.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def forget(_: object) -> None:
    """Nobody misses it."""


def _nobody() -> None:
    """Nobody is to be woken any more."""


class Call(Generic[T]):
    """A call of another thread. ``wake`` is called in the trio thread when the outcome is there.

    ``late`` gets, in the trio thread, a value that came for nobody.
    """

    __slots__ = (
        "_claim",
        "_error",
        "_late",
        "_stop",
        "_value",
        "_wake",
        "is_abandoned",
        "undecided",
    )

    def __init__(self, wake: Callable[[], None], late: Callable[[T], None] = forget) -> None:
        self._wake = wake
        self._late = late
        # Held from the moment when it is decided whether the caller gets the outcome.
        self._claim = threading.Lock()
        self._value: T | None = None
        self._error: BaseException | None = None
        # Ends what runs for it; set in the trio thread while something does.
        self._stop: Callable[[], None] | None = None
        self.is_abandoned = False
        # The calls of the trio thread without an outcome, this one among them.
        self.undecided: set[Call[Any]] = set()

    # In the trio thread

    def begin(self, stop: Callable[[], None]) -> None:
        """What runs for it has begun, and ``stop`` ends it.

        Also before it is handed over, for what must happen though it is abandoned before it begins.
        """
        self._stop = stop

    def succeed(self, value: T) -> None:
        """It has its result. To be called once, and not after ``fail``."""
        if self._decide():
            self._value = value
            self._wake_caller()
        else:
            self._late(value)

    def fail(self, error: BaseException) -> None:
        """It has failed."""
        if self._decide():
            self._error = error
            self._wake_caller()

    def finish(self, function: Callable[[], T]) -> None:
        """Its outcome is what ``function`` returns or raises."""
        try:
            value = function()
        except BaseException as error:  # noqa: BLE001  # it is for the caller
            self.fail(error)
        else:
            self.succeed(value)

    def stop(self) -> None:
        """Nobody waits for it any more: end what runs for it."""
        if self._stop is not None:
            self._stop()

    def _wake_caller(self) -> None:
        wake, self._wake = self._wake, _nobody
        wake()

    # In the thread of the caller

    def abandon(self) -> bool:
        """Give it up. Returns false when it has its outcome, or gets it in this moment."""
        if self._decide():
            self.is_abandoned = True
            self._wake = _nobody
            return True
        return False

    def end(self, error: Exception) -> None:
        """Give it up for its caller, who gets ``error``, unless it has its outcome."""
        wake = self._wake
        if self.abandon():
            self._error = error
            wake()

    def result(self) -> T:
        """The result, or raises the error with which it has failed. To be called after ``wake``."""
        error, self._error = self._error, None
        if error is not None:
            # There is no value for anybody.
            self._late = forget
            try:
                raise error
            finally:
                # The traceback has this frame, which must not have the error.
                del error
        return self._value  # type: ignore[return-value]  # one of the two was set

    def give_back(self) -> None:
        """The caller cannot take the result. In the trio thread; a second call changes nothing."""
        late, self._late = self._late, forget
        if self._error is None:
            late(self._value)  # type: ignore[arg-type]  # as in ``result``

    # In either

    def _decide(self) -> bool:
        """Whether this is the first who decides about it."""
        if not self._claim.acquire(blocking=False):
            return False
        self.undecided.discard(self)
        return True
