"""Plays a scenario over a selected connection.

Invariants:

* All that comes is taken at once. A primary that a later step may expect waits for that step,
  without a reply; each other one is answered as ``courtesy`` has it, and told. None is lost.
* What waits is at most ``_MOST_WAITING`` messages and ``inbox_bytes``: one more is answered so too.
* Of several primaries that a step may take, it takes the one that came first.
* All is told in the order of the wire: of two tasks that wake for two messages, which were read at
  once, the one with the earlier message tells it first.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Never, TypeAlias, assert_never

import trio

from hsms_engine.connection import HsmsConnection
from hsms_engine.difference import brief, diff, indices, short
from hsms_engine.errors import AbortedError, HsmsError, StreamNineError
from hsms_engine.message import Message
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.scenario import courtesy
from hsms_engine.scenario.errors import DifferenceError, StepError
from hsms_engine.scenario.steps import (
    WITHIN,
    Expect,
    Repeat,
    Save,
    Scenario,
    Send,
    Step,
    Wait,
)
from hsms_engine.secs2 import Item
from hsms_engine.sml import Difference, Node, Pattern, Template, fill
from statecharts.nursery import open_bare_nursery

_MOST_WAITING: Final = 1_000
# Messages that an error shows, or compares with.
_REMEMBERED: Final = 20


@dataclass(frozen=True, slots=True)
class Began:
    """A step begins. ``rounds``: in which round of each ``repeat`` around it, from 1."""

    step: Step
    rounds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Passed:
    """A step is done, after ``seconds``."""

    step: Step
    rounds: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Unexpected:
    """A primary came that no step expects, and was answered; ``reply`` None: it wants none."""

    message: Message
    reply: Message | None


Told: TypeAlias = Began | Passed | Unexpected


@dataclass(slots=True)
class _Seen:
    """One message. ``number`` counts what went over the wire since the scenario began; 0: it came
    before that. ``is_open``: it came, and no step has taken it.
    """

    number: int
    at: float
    way: Literal["sent", "came"]
    message: Message
    is_open: bool = False


async def play(
    scenario: Scenario, connection: HsmsConnection, tell: Callable[[Told], object] | None = None
) -> Mapping[str, Item]:
    """Play all steps; ``connection`` is selected, and nobody else takes its primaries.

    Returns all values that have a name at the end. ``tell`` is called at once, in this task, for
    what happens. Raises ``DifferenceError`` when what came is not what a step expects, and
    ``StepError`` when a step fails in another way: nothing came in time, the connection is over.
    """
    player = _Player(scenario, connection, tell or (lambda _: None))
    async with open_bare_nursery() as nursery:
        connection.on_message(player.watch)
        try:
            nursery.start_soon(player.take)
            await player.play(scenario.steps, ())
            nursery.cancel_scope.cancel()
        finally:
            connection._forget_callback(player.watch)
    return player.names


class _Player:
    def __init__(
        self, scenario: Scenario, connection: HsmsConnection, tell: Callable[[Told], object]
    ) -> None:
        self._connection = connection
        self._tell = tell
        self._courtesy = courtesy.HOST if scenario.role == "host" else courtesy.EQUIPMENT
        self._saved = dict(scenario.values)
        self._bound: dict[str, Item] = {}
        # How often each step that takes a primary is still to be played, by its number.
        self._ahead: Counter[str] = Counter()
        self._patterns: dict[str, Pattern] = {}
        self._look_ahead(scenario.steps, 1)
        self._waiting: list[_Seen] = []
        self._seen: deque[_Seen] = deque(maxlen=_REMEMBERED)
        self._count = 0
        # Primaries in the inbox of the connection, which bounds them; the oldest first.
        self._coming: deque[_Seen] = deque()
        # Why nothing more comes.
        self._over: HsmsError | str | None = None
        self._news = trio.Event()
        # Of the step that is played: its request and the system bytes of that, the pattern of the
        # primary that it waits for, and what it has got. What came after that is told after it.
        self._rounds: tuple[int, ...] = ()
        self._request: Message | None = None
        self._system_bytes: int | None = None
        self._awaited: Pattern | None = None
        self._got: _Seen | None = None

    @property
    def names(self) -> dict[str, Item]:
        """All values that have a name."""
        return self._bound | self._saved

    def _look_ahead(self, steps: tuple[Step, ...], times: int) -> None:
        for step in steps:
            match step:
                case Repeat():
                    self._look_ahead(step.steps, times * step.times)
                case Expect(pattern=pattern) | Send(expect=Pattern(stream=9) as pattern):
                    self._ahead[step.number] += times
                    self._patterns[step.number] = pattern
                case _:
                    pass

    # What comes

    async def take(self) -> None:
        """Take all primaries, until the connection is over."""
        try:
            async for primary in self._connection:
                seen = self._came(primary)
                while self._got is not None and self._got.number < seen.number:
                    await self._news.wait()
                seen.is_open = True
                if self._is_expected(primary) and self._has_room(primary):
                    self._waiting.append(seen)
                    if self._awaited is not None and self._matches(self._awaited, primary):
                        self._got = seen
                    self._wake()
                else:
                    # Who waits for this one to be told wakes when it is.
                    self._wake()
                    await self._be_courteous(seen)
            self._over = "the other side has separated"
        except HsmsError as error:
            self._over = error
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    def _is_expected(self, primary: Message) -> bool:
        return any(
            self._ahead[number] and pattern.match(primary) is not None
            for number, pattern in self._patterns.items()
        )

    def _has_room(self, primary: Message) -> bool:
        size = sum(len(seen.message.body) for seen in self._waiting)
        room = self._connection.settings.inbox_bytes
        return len(self._waiting) < _MOST_WAITING and size + len(primary.body) <= room

    async def _be_courteous(self, seen: _Seen) -> None:
        reply = courtesy.answer(self._courtesy, seen.message)
        self._tell(Unexpected(seen.message, reply))
        if reply is not None:
            await self._connection.reply(seen.message, reply)

    def watch(self, traffic: Traffic) -> None:
        """A message goes over the wire; this is called in its order, before any task gets it."""
        message, is_request = traffic.message, traffic.header.function % 2 == 1
        if message is None:
            return
        self._count += 1
        seen = _Seen(self._count, traffic.at, "sent" if traffic.sent else "came", message)
        self._seen.append(seen)
        if traffic.sent:
            if message is self._request:
                self._system_bytes = traffic.header.system_bytes
        elif traffic.passed_over is None:
            if is_request:
                self._coming.append(seen)
            elif traffic.header.system_bytes == self._system_bytes:
                self._got = seen

    def _came(self, primary: Primary) -> _Seen:
        """This one, of which ``watch`` knows unless it came before the scenario began."""
        if self._coming and self._coming[0].message is primary:
            return self._coming.popleft()
        seen = _Seen(0, primary.received_at, "came", primary)
        self._seen.append(seen)
        return seen

    # Steps

    async def play(self, steps: tuple[Step, ...], rounds: tuple[int, ...]) -> None:
        """Play some steps, one after the other."""
        for step in steps:
            self._rounds = rounds
            self._tell(Began(step, rounds))
            began = trio.current_time()
            try:
                await self._play(step, rounds)
            except HsmsError as error:
                self._fail(step, str(error), error)
            self._tell(Passed(step, rounds, trio.current_time() - began))
            self._system_bytes = self._got = None
            self._wake()

    async def _pass(self, step: Step) -> None:
        """A step that takes a primary is over: what waited for it only waits for none now."""
        self._ahead[step.number] -= 1
        for seen in [each for each in self._waiting if not self._is_expected(each.message)]:
            self._waiting.remove(seen)
            await self._be_courteous(seen)

    async def _play(self, step: Step, rounds: tuple[int, ...]) -> None:
        match step:
            case Send():
                await self._send(step)
                if step.number in self._patterns:
                    await self._pass(step)
            case Expect():
                await self._expect(step)
                await self._pass(step)
            case Wait():
                with trio.move_on_after(step.seconds):
                    while self._over is None:
                        await self._news.wait()
                    self._fail_over(step, "while it waited")
            case Save():
                for name, node in step.values.items():
                    self._saved[name] = self._fill(step, node)
            case Repeat():
                for number in range(1, step.times + 1):
                    await self.play(step.steps, (*rounds, number))
            case _:
                assert_never(step)

    async def _send(self, step: Send) -> None:
        message = self._message(step, step.message, None)
        if not message.wait:
            await self._connection.send(message)
            return
        within = math.inf if step.within is None else step.within
        reply: Message | AbortedError | None = None
        self._request = message
        with trio.move_on_after(within):
            try:
                reply = await self._connection.request(message)
            except AbortedError as error:
                reply = error
            except StreamNineError as error:
                expected = step.expect
                if expected is None or _key(expected) != (9, error.function):
                    raise
                # The report itself comes as each primary does.
                await self._take_primary(step, expected, WITHIN)
                return
        if reply is None:
            self._fail(step, f"no reply came within {within:g} s")
        await self._tell_earlier()
        if isinstance(reply, AbortedError):
            if step.expect is None or step.expect.function != 0:
                raise reply
            return
        if step.expect is not None:
            names = step.expect.match(reply, self._saved)
            if names is None:
                difference = step.expect.difference(reply, self._saved)
                assert difference is not None
                self._raise(step, reply, difference, "the reply")
            self._bound |= names

    async def _tell_earlier(self) -> None:
        """Let all be told that came before what this step has got."""
        while self._over is None and self._got is not None and self._coming:
            if self._coming[0].number > self._got.number:
                return
            await self._news.wait()

    async def _expect(self, step: Expect) -> None:
        primary = await self._take_primary(step, step.pattern, step.within)
        reply = courtesy.answer(self._courtesy, primary)
        if step.reply is not None:
            if not primary.wait:
                what = Difference("", f"{primary.name} W", primary.name)
                self._raise(step, primary, what, f"{primary.name} is to be answered, and")
            reply = self._message(step, step.reply, primary)
        if reply is not None and step.is_answered:
            await self._connection.reply(primary, reply)

    async def _take_primary(self, step: Send | Expect, pattern: Pattern, within: float) -> Message:
        """The first primary that matches, when it has come."""
        await trio.lowlevel.checkpoint()
        seen = None
        self._awaited = pattern
        with trio.move_on_after(within):
            while (seen := self._claim(pattern)) is None:
                if self._over is not None:
                    self._fail_over(step, f"before {pattern.name} came")
                await self._news.wait()
        self._awaited = None
        if seen is None:
            self._fail_late(step, pattern, f"within {within:g} s")
        return seen.message

    def _matches(self, pattern: Pattern, primary: Message) -> bool:
        return pattern.match(primary, self._saved) is not None

    def _claim(self, pattern: Pattern) -> _Seen | None:
        for seen in self._waiting:
            names = pattern.match(seen.message, self._saved)
            if names is not None:
                self._waiting.remove(seen)
                self._bound |= names
                seen.is_open = False
                return seen
        return None

    # What is sent

    def _message(self, step: Step, template: Template, request: Message | None) -> Message:
        encoding = self._connection.settings.text_encoding
        try:
            return Message.from_template(template, request, self.names, text_encoding=encoding)
        except (LookupError, ValueError) as error:
            self._fail(step, str(error), error)

    def _fill(self, step: Step, node: Node) -> Item:
        try:
            return fill(node, None, self.names)
        except (LookupError, ValueError) as error:
            self._fail(step, str(error), error)

    # What goes wrong

    def _fail(self, step: Step, problem: str, cause: Exception | None = None) -> Never:
        raise StepError(step, problem, self._history(), self._rounds) from cause

    def _fail_over(self, step: Step, when: str) -> Never:
        assert self._over is not None
        cause = self._over if isinstance(self._over, HsmsError) else None
        self._fail(step, f"{self._over}, {when}", cause)

    def _fail_late(self, step: Step, pattern: Pattern, late: str) -> Never:
        """Nothing that came in time is what a step expects."""
        near = [
            (difference, seen.message)
            for seen in self._seen
            if seen.is_open and (seen.message.stream, seen.message.function) == _key(pattern)
            if (difference := pattern.difference(seen.message, self._saved)) is not None
        ]
        if not near:
            self._fail(step, f"no {pattern.name} came {late}")
        # The one that is right for longest; of several, the latest.
        near.sort(key=lambda each: indices(each[0].path))
        difference, message = near[-1]
        self._raise(step, message, difference, f"no such {pattern.name} came {late}; one")

    def _raise(self, step: Step, message: Message, what: Difference, whose: str) -> Never:
        where = f" at {what.path}" if what.path else ""
        raise DifferenceError(
            step,
            f"{whose} differs{where}: expected {brief(what.expected)}, found {brief(what.found)}",
            self._history(),
            self._rounds,
            path=what.path,
            expected=what.expected,
            found=what.found,
            diff=tuple(diff(message, what)),
        )

    def _history(self) -> list[str]:
        """What came and what was sent, the latest last, with the seconds that have passed since."""
        now = trio.current_time()
        lines = [
            f"  {seen.way} {now - seen.at:.3f} s ago: {short(seen.message)}"
            for seen in sorted(self._seen, key=lambda each: each.at)
        ]
        return ["messages so far, the latest last:", *lines] if lines else ["no message so far"]


def _key(pattern: Pattern) -> tuple[int, int]:
    return pattern.stream, pattern.function
