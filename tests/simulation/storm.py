"""The storm: what users do, and what breaks, each when the plan says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import trio

from hsms_engine import Message, open_hsms
from hsms_engine.virtual import Machine, Socket, Way
from tests.simulation.calls import Calls
from tests.simulation.plan import Action
from tests.simulation.programs import Programs
from tests.simulation.watch import Watch


class Storm:
    """The actions of a plan. What ``users`` began may outlast it, what is in ``breaks`` may not."""

    def __init__(
        self,
        watch: Watch,
        calls: Calls,
        programs: Programs,
        users: trio.Nursery,
        breaks: trio.Nursery,
    ) -> None:
        self._watch = watch
        self._plan = watch.plan
        self._calls = calls
        self._programs = programs
        self._users = users
        self._breaks = breaks
        # What a fault changes for a time: as it was, and how many such faults act on it.
        self._whole: dict[tuple[Way | Socket, str], float] = {}
        self._broken: Counter[tuple[Way | Socket, str]] = Counter()

    async def play(self) -> None:
        """All of it."""
        for action in self._plan.actions:
            await trio.sleep_until(action.at)
            if self._plan.theme == "late":
                # Nothing else is on its way then.
                await trio.sleep(2)
            self._watch.act(action)
            self._watch.look()
            self._act(action)
        await trio.sleep_until(self._plan.ends_at)
        if self._plan.theme == "chatty":
            await self._chat()

    async def _chat(self) -> None:
        """Somebody asks and tells something every few seconds, in both directions."""
        link = self._programs.links[0]
        for _ in range(720):
            await trio.sleep(5)
            await self._calls.request(link, Action(0, "request", size=100))
            await link.send(Message(6, 11, body=self._calls.body(Action(0, "send", size=100))))
            connection = self._programs.servers[0].connections[0]
            await self._calls.request(connection, Action(0, "server-request", size=100))

    def _act(self, action: Action) -> None:
        link = self._programs.links.get(action.who)
        server = self._programs.servers.get(self._plan.links[action.who])
        of = f"host {action.who}: {action.what}"
        start = self._users.start_soon
        match action.what:
            case "request" | "send" | "burst" | "linktest" | "deselect" | "select" | "connect":
                if link is not None:
                    start(self._calls.make, of, self._waiting_call(link, action), action.patience)
            case "server-request" | "server-send":
                selected = (
                    [each for each in server.connections if each.is_selected] if server else []
                )
                if selected:
                    call = self._waiting_call(selected[action.size % len(selected)], action)
                    start(self._calls.make, of, call, action.patience)
            case "disable" | "enable" | "isolate" | "release" | "reset-breaker":
                if link is not None:
                    self._calls.make_now(of, getattr(link, action.what.replace("-", "_")))
            case "configure":
                if link is not None:
                    self._calls.make_now(
                        of, partial(link.configure, **self._other_settings(action))
                    )
            case "configure-server":
                if server is not None:
                    self._calls.make_now(
                        of, partial(server.configure, **self._other_settings(action))
                    )
            case "reopen":
                if action.size:
                    self._programs.save(action.who)
                self._programs.leave[f"host {action.who}"].set()
            case "restart-server":
                self._programs.leave[f"tool {self._plan.links[action.who]}"].set()
            case "read-slowly":
                name = (
                    f"tool {self._plan.links[action.who]}" if action.size else f"host {action.who}"
                )
                self._programs.slow_until[name] = self._watch.clock.now + action.value
            case "watch-events":
                if link is not None:
                    self._breaks.start_soon(self._programs.read_events, link, False)
            case "toggle":
                self._programs.toggles.add(action.who)
                for socket in [*self._programs.host_machine(action.who).sockets]:
                    socket.break_off()
            case "once":
                # It would contest the session when all is to be well.
                self._breaks.start_soon(
                    self._calls.make, of, partial(self._once, action), action.patience
                )
            case "handler-raises" | "handler-leaves" | "handler-outlives":
                self._programs.next_handler[self._plan.links[action.who]] = action.what
            case _:
                self._break(action)

    def _waiting_call(self, messaging: Any, action: Action) -> Callable[[], Awaitable[object]]:
        match action.what:
            case "request" | "server-request":
                return partial(self._calls.request, messaging, action)
            case "send" | "server-send":
                return partial(self._calls.send_all, messaging, action, 1)
            case "burst":
                return partial(self._calls.send_all, messaging, action, max(1, int(action.value)))
            case name:
                call: Callable[[], Awaitable[object]] = getattr(messaging, name)
                return call

    def _other_settings(self, action: Action) -> dict[str, Any]:
        """Settings that a user changes to, until the storm is over."""
        dice = Random(f"{action}")
        changes = {
            "t3": dice.choice((1, 20)),
            "t6": dice.choice((1, 4)),
            "linktest_interval": dice.choice((None, 1, 20)),
            "linktest_threshold": dice.choice((1, 3)),
            "breaker_threshold": dice.choice((1, 4)),
        }
        return {name: changes[name] for name in dice.sample(sorted(changes), 2)}

    async def _once(self, action: Action) -> None:
        machine = self._programs.host_machine(action.who)
        tool = self._programs.tool_machine(self._plan.links[action.who])
        random = Random(f"{action}")
        settings = self._programs.settings_of(f"once {action.who}", self._plan.links[action.who])
        async with open_hsms(settings, dial=lambda: machine.dial(tool), random=random) as opened:
            await self._calls.request(opened, action)

    def _break(self, action: Action) -> None:
        """A fault of the network or of a machine."""
        out, back = ways = self._programs.both_ways(action.who)
        host = self._programs.host_machine(action.who)
        tool = self._programs.tool_machine(self._plan.links[action.who])
        start, dice = self._breaks.start_soon, Random(f"{action}")
        match action.what:
            case "black-hole":
                start(self._for_a_time, action.value, ways, "is_cut", True)
            case "black-hole=to-equipment":
                start(self._for_a_time, action.value, (out,), "is_cut", True)
            case "black-hole=to-host":
                start(self._for_a_time, action.value, (back,), "is_cut", True)
            case "latency":
                start(self._for_a_time, 3 * action.value, ways, "delay", action.value / 2)
            case "jitter":
                start(self._for_a_time, 3 * action.value, ways, "jitter", action.value / 2)
            case "rate":
                start(self._for_a_time, 3 * action.value, ways, "rate", dice.choice((500.0, 8e3)))
            case "loss":
                start(self._for_a_time, 3 * action.value, ways, "loss", dice.choice((0.05, 0.4)))
            case "lost-fin":
                start(self._for_a_time, action.value, ways, "loses_fin", True)
            case "lost-reset":
                start(self._for_a_time, 3 * action.value, ways, "loses_reset", True)
            case "slice":
                self._programs.network.kernel = replace(
                    self._plan.kernel, segment=100, is_choppy=True
                )
            case "small-buffers":
                for socket in (*host.sockets, *tool.sockets):
                    socket.send_buffer = socket.receive_buffer = 500
            case "stall":
                for socket in (host if action.size else tool).sockets:
                    start(self._for_a_time, action.value, (socket,), "receive_buffer", 0)
            case "half-close":
                for socket in [*(host if action.size else tool).sockets]:
                    if socket.is_open:
                        start(self._half_close, socket)
            case "reset":
                for socket in [*host.sockets]:
                    socket.other.break_off()
                    socket.break_off()
            case "lost-connection":
                for socket in [*(host if action.size else tool).sockets]:
                    socket.break_off()
            case "power-cut" | "power-cut-silent":
                machine = host if action.size else tool
                if action.size > 10:
                    self._programs.save(action.who)
                start(self._cut_power, machine, action.value, "silent" in action.what)
            case "forgetful-nat":
                self._programs.network.forget(resets=True)
            case "forgetful-firewall":
                self._programs.network.forget(resets=False)
            case "stopped" if self._plan.theme == "late":
                self._watch.stops_for = action.value
            case "stopped":
                self._watch.jump(action.value)
            case _:
                raise AssertionError(action.what)

    async def _for_a_time(
        self, seconds: float, ways: tuple[Way | Socket, ...], name: str, value: float
    ) -> None:
        for way in ways:
            # Another fault of this kind may act on it already.
            self._whole.setdefault((way, name), getattr(way, name))
            self._broken[way, name] += 1
            setattr(way, name, value)
        try:
            await trio.sleep(seconds)
        finally:
            for way in ways:
                self._broken[way, name] -= 1
                if not self._broken[way, name]:
                    setattr(way, name, self._whole.pop((way, name)))
        self._watch.say(f"{name} is as before")

    async def _half_close(self, socket: Socket) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await socket.send_eof()

    async def _cut_power(self, machine: Machine, seconds: float, silent: bool) -> None:
        machine.crash()
        machine.is_silent = silent
        self._programs.scopes[machine.name].cancel()
        with trio.move_on_after(seconds):
            await trio.sleep_forever()
        self._programs.power(machine)
