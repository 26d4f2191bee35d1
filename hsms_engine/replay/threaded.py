"""A side of a recording for programs that do not run trio: it is played in a thread of its own.

``with replay_in_thread(partial(serve_replay, file, "equipment")) as replayed`` is the same as
``serve_replay``, with calls that wait, for plain and asyncio tests alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from hsms_engine.doors.thread import TrioThread
from hsms_engine.in_thread import PATIENCE, InThread, served
from hsms_engine.replay.conversation import Conversation
from hsms_engine.replay.errors import ReplayError
from hsms_engine.replay.serving import Replayed


class ThreadedReplay(InThread):
    """A side of a recording in a thread of its own. Every call may come from any thread."""

    def __init__(self, thread: TrioThread, replayed: Replayed) -> None:
        super().__init__(thread, "replayed")
        self._replayed = replayed

    @property
    def conversation(self) -> Conversation:
        """What is in the recording."""
        return self._replayed.conversation

    @property
    def address(self) -> str:
        """``host:port``."""
        return self._replayed.address

    @property
    def port(self) -> int:
        """The TCP port; the system has chosen it unless the settings have one."""
        return self._replayed.port

    @property
    def missing(self) -> int:
        """How many messages of the recording, of both sides, are not played yet."""
        return self._look(lambda: self._replayed.missing)

    def finished(self, *, timeout: float = PATIENCE) -> None:
        """Wait until all is played, at most ``timeout`` seconds, and then play no more.

        Raises ``ReplayError`` for the first difference, and for what is missing then. In a test
        that runs an event loop this would stop the loop, and raises ``RuntimeError``: await
        ``asyncio.to_thread(replayed.finished)``.
        """
        __tracebackhide__ = True
        self._refuse_loop("finished")

        async def wait() -> None:
            with trio.move_on_after(timeout) as scope:
                await self._replayed.finished()
            if scope.cancelled_caught:
                await self._replayed.aclose()
                await self._replayed.finished()

        try:
            self._call(wait)
        except ReplayError as error:
            # Where it was raised in the other thread says nothing to who reads it.
            raise error.with_traceback(None) from error.__cause__


@contextmanager
def replay_in_thread(
    serve: Callable[..., Awaitable[None]], *, patience: float = PATIENCE
) -> Iterator[ThreadedReplay]:
    """Run ``serve``, which is ``serve_replay`` with its arguments, as long as the block lasts.

    Raises what ``serve_replay`` raises before it listens, and ``RuntimeError`` when a function that
    was given to it has not returned after ``patience`` seconds.
    """
    with served("replay", serve, patience) as (thread, replayed):
        yield ThreadedReplay(thread, replayed)
