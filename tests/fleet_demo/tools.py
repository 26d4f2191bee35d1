"""``python -m tests.fleet_demo.tools '{"count": 50, ...}'``: tools that count who talks to them.

Each listens on a port of its own and is an equipment made of frames: nothing of the engine decides
here. It takes one host. When another one asks, it looks whether the first one is alive, with a
linktest, as equipment does.

A line of JSON tells the ports, and then each session that begins and ends and each fault. Lines of
standard input are orders: ``count`` has all counts told; ``eager`` and ``calm`` begin and end a
time in which each event is sent as soon as the one before is acknowledged. When it ends, so does
the program.

* ``double``: a second host came while the first one was alive. That is what a lease must prevent.
* ``stale``: a command with an epoch below the greatest one that was seen.
* ``late``: a frame of a host after another one was taken in its place. Its connection is not
  closed, so that whatever it still sends is seen.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from typing import Any

import trio

from hsms_engine.message import Message
from hsms_engine.messages import S2F41, S2F42, S6F11, read
from hsms_engine.wire import (
    CONTROL_SESSION_ID,
    Decoder,
    Frame,
    SelectStatus,
    SType,
    control_frame,
    data_frame,
    encode,
)

HOST = "127.0.0.1"
RCMD, EPOCH = "DEMO", "EPOCH"
"""The command of the demo, and its parameter with the epoch of the lease."""
_DONE, _DENIED = 0, 4
# The system bytes of its own primaries begin here.
_FIRST = 0x8000_0000
_BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)

Tell = Callable[..., None]


@dataclass(slots=True)
class Counts:
    """What one tool has seen."""

    sessions: int = 0
    double: int = 0
    stale: int = 0
    late: int = 0
    frames: int = 0
    commands: int = 0
    events: int = 0
    # The numbers of the events that a host has acknowledged.
    acknowledged: list[int] = field(default_factory=list)


class Session:
    """One TCP connection of a host."""

    def __init__(self, stream: trio.SocketStream, number: int) -> None:
        self.stream = stream
        self.number = number
        self.is_replaced = False
        self.is_over = False
        # Set when it answers a linktest, or is over.
        self.answered = trio.Event()
        self._system = count(1)
        self._sending = trio.Lock()

    async def send(self, frame: Frame) -> None:
        async with self._sending:
            with suppress(*_BROKEN):
                await self.stream.send_all(encode(frame))

    def next_system(self) -> int:
        return next(self._system)

    async def is_alive(self, patience: float) -> bool:
        """Ask it, and wait that long."""
        self.answered = trio.Event()
        linktest = control_frame(SType.LINKTEST_REQ, self.next_system())
        with trio.move_on_after(patience):
            await self.send(linktest)
            await self.answered.wait()
        return self.answered.is_set() and not self.is_over

    def end(self) -> None:
        self.is_over = True
        self.answered.set()


class Tool:
    """One tool. ``probe``: how long a host may take to answer a linktest, in seconds."""

    def __init__(self, name: str, probe: float, tell: Tell) -> None:
        self.name = name
        self.counts = Counts()
        self.is_eager = False
        self._probe = probe
        self._tell = partial(tell, tool=name)
        self._selected: Session | None = None
        self._greatest = 0
        self._numbers = count(1)

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection, until it is over."""
        session = Session(stream, next(self._numbers))
        decoder = Decoder()
        try:
            async for data in stream:
                for frame in decoder.feed(data):
                    await self._take(session, frame)
        except _BROKEN:
            # A reset, as who has lost a lease sends it.
            pass
        finally:
            self._end(session, "closed")
            await trio.aclose_forcefully(stream)

    async def send_events(self, every: float) -> None:
        """Send S6F11 this often while selected."""
        while True:
            await trio.sleep(every)
            await self.send_event()

    async def send_event(self) -> None:
        """Send S6F11 if a host is selected."""
        session = self._selected
        if session is not None:
            self.counts.events += 1
            event = S6F11(self.counts.events, 1, [])
            await session.send(_data(event, _FIRST + self.counts.events))

    async def _take(self, session: Session, frame: Frame) -> None:
        self.counts.frames += 1
        if session.is_replaced:
            self.counts.late += 1
            self._tell("late", session=session.number, stype=frame.stype)
            return
        match frame.stype:
            case SType.SELECT_REQ:
                await self._select(session, frame)
            case SType.LINKTEST_REQ:
                await session.send(_answer(frame, SType.LINKTEST_RSP))
            case SType.LINKTEST_RSP:
                session.answered.set()
            case SType.SEPARATE_REQ:
                self._end(session, "separated")
            case SType.DATA if frame.wait:
                await self._reply(session, frame)
            case SType.DATA if (frame.stream, frame.function) == (6, 12):
                self.counts.acknowledged.append(frame.system_bytes - _FIRST)
                if self.is_eager:
                    await self.send_event()
            case _:
                pass

    async def _select(self, session: Session, frame: Frame) -> None:
        first = self._selected
        if first is not None:
            if await first.is_alive(self._probe):
                self.counts.double += 1
                self._tell("double", session=session.number, first=first.number)
                await session.send(_answer(frame, SType.SELECT_RSP, SelectStatus.ALREADY_ACTIVE))
                return
            first.is_replaced = True
            self._end(first, "silent")
        self._selected = session
        self.counts.sessions += 1
        self._tell("selected", session=session.number, port=session.stream.socket.getpeername()[1])
        await session.send(_answer(frame, SType.SELECT_RSP))

    async def _reply(self, session: Session, frame: Frame) -> None:
        primary = Message(frame.stream, frame.function, True, body=frame.body)
        match read(primary):
            case S2F41(rcmd="DEMO", parameters=parameters):
                epoch = int(dict(parameters)[EPOCH])
                is_stale = epoch < self._greatest
                self._greatest = max(epoch, self._greatest)
                if is_stale:
                    self.counts.stale += 1
                    self._tell("stale", epoch=epoch, greatest=self._greatest)
                else:
                    self.counts.commands += 1
                reply: Message = S2F42(_DENIED if is_stale else _DONE, [])
            case _:
                reply = Message(frame.stream, frame.function + 1)
        await session.send(_data(reply, frame.system_bytes))

    def _end(self, session: Session, why: str) -> None:
        session.end()
        if self._selected is session:
            self._selected = None
            self._tell("over", session=session.number, why=why)


