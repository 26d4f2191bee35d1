"""What a fake equipment does on one selected connection: it answers, and sends primaries."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from typing import Protocol

import trio

from hsms_engine.answers import AnswerBook
from hsms_engine.connection import HsmsConnection
from hsms_engine.errors import HsmsError
from hsms_engine.fake.behaviours import Behaviours
from hsms_engine.fake.emissions import Emission, Make
from hsms_engine.message import Message
from hsms_engine.nursery import open_bare_nursery
from hsms_engine.protocol.epoch import Primary


class Equipment(Protocol):
    """What a conversation needs of its equipment."""

    behaviours: Behaviours
    answers: AnswerBook
    received: deque[Message]
    # Replies due so far, over all connections.
    asked: int

    def tell(self, event: str, **details: object) -> None: ...


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
                    if delay := self._equipment.behaviours.delay_replies:
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
        reply = equipment.answers.answer(primary) or echo(primary)
        try:
            await self._connection.reply(primary, reply)
        except HsmsError as error:
            self._tell("not replied", reply, why=str(error))
        else:
            self._tell("replied", reply)

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
        name = f"{message.name} W" if message.wait else message.name
        size = len(message.body)
        peer = self._connection.peer
        self._equipment.tell(event, peer=peer, message=name, bytes=size, **details)


def echo(primary: Message) -> Message:
    """The reply to a primary that the book does not know: its own body; SxF0 for function 255."""
    if primary.function == 255:
        return Message(primary.stream, 0)
    return Message(primary.stream, primary.function + 1, body=primary.body)
