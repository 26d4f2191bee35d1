"""A fake equipment for programs that do not run trio, or another trio: it runs in its own thread.

``with run_in_thread(partial(serve_fake, ...)) as equipment`` is the same equipment with calls that
wait, for plain, asyncio and trio tests alike. Nothing here needs the caller to run an event loop,
and only ``request`` and ``until`` wait for a peer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from hsms_engine.doors.thread import TrioThread
from hsms_engine.fake.conversation import Answer
from hsms_engine.fake.equipment import FakeEquipment
from hsms_engine.in_thread import PATIENCE, Threaded, served
from hsms_engine.message import Message


class ThreadedEquipment(Threaded):
    """A fake equipment in a thread of its own. Every call may come from any thread.

    ``counts`` has how often each thing has happened until now, as ``FakeEquipment.counts`` says.
    """

    def __init__(self, thread: TrioThread, equipment: FakeEquipment) -> None:
        super().__init__(thread, equipment, "equipment")
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
        self._refuse_loop("request")
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


@contextmanager
def run_in_thread(
    serve: Callable[..., Awaitable[None]], *, patience: float = PATIENCE
) -> Iterator[ThreadedEquipment]:
    """Run ``serve``, which is ``serve_fake`` with its arguments, as long as the block lasts.

    At the end its connections are closed without goodbye, whatever has become of it. Raises what
    ``serve_fake`` raises when it cannot listen, and ``RuntimeError`` when a function that was given
    to it has not returned after ``patience`` seconds.
    """
    with served("fake equipment", serve, patience) as (thread, equipment):
        yield ThreadedEquipment(thread, equipment)