def _answer(frame: Frame, stype: SType, status: int = 0) -> Frame:
    return Frame(CONTROL_SESSION_ID, 0, status, 0, stype, frame.system_bytes, b"")


def _data(message: Message, system: int) -> Frame:
    return data_frame(0, message.stream, message.function, message.wait, system, message.body)


async def _obey(order: str, tools: list[Tool], tell: Tell) -> None:
    match order:
        case "eager" | "calm":
            for tool in tools:
                tool.is_eager = order == "eager"
                if tool.is_eager:
                    await tool.send_event()
        case _:
            tell("counts", tools={tool.name: asdict(tool.counts) for tool in tools})


async def main(count: int, probe: float, events: float) -> None:
    """Be so many tools until standard input ends."""

    def tell(what: str, **details: Any) -> None:
        print(json.dumps({"at": time.monotonic(), "what": what, **details}), flush=True)

    tools = [Tool(f"TOOL-{number:02}", probe, tell) for number in range(1, count + 1)]
    async with trio.open_nursery() as nursery:
        ports: dict[str, int] = {}
        for tool in tools:
            serve = partial(trio.serve_tcp, tool.serve, 0, host=HOST)
            [listener] = await nursery.start(serve)
            ports[tool.name] = listener.socket.getsockname()[1]
            if events:
                nursery.start_soon(tool.send_events, events)
        tell("listening", ports=ports)
        async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as orders:
            async for words in orders:
                for order in words.decode().split():
                    await _obey(order, tools, tell)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(partial(main, **json.loads(sys.argv[1])))
