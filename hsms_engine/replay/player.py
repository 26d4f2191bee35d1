"""Plays one side of a conversation over connections of its own.

Invariants:

* Nothing is sent before the other side has said what it had said before that in the recording, and
  no sooner after it than then, by the speed.
* A reply goes to the primary that stands where its primary stood: system bytes are those of the
  connection. Replies of the other side are found by them, so they may come in any order; its
  primaries have to come in theirs.
* The other side has as long for a message as it took then, and T3 more.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Never, TypeAlias, assert_never

import trio

from hsms_engine.connection import HsmsConnection, open_hsms
from hsms_engine.difference import brief, diff, short
from hsms_engine.errors import AbortedError, HsmsError
from hsms_engine.message import Message
from hsms_engine.protocol.epoch import Primary
from hsms_engine.protocol.traffic import Traffic
from hsms_engine.protocol.transactions import Transaction
from hsms_engine.replay.comparing import Ignored, first_difference
from hsms_engine.replay.conversation import (
    REMEMBERED,
    Conversation,
    Said,
    Separated,
    Turn,
    reporting,
)
from hsms_engine.replay.errors import ReplayError
from hsms_engine.settings import Settings
from hsms_engine.sml import Difference
from statecharts.nursery import open_bare_nursery

if TYPE_CHECKING:
    from hsms_engine.recorder import RecordTo

# Messages that an error shows.
_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection is selected, for the one of the recording with this number."""

    connection: int
    peer: str


Told: TypeAlias = Connected | Said | Separated
"""What has happened, as in the recording: a message was sent or came, a connection is over."""

Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[HsmsConnection]]
"""Gives the next connection, which is selected."""


def dialling(settings: Settings, record: RecordTo | None = None) -> Connect:
    """Connections that are dialled. Before each but the first one T5 is waited for."""
    is_first = True

    @asynccontextmanager
    async def connect() -> AsyncIterator[HsmsConnection]:
        nonlocal is_first
        if not is_first:
            await trio.sleep(settings.t5)
        is_first = False
        async with open_hsms(settings, record=record) as connection:
            yield connection

    return connect


async def replay(
    conversation: Conversation,
    connect: Connect,
    *,
    speed: float = 1.0,
    ignore: Collection[Ignored] = (),
    tell: Callable[[Told], object] | None = None,
    before_sending: Callable[[Said], Awaitable[object]] | None = None,
) -> None:
    """Play a side of a recording, over a connection of ``connect`` for each that it has.

    Pauses before a message are those of the recording divided by ``speed``; ``math.inf``: none.
    Items in ``ignore`` may be others. ``tell`` is called at once for what happens;
    ``before_sending`` is waited for in place of each pause. Raises ``ReplayError`` for the first
    difference, what ``connect`` raises, and ``OSError`` when the recording cannot be read any more.
    """
    player = _Player(conversation, speed, ignore, tell or (lambda _: None), before_sending)
    turn = await player.next()
    while turn is not None:
        async with connect() as connection:
            turn = await _Playing(player, connection).play(turn)


class _Player:
    """What all connections share."""

    def __init__(
        self,
        conversation: Conversation,
        speed: float,
        ignore: Collection[Ignored],
        tell: Callable[[Told], object],
        before_sending: Callable[[Said], Awaitable[object]] | None,
    ) -> None:
        self.conversation = conversation
        self.ignore = ignore
        self.tell = tell
        self._speed = speed
        self._before_sending = before_sending
        self._turns: Iterator[Turn | None] = conversation.turns()

    async def next(self) -> Turn | None:
        """The next turn; None at the end."""
        for turn in self._turns:
            if turn is not None:
                return turn
            await trio.lowlevel.checkpoint()
        return None

    async def pause(self, said: Said) -> None:
        """Wait before a message is sent."""
        if self._before_sending is not None:
            await self._before_sending(said)
        elif self._speed < math.inf:
            await trio.sleep(said.pause / self._speed)


