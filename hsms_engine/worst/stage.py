"""A host and an equipment on a network in memory, both real, and what may happen to them.

The host is an ``HsmsLink``, the equipment an ``HsmsServer``, with their own settings, charts and
drivers; only the network, the clock and chance are not real.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from random import Random

import trio

from hsms_engine.bounds import last_refused
from hsms_engine.connection import HsmsConnection
from hsms_engine.errors import HsmsError
from hsms_engine.link import HsmsLink, open_link
from hsms_engine.protocol.outputs import Step
from hsms_engine.server import HsmsServer
from hsms_engine.settings import Settings
from hsms_engine.virtual import Kernel, Machine, Network, Socket
from hsms_engine.wire import Decoder, Frame, SType
from statecharts import System
from statecharts.draw import Message
from statecharts.hsms import ACTIVE_LINK, PASSIVE_LINK
from statecharts.hsms.vocabulary import Send
from statecharts.hsms.words import WORDS

HOST, EQUIPMENT = "host", "equipment"
JUST_BEFORE = 1e-7
"""Seconds: less than any timer, and more than a float of the clock may be wrong by."""


class Chance(Random):
    """Gives 1.0, the largest random part; until the time ``until``, gives ``part``."""

    until, part = -math.inf, 1.0

    def random(self) -> float:
        return self.part if trio.current_time() < self.until else 1.0


class _Program:
    """A program on a machine that can crash."""

    def __init__(self, name: str, system: System) -> None:
        self.name = name
        self.system = system
        self.scope = trio.CancelScope()
        self.has_crashed = False


class Stage:
    """A host, an equipment, and the network between them. Times are seconds of the clock."""

    def __init__(
        self,
        nursery: trio.Nursery,
        settings: Settings,
        delay: float,
        scope: trio.CancelScope,
        *,
        longest: float,
        most: float,
    ) -> None:
        """``scope`` is cancelled ``longest`` seconds after the beginning, or at ``most`` steps."""
        self.settings = settings
        self._scope, self._longest, self._most = scope, longest, most
        # Until the bound counts, everything arrives at once: that is the worst. How long TCP waits
        # before it sends something again is no part of the bounds, so it never does.
        self.network = Network(Random(), Kernel(first_pause=math.inf), self._sent)
        self._host, self._equipment = map(self.network.machine, (HOST, EQUIPMENT))
        self._ways = (self.network.way(HOST, EQUIPMENT), self.network.way(EQUIPMENT, HOST))
        nursery.start_soon(self.network.run)
        # Seconds that a frame is on its way from then on.
        self.delay = delay
        # Whether each dial fails at once, as when the host has no network.
        self.is_unreachable = False
        self.begun = 0.0
        self.steps: list[Message] = []
        self.chance = Chance()
        # The connections of the equipment that were selected.
        self.connections: list[HsmsConnection] = []
        self._nursery = nursery
        self._at_host = self._at_equipment = _Program("", ACTIVE_LINK)
        self._decoders: dict[Socket, Decoder] = {}
        self._dialled: list[Socket] = []

    @property
    def one_way(self) -> float:
        """Seconds that a segment is on its way now, in either direction."""
        return self._ways[0].delay

    @one_way.setter
    def one_way(self, seconds: float) -> None:
        for way in self._ways:
            way.delay = seconds

    def cut(self) -> None:
        """Nothing arrives any more."""
        for way in self._ways:
            way.is_cut = True

    @contextmanager
    def resets_lost(self) -> Iterator[None]:
        """While in it, resets are lost."""
        for way in self._ways:
            way.loses_reset = True
        yield
        for way in self._ways:
            way.loses_reset = False

    def start_equipment(self) -> None:
        """A machine that listens and has no connection yet."""
        self._at_equipment = program = _Program(EQUIPMENT, PASSIVE_LINK)
        self._equipment.start()

        async def hold(connection: HsmsConnection) -> None:
            self.connections.append(connection)
            connection.on_step(partial(self._stepped, program))
            async for _ in connection:
                pass

        post = self._equipment.listen()
        server = HsmsServer(post, self.settings, self.chance, raise_errors=False)

        async def serve() -> None:
            with program.scope:
                await server.serve(hold)

        self._nursery.start_soon(serve)

    async def start_host(self) -> HsmsLink:
        """A machine with a program that has an enabled link."""
        self._at_host = program = _Program(HOST, ACTIVE_LINK)
        self._host.start()

        async def run(task_status: trio.TaskStatus[HsmsLink]) -> None:
            with program.scope:
                async with open_link(self.settings, dial=self._dial, random=self.chance) as link:
                    link.on_step(partial(self._stepped, program))
                    task_status.started(link)
                    await trio.sleep_forever()

        link: HsmsLink = await self._nursery.start(run)
        return link

    def crash_host(self) -> None:
        """The host's machine is gone, without a word."""
        self._crash(self._host, self._at_host, resets=False)

    def crash_equipment(self, *, resets: bool = False) -> None:
        """The equipment's machine is gone, without a word.

        ``resets``: what still comes on its connection is answered by a reset.
        """
        self._crash(self._equipment, self._at_equipment, resets=resets)

    def lose_host(self) -> None:
        """The host has lost its connection, and its reset is lost; what still comes is answered."""
        for socket in self._dialled:
            socket.break_off()

    def fill_host(self) -> None:
        """The host's system takes no more bytes."""
        self._dialled[-1].send_buffer = 0

    def answer_by_resets(self) -> None:
        """What still comes on a connection of a machine that has crashed is answered now."""
        self._equipment.is_silent = False

    def start(self, call: Callable[[], Awaitable[object]]) -> None:
        """Begin a call of a program, and do not wait for it; it may fail."""

        async def run() -> None:
            with suppress(HsmsError):
                await call()

        self._nursery.start_soon(run)

    def begin(self, what: str) -> None:
        """The bound counts from here on."""
        self.begun = trio.current_time()
        self.one_way = self.delay
        self._scope.deadline = self.begun + self._longest
        self.steps = [Message("", "", self._timed(what))]

    def aim(self, gone: float) -> None:
        """The chance of the host lets an attempt begin just before ``gone``, if it can."""
        if gone == math.inf:
            return
        gone -= JUST_BEFORE
        last = last_refused(self.settings, self.one_way, gone)
        if last.earliest < gone < last.latest:
            self.chance.part = (gone - last.earliest) / (last.latest - last.earliest)
            self.chance.until = self.begun + gone - JUST_BEFORE

    def _crash(self, machine: Machine, program: _Program, *, resets: bool) -> None:
        program.has_crashed = True
        machine.crash()
        machine.is_silent = not resets
        machine.start()
        program.scope.cancel()

    async def _dial(self) -> trio.abc.Stream:
        if self.is_unreachable:
            await trio.lowlevel.checkpoint()
            raise OSError("Network is unreachable")
        socket = await self._host.dial(self._equipment)
        self._dialled.append(socket)
        return socket

    # What is written down

    def _timed(self, what: str) -> str:
        return f"{trio.current_time() - self.begun:.6g} s: {what}"

    def _sent(self, socket: Socket, data: bytes) -> None:
        decoder = self._decoders.setdefault(socket, Decoder(max_frame=0xFFFF_FFFF))
        for frame in decoder.feed(data):
            source, target = socket.machine.name, socket.other.machine.name
            self._write(len(self.steps), Message(source, target, self._timed(_name(frame))))

    def _stepped(self, program: _Program, step: Step) -> None:
        if program.has_crashed:
            return
        entered = [
            state.name
            for hop in step.hops
            for state in program.system.chart(hop.chart).walk()
            if state.id in set(hop.after.states) - set(hop.before.states)
        ]
        if not entered:
            return
        chart = program.system.chart(step.hops[0].chart)
        what = self._timed(WORDS.event(chart, step.event))
        # The engine gives the bytes of a step before the step.
        sent = sum(isinstance(effect, Send) for effect in step.effects)
        at = len(self.steps) - sent
        self._write(at, Message(program.name, program.name, what, ", ".join(entered)))

    def _write(self, at: int, step: Message) -> None:
        self.steps.insert(at, step)
        if len(self.steps) >= self._most:
            self._scope.cancel()


_WITH_STATUS = (SType.SELECT_RSP, SType.DESELECT_RSP)


def _name(frame: Frame) -> str:
    """A frame as people write it."""
    if frame.stype == SType.DATA:
        return f"S{frame.stream}F{frame.function}"
    name = SType(frame.stype).name.capitalize().replace("_", ".")
    return f"{name} {frame.byte3}" if frame.stype in _WITH_STATUS else name
