"""What a fake equipment does on one selected connection: it answers, and sends primaries."""

from __future__ import annotations

import itertools
import logging
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from inspect import isawaitable, iscoroutinefunction
from typing import Protocol

import trio

from hsms_engine.answers import AnswerBook
from hsms_engine.connection import HsmsConnection
from hsms_engine.errors import HsmsError
from hsms_engine.fake.behaviours import Behaviours
from hsms_engine.fake.emissions import Emission, Make
from hsms_engine.message import Message
from hsms_engine.nursery import is_cancellation, open_bare_nursery
from hsms_engine.protocol.epoch import Primary

_LOG = logging.getLogger("hsms_engine.fake")

# What ends the program, beside what ends the task. All else is the user's, also what ends a test
# of pytest.
_OURS = (KeyboardInterrupt, SystemExit, GeneratorExit)

Answer = Callable[[Message], Message | Awaitable[Message | None] | None]
"""The user's function: the reply to a primary with W, or None for that of the answer book."""


class Equipment(Protocol):
    """What a conversation needs of its equipment."""

    behaviours: Behaviours
    answers: AnswerBook
    answer: Answer | None
    received: deque[Message]
    # Replies due so far, over all connections.
    asked: int

    def tell(self, event: str, message: Message | None = None, /, **details: object) -> None: ...


class Conversation:
    """One connection, from SELECTED until it is over."""

    def __init__(self, equipment: Equipment, connection: HsmsConnection) -> None:
        self._equipment = equipment
        self._connection = connection
        # How many primaries are finished: answered, without W, or dropped.
        self._handled = 0

    async def run(self, emissions: Iterable[Emission]) -> None:
        """Talk until the connection is over."""
        why = "separated"
        try:
            async with open_bare_nursery() as nursery:
                for seconds, make in emissions:
                    nursery.start_soon(self._emit, seconds, make)
                async for primary in self._connection:
                    self._equipment.received.append(primary)
                    self._tell("received", primary)
                    delay = self._equipment.behaviours.delay_replies
                    # Only what may wait: tasks of their own reply in any order.
                    if delay or iscoroutinefunction(self._equipment.answer):
                        nursery.start_soon(self._handle, primary, delay)
                    else:
                        await self._handle(primary, 0.0)
                # Replies that are still delayed cannot be sent any more.
                nursery.cancel_scope.cancel()
        except HsmsError as error:
            why = str(error)
        self._equipment.tell("ended", peer=self._connection.peer, why=why)

    async def _handle(self, primary: Primary, delay: float) -> None:
        if primary.wait:
            await self._reply(primary, delay)
        self._handled += 1
        if self._handled == self._equipment.behaviours.separate_after:
            self._connection.close_soon()

    async def _reply(self, primary: Primary, delay: float) -> None:
        equipment = self._equipment
        equipment.asked += 1
        every = equipment.behaviours.drop_replies
        if every and equipment.asked % every == 0:
            self._tell("dropped", primary)
            return
        await trio.sleep(delay)
        reply = await self._answer(primary)
        try:
            await self._connection.reply(primary, reply)
        except HsmsError as error:
            self._tell("not replied", reply, why=str(error))
        else:
            self._tell("replied", reply)

    async def _answer(self, primary: Primary) -> Message:
        """The reply: of the user's function, or the book. When the function fails, SxF0."""
        equipment = self._equipment
        if equipment.answer is not None:
            try:
                given = equipment.answer(primary)
                reply = await given if isawaitable(given) else given
                if reply is not None:
                    return fitting(primary, reply)
            except BaseException as error:
                if is_cancellation(error) or isinstance(error, _OURS):
                    raise
                # The user's: the equipment lives.
                why = f"{type(error).__name__}: {error}"
                self._tell("answer failed", primary, why=why)
                # As text: a record that is kept must not keep the connection.
                text = traceback.format_exc()
                _LOG.error("%s: no answer to %s:\n%s", self._connection.peer, primary.name, text)
                return Message(primary.stream, 0)
        return equipment.answers.answer(primary) or echo(primary)

    async def _emit(self, seconds: float, make: Make) -> None:
        numbers = itertools.count(1)
        while True:
            await trio.sleep(seconds)
            message = make(next(numbers))
            self._tell("emitted", message)
            try:
                await self._connection.request(message)
            except HsmsError as error:
                # Continue: the session may be selected again. When the connection is over, the
                # loop over its primaries stops this task.
                self._tell("not acknowledged", message, why=str(error))
            else:
                self._tell("acknowledged", message)

    def _tell(self, event: str, message: Message, **details: object) -> None:
        self._equipment.tell(event, message, peer=self._connection.peer, **details)


def fitting(primary: Message, reply: object) -> Message:
    """What the user's function gave, if it may reply to ``primary``. Raises ``TypeError``."""
    allowed = f"S{primary.stream}F{primary.function + 1}, S{primary.stream}F0 or None"
    match reply:
        case Message(stream=primary.stream) if reply.function in (0, primary.function + 1):
            return reply
        case Message():
            raise TypeError(f"the answer to {primary.name} is {allowed}, not {reply.name}")
        case _:
            raise TypeError(f"the answer to {primary.name} is {allowed}, not {reply!r}")


def echo(primary: Message) -> Message:
    """The reply to a primary that the book does not know: its own body; SxF0 for function 255."""
    if primary.function == 255:
        return Message(primary.stream, 0)
    return Message(primary.stream, primary.function + 1, body=primary.body)
