"""What users call, and the messages that they send and read, each of which has a number."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Awaitable, Callable

import trio

from hsms_engine import HsmsError, Message
from hsms_engine.errors import LinkDownError, ReplyTimeoutError
from hsms_engine.messaging import Messaging
from tests.simulation.beside import ROUNDING
from tests.simulation.plan import Action
from tests.simulation.watch import Watch


class Calls:
    """The calls of a run. Bodies are ``number|asks|call|padding``; those of a call are in order."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        # What was sent, and what came, each by its number.
        self.numbers = itertools.count(1)
        self.sent: dict[int, bytes] = {}
        self.came: set[int] = set()
        self._latest: dict[tuple[int, int], int] = {}
        # Those that have not ended.
        self.open: Counter[str] = Counter()

    def body(self, action: Action, call: int = 0) -> bytes:
        """The next message."""
        number = next(self.numbers)
        padding = (str(number).encode() * (action.size // len(str(number)) + 1))[: action.size]
        body = self.sent[number] = b"%d|%s|%d|%s" % (
            number,
            action.asks.encode(),
            call,
            padding,
        )
        return body

    def _not_sent(self, number: int) -> None:
        """The link was down, as the call has said: the message must never come."""
        del self.sent[number]

    def check_came(self, reader: int, name: str, body: bytes) -> None:
        """This message was sent, has not come yet, and comes in its order."""
        number = int(body.split(b"|")[0])
        if self.sent.get(number) != body:
            self._watch.fail(f"{name}: what came was never sent: {body[:100]!r}")
        if number in self.came:
            self._watch.fail(f"{name}: message {number} came twice")
        self.came.add(number)
        call = int(body.split(b"|", 3)[2])
        if call and self._latest.get((reader, call), 0) > number:
            self._watch.fail(f"{name}: message {number} came after a later one of the same call")
        self._latest[reader, call] = number

    async def make(
        self, label: str, call: Callable[[], Awaitable[object]], patience: float = math.inf
    ) -> str:
        """Make a call that may fail as calls do. How it ended."""
        self.open[label] += 1
        try:
            with trio.move_on_after(patience) as scope:
                await call()
            outcome = "given up" if scope.cancelled_caught else "done"
            if scope.cancelled_caught:
                self._watch.look()
        except HsmsError as error:
            outcome = type(error).__name__
        finally:
            self.open[label] -= 1
        self._watch.sometimes(f"{label.rpartition(': ')[2]}: {outcome}")
        self._watch.say(f"{label}: {outcome}")
        return outcome

    def make_now(self, label: str, call: Callable[[], object]) -> None:
        """The same, for a call that does not wait."""
        try:
            call()
            outcome = "done"
        except HsmsError as error:
            outcome = type(error).__name__
        self._watch.sometimes(f"{label.rpartition(': ')[2]}: {outcome}")
        self._watch.say(f"{label}: {outcome}")

    async def request(self, messaging: Messaging, action: Action) -> None:
        """Ask, and see that the reply is the one to this."""
        body = self.body(action)
        number, began, t3 = int(body.split(b"|")[0]), self._watch.clock.now, messaging.settings.t3
        self._watch.asked.add(number)
        try:
            reply = await messaging.request(Message(1, 1, wait=True, body=body))
        except LinkDownError:
            self._not_sent(number)
            raise
        except ReplyTimeoutError:
            if self._watch.clock.now < began + min(t3, messaging.settings.t3) - ROUNDING:
                self._watch.fail(
                    f"request {number} timed out after {self._watch.clock.now - began:g} s"
                )
            if self._watch.unwanted_at.get(number, math.inf) < self._watch.clock.now:
                self._watch.fail(f"request {number} timed out, and its reply had come")
            raise
        finally:
            self._watch.asked.remove(number)
        self._watch.replied.add(number)
        if (reply.stream, reply.function) != (1, 2):
            self._watch.fail(f"the reply to S1F1 is {reply.name}")
        if reply.body != body:
            self._watch.fail(f"the reply to {body[:50]!r} is {reply.body[:50]!r}")

    async def send_all(self, messaging: Messaging, action: Action, count: int) -> None:
        """Send so many, one after the other."""
        call = next(self.numbers)
        for _ in range(count):
            body = self.body(action, call)
            try:
                await messaging.send(Message(6, 11, body=body))
            except LinkDownError:
                self._not_sent(int(body.split(b"|")[0]))
                raise
