"""What a fake equipment does on one selected connection: it answers, and sends primaries.

Invariants:

* Primaries leave in the order of ``put``. One with W leaves without waiting for the replies to
  those before it, as long as fewer than ``OPEN`` are open: a host that does not answer costs what
  follows nothing, and T3 ends its transactions.
* What a tool sends while it makes up a reply leaves behind that reply, unless it is delayed.
* At most ``WAITING`` primaries wait; one more is not sent, which is told. So is what still waits
  when the connection is over: nothing is sent to a later one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction
from typing import Final, Protocol, assert_never

import trio

from hsms_engine.connection import HsmsConnection
from hsms_engine.errors import HsmsError
from hsms_engine.fake.behaviours import Behaviours
from hsms_engine.fake.tool import Leave, Outgoing, Response, Spoil, Tool
from hsms_engine.message import Message
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.stream_nine import header_of, report
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.wire import SECS_II, WAIT, Frame, SType
from statecharts.nursery import open_bare_nursery

OPEN: Final = 100
"""How many primaries with W may be open at once on one connection."""
WAITING: Final = 1_000
"""How many primaries may wait to be sent on one connection."""


class Equipment(Protocol):
    """What a conversation needs of its equipment."""

    behaviours: Behaviours
    # Replies due so far, over all connections.
    asked: int

    def tool_of(self, session_id: int) -> Tool | None: ...

    def named(self, session_id: int | None) -> dict[str, object]: ...

    def spoil(self, peer: str, behaviour: str) -> None: ...

    def safely(self, call: Callable[[], object]) -> None: ...

    def tell(self, event: str, message: Message | None = None, /, **details: object) -> None: ...


@dataclass(frozen=True, slots=True)
class _Told:
    """Nothing is sent, but told in its turn."""

    tell: Callable[[], None]


class Conversation:
    """One connection, from SELECTED until it is over."""

    def __init__(self, equipment: Equipment, connection: HsmsConnection) -> None:
        self._equipment = equipment
        self._connection = connection
        # How many primaries are finished: answered, without W, or dropped.
        self._handled = 0
        # The tools that talk here.
        self._tools: list[Tool] = []
        self._waiting: deque[Outgoing | _Told] = deque()
        self._open = 0
        # How many replies are made and not queued yet.
        self._replying = 0
        # Set when there may be something to send.
        self._news = trio.Event()

    @property
    def peer(self) -> str:
        return self._connection.peer

    async def run(self) -> None:
        """Talk until the connection is over."""
        why = "separated"
        try:
            async with open_bare_nursery() as nursery:
                nursery.start_soon(self._send_all, nursery)
                async for primary in self._connection:
                    await self._take(primary, nursery)
                # Replies that are still delayed cannot be sent any more.
                nursery.cancel_scope.cancel()
        except HsmsError as error:
            why = str(error)
        finally:
            # Also when the equipment is killed.
            self.end()
        self._equipment.tell("ended", peer=self.peer, why=why)

    def join(self, *tools: Tool) -> None:
        """These tools talk here from now on."""
        for tool in tools:
            self._tools.append(tool)
            tool.joined(self)

    def end(self) -> None:
        """No tool talks here any more."""
        for tool in self._tools:
            tool.left(self)
        for each in self._waiting:
            match each:
                case Message():
                    self._not_sent(each, "the connection is over")
                case _Told(tell):
                    tell()
                case Spoil() | Leave():
                    pass
                case other:
                    assert_never(other)

    # What a tool does with it

    def put(self, what: Outgoing) -> None:
        """Send a primary, or let happen what else there is, behind what was put before."""
        if len(self._waiting) < WAITING:
            self._waiting.append(what)
            self._news.set()
            return
        why = f"{WAITING} messages wait for the host to take them"
        match what:
            case Message():
                self._not_sent(what, why)
            case Spoil() | Leave():
                self._equipment.tell("not done", peer=self.peer, what=str(what), why=why)
            case other:
                assert_never(other)

    def after_all(self, tell: Callable[[], None]) -> None:
        """Tell something behind what was put before; at once when nothing waits, or too much."""
        if 0 < len(self._waiting) < WAITING:
            self._waiting.append(_Told(tell))
        else:
            tell()

    # Inside

    async def _take(self, primary: Primary, nursery: trio.Nursery) -> None:
        assert primary.session_id is not None
        tool = self._equipment.tool_of(primary.session_id)
        if tool is None:
            if (primary.stream, primary.function) != (9, 1):
                await self._report(primary, 1)
            return
        if tool not in self._tools:
            self.join(tool)
        delay = self._equipment.behaviours.delay_replies
        # Only what may wait: tasks of their own reply in any order.
        if iscoroutinefunction(tool.answer):
            nursery.start_soon(self._handle, tool, primary, delay)
        elif delay:
            response = await tool.respond(primary, self.peer)
            nursery.start_soon(self._respond, primary, response, delay)
        else:
            await self._handle(tool, primary, 0.0)

    async def _handle(self, tool: Tool, primary: Primary, delay: float) -> None:
        await self._respond(primary, await tool.respond(primary, self.peer), delay)

    async def _respond(self, primary: Primary, response: Response, delay: float) -> None:
        try:
            if primary.wait:
                await self._reply(primary, response, delay)
            elif response.report:
                await self._report(primary, response.report)
        finally:
            # The tool goes on also when the connection ends before a reply that is delayed.
            if response.then is not None:
                response.then()
        self._handled += 1
        if self._handled == self._equipment.behaviours.separate_after:
            self._connection.close_soon()

    async def _reply(self, primary: Primary, response: Response, delay: float) -> None:
        equipment = self._equipment
        equipment.asked += 1
        every = equipment.behaviours.drop_replies
        if every and equipment.asked % every == 0:
            self._tell("dropped", primary)
            return
        reply = response.reply
        if reply is None and not response.report:
            return
        if delay:
            # Otherwise nothing comes between what the tool does and its reply.
            try:
                await trio.sleep(delay)
            except trio.Cancelled:
                self._tell("not replied", primary, why="the connection is over")
                raise
        if reply is None:
            await self._report(primary, response.report)
            return
        self._replying += 1
        try:
            # It may wait for its turn, or for room.
            await self._connection.reply(primary, reply)
        except HsmsError as error:
            self._tell("not replied", reply, why=str(error))
        finally:
            self._replying -= 1
            if self._waiting:
                self._news.set()

    async def _report(self, primary: Primary, function: int) -> None:
        """Report what is wrong with a primary: S9F1, S9F3 …; nobody reports a report."""
        if primary.stream == 9:
            return
        byte2 = primary.stream | (WAIT if primary.wait else 0)
        assert primary.session_id is not None
        assert primary.system_bytes is not None
        header = header_of(
            Frame(
                primary.session_id | primary.direction,
                byte2,
                primary.function,
                SECS_II,
                SType.DATA,
                primary.system_bytes,
                b"",
            )
        )
        told = report(function, header)
        if function != 1:
            # It comes from the device that the message was for.
            told = Message(9, function, body=told.body, session_id=primary.session_id)
        try:
            await self._connection.send(told)
        except HsmsError as error:
            self._not_sent(told, str(error))

    async def _send_all(self, nursery: trio.Nursery) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            while self._waiting and self._open < OPEN and not self._replying:
                match self._waiting[0]:
                    case Message() as message:
                        await self._send(message)
                    case Spoil(behaviour):
                        # What was queued before is written first: in the next turn of the engine.
                        for _ in range(2):
                            await trio.lowlevel.checkpoint()
                        self._equipment.spoil(self.peer, behaviour)
                        # So that there is a frame to spoil, now.
                        nursery.start_soon(self._linktest)
                    case Leave():
                        self._connection.close_soon()
                    case _Told(tell):
                        tell()
                    case other:
                        assert_never(other)
                self._waiting.popleft()

    async def _linktest(self) -> None:
        # The spoilt frame may end the connection, and is answered by nobody.
        with suppress(HsmsError):
            await self._connection.linktest()

    async def _send(self, message: Message) -> None:
        try:
            if message.wait:
                await self._request(message)
            else:
                await self._connection.send(message)
        except HsmsError as error:
            # The session may be selected again; when the connection is over, the loop over its
            # primaries stops this task.
            self._not_sent(message, str(error))

    async def _request(self, message: Message) -> None:
        settled = partial(self._settled, message)
        self._open += 1
        try:
            while self._connection._request_now(message, settled) is None:
                # Too much is queued.
                await self._connection._room()
        except BaseException:
            # Cancelled too: no request is open that would be settled.
            self._open -= 1
            raise

    def _settled(self, message: Message, transaction: Transaction) -> None:
        self._open -= 1
        self._news.set()
        try:
            transaction.reply()
        except HsmsError as error:
            why = str(error)
            self._equipment.safely(lambda: self._tell("not acknowledged", message, why=why))

    def _not_sent(self, message: Message, why: str) -> None:
        self._tell("not sent", message, why=why)

    def _tell(self, event: str, message: Message, **details: object) -> None:
        details |= self._equipment.named(message.session_id)
        self._equipment.tell(event, message, peer=self.peer, **details)
