"""Who plays what: programs of hosts and tools, which live as long as their machine has power."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import trio

from hsms_engine import HsmsError, HsmsLink, HsmsServer, Message, Settings, open_link, serve_hsms
from hsms_engine.messaging import Messaging
from hsms_engine.virtual import Machine, Network, Socket, Way
from tests.simulation.beside import ROUNDING, Along, Kept, Peers
from tests.simulation.calls import Calls
from tests.simulation.plan import Action
from tests.simulation.watch import Watch

# That of the first listener.
_PORT = 5_000


class OnPurposeError(Exception):
    """A handler that fails, as the plan says."""


class Programs:
    """The programs of all machines, and what is to happen to them next."""

    def __init__(self, watch: Watch, calls: Calls, network: Network) -> None:
        self._watch = watch
        self._plan = watch.plan
        self._calls = calls
        self.network = network
        self.settings = watch.plan.settings
        # Nothing breaks any more; the run is over.
        self.calm, self.over = trio.Event(), trio.Event()
        self.links: dict[int, HsmsLink] = {}
        self.servers: dict[int, HsmsServer] = {}
        # By the name of a machine: its program, how to end that in order, and when it has power.
        self.scopes: dict[str, trio.CancelScope] = {}
        self.leave: dict[str, trio.Event] = {}
        self.powered: dict[str, trio.Event] = {}
        self.slow_until: dict[str, float] = {}
        self.next_handler: dict[int, str] = {}
        self.kept: dict[int, Kept] = {}
        # The session for which the task of a link runs.
        self.sessions: dict[int, int] = {}
        self.peers: dict[int, Peers] = {}
        # The links that are disabled and enabled when their next dial is decided.
        self.toggles: set[int] = set()

    async def begin(self, programs: trio.Nursery) -> None:
        """Start all programs, the listeners first."""
        for link, server in enumerate(self._plan.links):
            for way in self.both_ways(link):
                way.delay, way.jitter, way.rate = (
                    self._plan.one_way,
                    self._plan.jitter,
                    self._plan.rate,
                )
            assert server < self._plan.servers
        for server in range(self._plan.servers):
            programs.start_soon(self._tool, server)
        await trio.lowlevel.checkpoint()
        for link in range(len(self._plan.links)):
            self.leave[f"host {link}"] = trio.Event()
            programs.start_soon(self._host, link)

    def host_machine(self, link: int) -> Machine:
        """The machine of a dialling end."""
        return self.network.machine(f"host {link}")

    def tool_machine(self, server: int) -> Machine:
        """The machine of a listener."""
        return self.network.machine(f"tool {server}")

    def settings_of(self, name: str, server: int) -> Settings:
        """Those of an end at this listener, or at its other side: the port tells which it is."""
        return replace(self.settings, name=name, port=_PORT + server)

    def both_ways(self, link: int) -> tuple[Way, Way]:
        """To the equipment, and to the host."""
        host, tool = f"host {link}", f"tool {self._plan.links[link]}"
        return self.network.way(host, tool), self.network.way(tool, host)

    async def _lives(self, machine: Machine, live: Callable[[], Awaitable[None]]) -> None:
        """One life of a program after the other, while its machine has power."""
        name = machine.name
        while not self.over.is_set():
            while not machine.is_up:
                self.powered[name] = trio.Event()
                await self.powered[name].wait()
            self.leave[name] = trio.Event()
            if self.over.is_set():
                return
            with trio.CancelScope() as scope:
                self.scopes[name] = scope
                try:
                    await live()
                except HsmsError as error:
                    self._watch.say(f"{name}: its program ends with {type(error).__name__}")
                    self._watch.sometimes(f"{type(error).__name__} at the end of a program")

    async def _host(self, link: int) -> None:
        machine = self.host_machine(link)
        lives = itertools.count()

        async def live() -> None:
            random = Random(f"{machine.name} {next(lives)} {self._plan.seed}")
            settings = self.settings_of(machine.name, self._plan.links[link])
            kept = self._watch.restoring = self.kept.pop(link, None)
            async with open_link(
                settings,
                dial=partial(self._dial, link),
                random=random,
                restore=kept.saved if kept is not None else None,
                wall_clock=trio.current_time,
            ) as opened:
                self.links[link] = opened
                self._is_back(opened, kept)
                if self.calm.is_set():
                    self.put_right(opened)
                opened.on_selected(partial(self._serve_session, link))
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._read, opened, machine.name, -1)
                        nursery.start_soon(self.read_events, opened, True)
                        await self.leave[machine.name].wait()
                        nursery.cancel_scope.cancel()
                finally:
                    del self.links[link]

        await self._lives(machine, live)

    async def _tool(self, server: int) -> None:
        machine = self.tool_machine(server)
        lives = itertools.count()

        async def live() -> None:
            random = Random(f"{machine.name} {next(lives)} {self._plan.seed}")
            post = machine.listen(backlog=self._plan.backlog)
            settings = self.settings_of(machine.name, server)
            if self._plan.theme == "late":
                # A question of its own that is on its way when the host stops is not answered.
                settings = replace(settings, linktest_interval=None, second_host="probe")

            async def handle(connection: Messaging) -> None:
                await self._read(connection, machine.name, server)

            async def serve(task_status: trio.TaskStatus[HsmsServer]) -> None:
                await serve_hsms(
                    handle, settings, listener=post, random=random, task_status=task_status
                )

            async with trio.open_nursery() as nursery:
                opened: HsmsServer = await nursery.start(serve)
                self.servers[server] = opened
                nursery.start_soon(self._read_peers, server, opened)
                try:
                    await self.leave[machine.name].wait()
                    await opened.aclose()
                finally:
                    del self.servers[server]
            if opened.failed_connections:
                self._watch.fail(f"{machine.name}: {opened.failed_connections} connections failed")

        await self._lives(machine, live)

    async def read_events(self, link: HsmsLink, is_first: bool) -> None:
        """Read events as long as there are any; each must be the one that is due."""
        along = Along(self._watch.told[link._driver], is_first=is_first)
        async for event in link.events():
            self._watch.sometimes(f"read {type(event).__name__}")
            if fault := along.take(event):
                self._watch.fail(f"{link!r}: {fault}")

    async def read_present(self, link: HsmsLink) -> None:
        """A reader that begins when nothing happens gets the present state, and no more."""
        along = Along(self._watch.told[link._driver], is_first=False)
        reader = link.events()
        while not along.has_all:
            with trio.move_on_after(ROUNDING) as scope:
                if fault := along.take(await reader.receive()):
                    self._watch.fail(f"{link!r}: {fault}")
            if scope.cancelled_caught:
                self._watch.fail(f"{link!r}: a new reader does not get the present state")
                return

    async def _read_peers(self, server: int, opened: HsmsServer) -> None:
        peers = self.peers[server] = Peers()
        async for event in opened.events():
            if fault := peers.take(event):
                self._watch.fail(f"tool {server}: {fault}")

    async def _serve_session(self, number: int, link: HsmsLink) -> None:
        """The task that a link has for each session: one at a time."""
        if number in self.sessions:
            self._watch.fail(f"host {number}: two tasks of sessions run")
        self.sessions[number] = link.statistics().times_selected
        try:
            await trio.sleep_forever()
        finally:
            del self.sessions[number]

    def put_right(self, link: HsmsLink) -> None:
        """Its user sees to it that it connects, with the settings of all."""
        same = replace(self.settings, name=link.settings.name, port=link.settings.port)
        self._calls.make_now(f"{link!r}: configure", partial(link.configure, same))
        if link.statistics().breaker_state == "isolated":
            link.release()
        self._calls.make_now(f"{link!r}: enable", link.enable)

    def save(self, number: int) -> None:
        """The program keeps what its next life is to begin with."""
        if (link := self.links.get(number)) is None or link._engine.is_closing:
            return
        known = link.statistics()
        time = self._watch.time[link._engine._life]
        opened = time.running["open_time"] if known.breaker_state == "breaker_open" else None
        is_enabled = link.phase != "idle" and known.state != "disabling"
        self.kept[number] = Kept(
            link.save(), is_enabled, known.breaker_failures, time.dialled, opened
        )

    def _is_back(self, link: HsmsLink, kept: Kept | None) -> None:
        """A link has what its program kept in its earlier life."""
        if kept is None:
            return
        self._watch.sometimes("restored")
        found = link.statistics()
        if kept.is_enabled == (link.phase == "idle"):
            self._watch.fail(f"{link!r}: is {link.phase}, and was enabled: {kept.is_enabled}")
        if kept.opened is None and found.breaker_failures != kept.failures:
            self._watch.fail(
                f"{link!r}: {found.breaker_failures} failures, and it had {kept.failures}"
            )

    async def _read(self, messaging: Messaging, name: str, server: int) -> None:
        """Take primaries, and do with each what it asks for."""
        reader = next(self._calls.numbers)
        receive: Any = messaging
        try:
            async for primary in receive:
                if primary.stream == 9:
                    # An equipment reports what it could not take, or that T3 is over.
                    self._watch.sometimes(f"read {primary.name}")
                    continue
                self._calls.check_came(reader, name, primary.body)
                await self._answer(messaging, primary, name)
                match self.next_handler.pop(server, ""):
                    case "handler-raises":
                        raise OnPurposeError
                    case "handler-leaves":
                        return
                    case "handler-outlives":
                        await self.calm.wait()
                    case _:
                        pass
        except HsmsError as error:
            self._watch.sometimes(f"{type(error).__name__} of a reader")
            raise

    async def _answer(self, messaging: Messaging, primary: Any, name: str) -> None:
        if name in self.slow_until:
            with trio.move_on_at(self.slow_until[name]):
                await self.calm.wait()
        asks = primary.body.split(b"|")[1].decode()
        if not primary.wait or (asks == "never" and not self.calm.is_set()):
            return
        if asks == "late":
            with trio.move_on_after(0.3):
                await self.calm.wait()
        function = 0 if asks == "abort" else primary.function + 1
        body = b"" if asks == "abort" else primary.body
        if asks == "wrong":
            self._say_wrongly(messaging, primary)
        reply = partial(messaging.reply, primary, Message(primary.stream, function, body=body))
        outcome = await self._calls.make(f"{name}: reply", reply)
        if outcome == "done" and function and len(body) % 4 == 0:
            try:
                await reply()
            except HsmsError as error:
                self._watch.sometimes(f"second reply: {type(error).__name__}")
            else:
                self._watch.fail(f"{name}: two replies to one request were sent")

    def _say_wrongly(self, messaging: Messaging, primary: Any) -> None:
        """Before the reply: another secondary, and a primary of ours, with its system bytes."""
        engine = messaging._engine
        epoch = engine._context.epoch
        if epoch is primary.epoch and engine.is_selected:
            for message in (
                Message(1, 4),
                Message(6, 11, body=self._calls.body(Action(0, "send"))),
            ):
                size = engine._exchange._encode(message, primary.system_bytes, primary.session_id)
                epoch.outbox.put_message(size)
            messaging._driver.turn()

    async def _dial(self, number: int) -> Socket:
        """Dial, and perhaps have a user disable and enable the link just when that is decided."""
        machine = self.host_machine(number)
        try:
            return await machine.dial(self.tool_machine(self._plan.links[number]))
        finally:
            if number in self.toggles and (link := self.links.get(number)) is not None:
                self.toggles.remove(number)
                self._calls.make_now(f"host {number}: disable", link.disable)
                self._calls.make_now(f"host {number}: enable", link.enable)

    def power(self, machine: Machine) -> None:
        """A machine comes back."""
        machine.start()
        self._watch.say(f"{machine.name} has power")
        if machine.name in self.powered:
            self.powered[machine.name].set()
