"""A fake equipment for programs that do not run trio, or another trio: it runs in its own thread.

``with run_in_thread(partial(serve_fake, ...)) as equipment`` is the same equipment with calls that
wait, for plain, asyncio and trio tests alike. Nothing here needs the caller to run an event loop,
and only ``request``, ``until`` and ``expect`` wait for a peer. In a test that runs an event loop,
``expect`` is awaited: it waits in a thread, and the loop goes on.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from hsms_engine.doors.thread import TrioThread
from hsms_engine.fake.behaviours import Behaviours
from hsms_engine.fake.equipment import FakeEquipment
from hsms_engine.fake.history import WITHIN, NotSeenError, Seen
from hsms_engine.fake.model import Id
from hsms_engine.fake.tool import Answer, Tool, by_name
from hsms_engine.in_thread import PATIENCE, InThread, T, Threaded, running_loop, served
from hsms_engine.message import Message
from hsms_engine.secs2 import Item, Plain
from hsms_engine.sml import parse_pattern

if TYPE_CHECKING:
    from hsms_engine.fake.threaded_chart import ThreadedChart


class Expected:
    """A message that is expected: found, or to be awaited where an event loop runs.

    ``await equipment.expect(pattern)`` gives it when it is found, and raises as ``expect``. When
    that is cancelled, the message is left for who expects it next.
    """

    def __init__(
        self, holder: InThread, of: FakeEquipment | Tool, pattern: str, within: float
    ) -> None:
        __tracebackhide__ = True
        self._holder = holder
        self._of = of
        self._pattern = pattern
        self._within = within
        self._loop = running_loop()
        self._is_awaited = False
        self._seen = self._find(trio.CancelScope()) if self._loop is None else None

    def _find(self, scope: trio.CancelScope) -> Seen:
        __tracebackhide__ = True

        async def find() -> Seen:
            with scope:
                return await self._of.expect(self._pattern, self._within)
            raise NotSeenError(f"nobody waits for {self._pattern} any more")

        try:
            return self._holder._call(find)
        except NotSeenError as error:
            # Where it was raised in the other thread says nothing to who reads it.
            raise error.with_traceback(None) from None

    def __await__(self) -> Generator[Any, Any, Expected]:
        __tracebackhide__ = True
        self._is_awaited = True
        if self._seen is None:
            assert self._loop is not None
            scope = trio.CancelScope()
            find = partial(self._find, scope)
            try:
                self._seen = yield from self._loop.in_thread(find).__await__()
            finally:
                # The thread may still look for it.
                self._holder._thread.soon(scope.cancel)
        return self

    def __del__(self) -> None:
        if self._loop is not None and not self._is_awaited:
            warnings.warn(
                f"expect({self._pattern!r}) was never awaited, so nothing was looked for: in a "
                "test that runs an event loop, await it",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )

    def __getitem__(self, name: str) -> Item:
        """What the pattern has named so."""
        return self._found[name]

    def __repr__(self) -> str:
        return f"<Expected {self._seen or 'not awaited'}>"

    @property
    def message(self) -> Message:
        return self._found.message

    @property
    def names(self) -> Mapping[str, Item]:
        """What the pattern has named."""
        return self._found.names

    @property
    def is_sent(self) -> bool:
        """Whether the equipment has sent it; else it has received it."""
        return self._found.is_sent

    @property
    def peer(self) -> str:
        """The other end of its connection."""
        return self._found.peer

    @property
    def _found(self) -> Seen:
        if self._seen is None:
            raise RuntimeError("in a test that runs an event loop: await equipment.expect(...)")
        return self._seen


class _Acting(InThread):
    """What a test looks at and makes happen: of one tool, or of the equipment that has one.

    Where a variable, an event or an alarm is named, an id does, a number or a text, and a name too:
    ``LookupError`` says what there is.
    """

    _acting: FakeEquipment | Tool
    _text_encoding: str | None

    def _act(self, call: Callable[[], T]) -> T:
        """What ``call`` returns. What it raises tells of its arguments, so not of this code."""
        __tracebackhide__ = True
        try:
            return self._look(call)
        except (LookupError, ValueError) as error:
            raise error.with_traceback(None) from None

    def value(self, variable: Id) -> Item:
        """The present value of a variable or a constant."""
        __tracebackhide__ = True
        return self._act(lambda: self._acting.value(variable))

    def set(self, variable: Id, value: Item | Plain) -> None:
        """Give a variable a value. Raises ``ValueError`` for one that it may not have."""
        __tracebackhide__ = True
        self._act(lambda: self._acting.set(variable, value))

    def event(self, event: Id) -> None:
        """An event happens: S6F11 with the reports that are linked, if it is enabled."""
        __tracebackhide__ = True
        self._act(lambda: self._acting.event(event))

    def alarm(self, alarm: Id) -> None:
        """An alarm is set: S5F1 if it is enabled, and the event that goes with it."""
        __tracebackhide__ = True
        self._act(lambda: self._acting.alarm(alarm))

    def clear(self, alarm: Id) -> None:
        """An alarm is cleared."""
        __tracebackhide__ = True
        self._act(lambda: self._acting.clear(alarm))

    @property
    def received(self) -> list[Message]:
        """The data messages received until now, at most the last 10,000."""
        return self._look(lambda: self._acting.received)

    @property
    def sent(self) -> list[Message]:
        """The data messages sent until now, at most the last 10,000."""
        return self._look(lambda: self._acting.sent)

    def expect(self, pattern: str, within: float = WITHIN) -> Expected:
        """A message that was received or sent and matches, or the first one to come.

        In a plain test this waits; in one that runs asyncio or trio, await it. Raises as
        ``FakeEquipment.expect``.
        """
        __tracebackhide__ = True
        # A text that is no pattern is refused here, and not where it is awaited.
        parse_pattern(pattern, self._text_encoding)
        return Expected(self, self._acting, pattern, within)


class ThreadedTool(_Acting):
    """One tool of a fake equipment in a thread. Every call may come from any thread."""

    def __init__(self, thread: TrioThread, tool: Tool, text_encoding: str | None) -> None:
        super().__init__(thread, "tool")
        self._acting = tool
        self._text_encoding = text_encoding


class ThreadedEquipment(Threaded, _Acting):
    """A fake equipment in a thread of its own. Every call may come from any thread.

    ``counts`` has how often each thing has happened until now, as ``FakeEquipment.counts`` says.
    """

    def __init__(self, thread: TrioThread, equipment: FakeEquipment) -> None:
        super().__init__(thread, equipment, "equipment")
        self._acting = self._equipment = equipment
        self._text_encoding = equipment.settings.text_encoding

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._equipment.host

    @property
    def port(self) -> int:
        """The TCP port; the system has chosen it unless the settings have one."""
        return self._equipment.port

    @property
    def tools(self) -> Mapping[str, ThreadedTool]:
        """Its tools, by name."""
        encoding = self._text_encoding
        tools = self._equipment.tools.items()
        return by_name({name: ThreadedTool(self._thread, each, encoding) for name, each in tools})

    @property
    def chart(self) -> ThreadedChart:
        """The chart of the tool. Raises ``LookupError`` when it has none."""
        # Only who gives it a chart needs it.
        from hsms_engine.fake.threaded_chart import ThreadedChart

        return ThreadedChart(self._thread, self._look(lambda: self._equipment.chart))

    def behave(self, *behaviours: str) -> None:
        """Replace all behaviours by these, as ``FakeEquipment.behave`` does."""
        __tracebackhide__ = True
        # What is none is refused here, and not in the other thread.
        Behaviours.parse(behaviours)
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
