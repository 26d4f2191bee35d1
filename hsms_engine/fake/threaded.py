"""A fake equipment for programs that do not run trio, or another trio: it runs in its own thread.

``with run_in_thread(partial(serve_fake, ...)) as equipment`` is the same equipment with calls that
wait, for plain, asyncio and trio tests alike. Nothing here needs the caller to run an event loop,
and only ``request`` and ``until`` wait for a peer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

import trio

from hsms_engine.blocking.wait import now, wait_for
from hsms_engine.doors.thread import TrioThread
from hsms_engine.fake.conversation import Answer
from hsms_engine.fake.equipment import FakeEquipment
from hsms_engine.message import Message

T = TypeVar("T")

PATIENCE: Final = 30.0
"""How long ``until`` waits unless it is told otherwise, and the end for a function of the user, in
seconds."""


class ThreadedEquipment:
    """A fake equipment in a thread of its own. Every call may come from any thread."""

    def __init__(self, thread: TrioThread, equipment: FakeEquipment) -> None:
        self._thread = thread
        self._equipment = equipment

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._equipment.host

    @property
    def port(self) -> int:
        """The TCP port; the system has chosen it unless the settings have one."""
        return self._equipment.port

    @property
    def received(self) -> list[Message]:
        """The messages received until now, at most the last 10,000."""
        return self._look(lambda: list(self._equipment.received))

    @property
    def counts(self) -> Counter[str]:
        """How often each thing has happened until now, as ``FakeEquipment.counts`` says."""
        return self._look(self._equipment.counts.copy)

    def behave(self, *behaviours: str) -> None:
        """Replace all behaviours by these, as ``FakeEquipment.behave`` does."""
        self._call(lambda: self._equipment.behave(*behaviours))

    def send(self, message: Message) -> None:
        """Send a primary without W on every selected connection."""
        self._call(lambda: self._equipment.send(message))

    def request(self, message: Message) -> Message:
        """Send a primary with W on the one selected connection, and wait for its reply.

        Raises as ``FakeEquipment.request``; in a test that runs an event loop ``RuntimeError``, as
        ``until`` does.
        """
        _refuse_loop("request")
        return self._call(lambda: self._equipment.request(message))

    def kill(self) -> None:
        """Die as if the power were cut; ``restart`` may follow."""
        self._call(self._equipment.kill)

    def restart(self) -> None:
        """Listen again on the same port, after ``kill``. Raises as ``FakeEquipment.restart``."""
        self._call(self._equipment.restart)

    def answer(self, answer: Answer) -> Answer:
        """From now on ask this function first, as ``serve_fake`` does; also a decorator.

        It is called in the thread of the equipment, so an async one is a trio function.
        """
        self._equipment.answer = answer
        return answer

    def until(self, condition: Callable[[], bool], *, timeout: float = PATIENCE) -> None:
        """Wait until ``condition`` holds, at most ``timeout`` seconds.

        It is asked whenever something has happened here, in the thread of the equipment. Raises
        ``TimeoutError``. In a test that runs an event loop this would stop the loop, and raises
        ``RuntimeError``: await it in a thread, ``asyncio.to_thread(equipment.until, ...)`` or
        ``trio.to_thread.run_sync(equipment.until, ...)``.
        """
        _refuse_loop("until")

        async def wait() -> bool:
            with trio.move_on_after(timeout) as scope:
                await self._equipment.until(condition)
            return not scope.cancelled_caught

        if not self._call(wait):
            happened = ", ".join(f"{name} {count}" for name, count in self.counts.items())
            raise TimeoutError(f"not so within {timeout:g} s; until now: {happened}")

    def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        return wait_for(self._thread, function, "", None)

    def _look(self, read: Callable[[], T]) -> T:
        """What ``read`` returns, between two steps of what runs in the thread."""
        if self._thread.is_here or self._thread.is_over:
            return read()
        return now(self._thread, read)


def _refuse_loop(call: str) -> None:
    """Raise ``RuntimeError`` where an event loop runs, which ``call`` would stop."""
    if loop := _running_loop():
        raise RuntimeError(
            f"{call}() would stop the event loop of this test, which waits for it: await "
            f"{loop}(equipment.{call}, ...)"
        )


def _running_loop() -> str | None:
    """How to leave the event loop that runs in this thread, if one does."""
    if trio.lowlevel.in_trio_run():
        return "trio.to_thread.run_sync"
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    return "asyncio.to_thread"


@contextmanager
def run_in_thread(
    serve: Callable[..., Awaitable[None]], *, patience: float = PATIENCE
) -> Iterator[ThreadedEquipment]:
    """Run ``serve``, which is ``serve_fake`` with its arguments, as long as the block lasts.

    At the end its connections are closed without goodbye, whatever has become of it. Raises what
    ``serve_fake`` raises when it cannot listen, and ``RuntimeError`` when a function that was given
    to it has not returned after ``patience`` seconds.
    """
    thread = TrioThread("fake equipment")
    try:
        start = partial(thread.start_server, serve)
        yield ThreadedEquipment(thread, wait_for(thread, start, "", None))
    finally:
        if not thread.end(patience):
            raise RuntimeError(
                f"the fake equipment did not end in {patience:g} s: a function given to it does "
                "not return"
            )