class _Playing:
    """One connection."""

    def __init__(self, player: _Player, connection: HsmsConnection) -> None:
        self._player = player
        self._connection = connection
        # Primaries that no turn has taken, the oldest first.
        self._coming: deque[Primary] = deque()
        # Why nothing more comes.
        self._over: HsmsError | str | None = None
        self._news = trio.Event()
        self._passed: deque[str] = deque(maxlen=_SHOWN)
        # By the number of their turn: requests of ours without a reply (None: it has not come),
        # primaries to be answered, and the system bytes that a primary has here.
        self._asked: dict[int, Transaction | None] = {}
        self._heard: dict[int, Primary] = {}
        self._system_bytes: OrderedDict[int, int] = OrderedDict()
        # What is being sent.
        self._sending: tuple[int, Message] | None = None

    async def play(self, turn: Turn) -> Turn | None:
        """Play the turns of one connection, from ``turn`` on. Returns that of another one."""
        number, now = turn.connection, turn
        self._player.tell(Connected(number, self._connection.peer))
        async with open_bare_nursery() as nursery:
            self._connection.on_message(self._watch)
            nursery.start_soon(self._take)
            following: Turn | None = now
            while following is not None and following.connection == number:
                now = following
                await self._play(now)
                following = await self._player.next()
            # What comes after the end of a recording that was cut may have been in it.
            if self._coming and (following is not None or not self._player.conversation.is_cut):
                self._fail(now, f"after it {short(self._coming[0])} came, which is not in it")
            nursery.cancel_scope.cancel()
        return following

    async def _play(self, turn: Turn) -> None:
        match turn:
            case Said(is_ours=True):
                await self._say(turn)
            case Said():
                await self._hear(turn)
            case Separated(is_ours=False):
                await self._until_separated(turn)
            case Separated():
                # The end of the block around this separates.
                pass
            case _:
                assert_never(turn)
        self._player.tell(turn)

    # What comes

    async def _take(self) -> None:
        try:
            async for primary in self._connection:
                self._coming.append(primary)
                self._wake()
            self._over = "the other side has separated"
        except HsmsError as error:
            self._over = error
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    def _watch(self, traffic: Traffic) -> None:
        if self._sending is not None and traffic.message is self._sending[1]:
            self._know(self._sending[0], traffic.header.system_bytes)

    def _know(self, number: int, system_bytes: int) -> None:
        self._system_bytes[number] = system_bytes
        if len(self._system_bytes) > REMEMBERED:
            self._system_bytes.popitem(last=False)

    async def _hear(self, said: Said) -> None:
        if said.message.is_primary:
            primary = await self._primary(said)
            assert primary.system_bytes is not None
            self._know(said.number, primary.system_bytes)
            if primary.wait:
                self._heard[said.number] = primary
            self._compare(said, self._told_anew(said), primary)
            return
        reply = await self._reply(said)
        self._compare(said, said.message, reply)

    async def _primary(self, said: Said) -> Primary:
        within = said.pause + self._connection.settings.t3
        with trio.move_on_after(within):
            while not self._coming:
                if self._over is not None:
                    self._fail_over(said)
                await self._news.wait()
        if not self._coming:
            self._fail(said, f"it has not come within {within:g} s")
        return self._coming.popleft()

    async def _reply(self, said: Said) -> Message:
        assert said.about is not None
        while (transaction := self._asked[said.about]) is None:
            await self._news.wait()
        del self._asked[said.about]
        try:
            return transaction.reply()
        except AbortedError:
            return Message(said.message.stream, 0)
        except HsmsError as error:
            self._fail(said, str(error), error)

    async def _until_separated(self, turn: Separated) -> None:
        within = turn.pause + self._connection.settings.t3
        with trio.move_on_after(within):
            while self._over is None:
                await self._news.wait()
        if self._over is None:
            self._fail(turn, f"the other side has not separated within {within:g} s")

    def _told_anew(self, said: Said) -> Message:
        """A message as it is here: a report of stream 9 has the header of another message."""
        message = said.message
        if message.stream != 9 or said.about is None:
            return message
        # It is not known when that was too long ago.
        system_bytes = self._system_bytes.get(said.about)
        return message if system_bytes is None else reporting(message, system_bytes)

    def _compare(self, said: Said, expected: Message, found: Message) -> None:
        difference = first_difference(
            expected, found, self._player.ignore, header_only=said.body is not None
        )
        if difference is not None:
            self._fail_differing(said, found, difference)
        self._passed.append(f"  came {short(found)}")

    # What is sent

    async def _say(self, said: Said) -> None:
        await self._player.pause(said)
        told = self._told_anew(said)
        message = Message(
            told.stream,
            told.function,
            told.wait and told.is_primary,
            body=told.body,
            text_encoding=told.text_encoding,
        )
        self._sending = said.number, message
        try:
            await self._send(said, message)
        except HsmsError as error:
            self._fail(said, f"it cannot be sent: {error}", error)
        self._sending = None
        self._passed.append(f"  sent {short(message)}")

    async def _send(self, said: Said, message: Message) -> None:
        connection = self._connection
        if not message.is_primary:
            assert said.about is not None
            await connection.reply(self._heard.pop(said.about), message)
        elif not message.wait:
            await connection.send(message)
        else:
            settled = partial(self._settled, said.number)
            self._asked[said.number] = None
            while connection._request_now(message, settled) is None:
                await connection._room()

    def _settled(self, number: int, transaction: Transaction) -> None:
        self._asked[number] = transaction
        self._wake()

    # What goes wrong

    def _fail_over(self, turn: Turn) -> Never:
        cause = self._over if isinstance(self._over, HsmsError) else None
        self._fail(turn, f"{self._over}, before it came", cause)

    def _fail(self, turn: Turn, problem: str, cause: HsmsError | None = None) -> Never:
        raise ReplayError(f"{turn}: {problem}", self._history()) from cause

    def _fail_differing(self, said: Said, found: Message, what: Difference) -> Never:
        where = f" at {what.path}" if what.path else ""
        raise ReplayError(
            f"{said}: what came differs{where}: expected {brief(what.expected)}, found "
            f"{brief(what.found)}",
            [*diff(found, what), *self._history()],
            path=what.path,
            expected=what.expected,
            found=what.found,
        )

    def _history(self) -> list[str]:
        if not self._passed:
            return ["no message before it on this connection"]
        return ["the messages before it, the latest last:", *self._passed]
