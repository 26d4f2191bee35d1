"""What is held at the end: all recover within bounds, answer, notice a silence, keep nothing."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any

import trio

from hsms_engine import HsmsLink, HsmsServer
from hsms_engine.messaging import Messaging
from tests.simulation.beside import ROUNDING, Peers
from tests.simulation.calls import Calls
from tests.simulation.plan import Action
from tests.simulation.programs import Programs
from tests.simulation.watch import Watch


class Recovery:
    """What must come about when nothing breaks any more."""

    def __init__(self, watch: Watch, calls: Calls, programs: Programs) -> None:
        self._watch = watch
        self._plan = watch.plan
        self._calls = calls
        self._programs = programs

    async def recover(self) -> None:
        """Heal all, and see that all is well within the bound."""
        if self._watch.report.fault:
            return
        self._watch.heal()
        self._programs.calm.set()
        self._programs.toggles.clear()
        self._programs.next_handler.clear()
        for way in self._programs.network.ways():
            way.delay, way.jitter, way.loss = self._plan.one_way, self._plan.jitter, 0.0
            way.rate, way.is_cut = math.inf, False
            way.loses_fin = way.loses_reset = False
        for machine in self._programs.network.machines.values():
            machine.is_silent = False
            for socket in machine.sockets:
                if socket.is_forgotten:
                    # What is silent is not whole.
                    socket.forgotten_by_nat(resets=True)
            if not machine.is_up:
                self._programs.power(machine)
        await trio.sleep(0.001)
        for server in self._programs.servers.values():
            same = replace(
                self._programs.settings, name=server.settings.name, port=server.settings.port
            )
            # One that is about to be closed may come instead.
            self._calls.make_now(f"{server!r}: configure", partial(server.configure, same))
        for link in self._programs.links.values():
            self._programs.put_right(link)
        await self._all_are_back()
        await self._all_is_sent_again()
        longest = self._longest()
        begun = self._watch.clock.now
        self._watch.say(f"from here on, all are selected within {longest:g} s")
        poll = max(0.05, longest / 200)
        with trio.move_on_at(begun + longest):
            while not self._are_selected():  # noqa: ASYNC110  # nobody tells that both ends are
                await trio.sleep(poll)
        await trio.sleep(ROUNDING)
        if not self._are_selected():
            self._watch.fail(f"not all are selected after {longest:g} s: {self._present()}")
            return
        self._watch.say(f"all are selected after {self._watch.clock.now - begun:.6f} s")
        if (
            self._plan.theme == "late"
            and self._watch.report.sometimes["request: ReplyTimeoutError"]
        ):
            self._watch.fail("a reply that had come was not found by a program that was late")
        await self._all_answer()
        await self._all_is_over()
        self._nothing_was_lost()
        if self._plan.theme != "late":
            await self._all_notice()

    async def _all_are_back(self) -> None:
        """Wait for programs that were about to leave: what they have accepted is written first."""
        settings, hosts = self._programs.settings, len(self._plan.links)
        with trio.move_on_after(settings.write_timeout + settings.frame_deadline + settings.linger):
            while len(self._programs.links) < hosts:  # noqa: ASYNC110  # nobody tells that
                await trio.sleep(0.1)
        if len(self._programs.links) < hosts:
            self._watch.fail(f"a program that leaves does not end: {self._present()}")

    async def _all_is_sent_again(self) -> None:
        """Wait until TCP has sent again what was lost. That is no part of a bound."""
        await trio.sleep(
            self._plan.kernel.longest_pause + 4 * (self._plan.one_way + self._plan.jitter)
        )
        for way in self._programs.network.ways():
            await trio.sleep_until(way.arrives_at)
        for _ in range(10_000):
            if not any(
                socket.is_sending
                for machine in self._programs.network.machines.values()
                for socket in machine.sockets
            ):
                return
            await trio.sleep(0.1)
        self._watch.fail("bytes are on their way for ever")

    def _longest(self) -> float:
        """The bound of these settings, with what its conditions allow."""
        settings = self._programs.settings
        bound = settings.recovery_bound(self._plan.one_way + self._plan.jitter).seconds
        if self._watch.clock.now - self._watch.contested_at <= settings.t6:
            # A second host has just asked, so the next one causes no probe: one more pause.
            pause = settings.pause(settings.breaker_threshold)
            bound += max(pause, settings.breaker_open_time) * (1 + settings.backoff_jitter)
        return 3 * bound if self._is_contested else bound

    @property
    def _is_contested(self) -> bool:
        """More hosts than sessions: no bound is about that."""
        hosts = max(Counter(self._plan.links).values())
        return hosts > 1 and hosts > self._programs.settings.max_sessions

    def _are_selected(self) -> bool:
        """Both ends of all links, or as many as there are sessions."""
        count = sum(map(self._is_selected, range(len(self._plan.links))))
        most = sum(
            min(hosts, self._programs.settings.max_sessions)
            for hosts in Counter(self._plan.links).values()
        )
        return count >= most

    def _is_selected(self, number: int) -> bool:
        link, server = (
            self._programs.links.get(number),
            self._programs.servers.get(self._plan.links[number]),
        )
        if link is None or server is None or not link.is_selected:
            return False
        transport = link._driver._transport
        stream: Any = transport and transport._stream
        if stream is None or stream.is_forgotten:
            return False
        for connection in server.connections:
            theirs = connection._driver._transport
            if theirs is not None and theirs._stream is stream.other:
                return connection.is_selected
        return False

    def _present(self) -> str:
        links = ", ".join(
            f"host {number} {link.phase}" for number, link in self._programs.links.items()
        )
        tools = ", ".join(
            f"tool {number} {[each.phase for each in server.connections]}"
            for number, server in self._programs.servers.items()
        )
        return f"{links}; {tools}"

    def _nothing_was_lost(self) -> None:
        """Of a plan in which nothing is wrong but that something takes its time."""
        if self._plan.theme in ("late", "slow", "burst"):
            for number, link in self._programs.links.items():
                found = link.statistics()
                if (found.epoch, found.times_selected) != (1, 1):
                    self._watch.fail(f"host {number} has lost its link, and nothing was wrong")
                if lost := sorted({*self._calls.sent} - self._calls.came):
                    self._watch.fail(f"messages {lost} never came, and nothing was wrong")

    async def _all_is_over(self) -> None:
        """What users began ends, and nothing of it is kept."""
        settings = self._programs.settings
        with trio.move_on_after(settings.t3 + 2 * settings.t6):
            while self._unended() or self._are_writing():  # noqa: ASYNC110  # nobody tells
                await trio.sleep(0.1)
        if calls := self._unended():
            self._watch.fail(f"these calls do not end: {calls}")
        for driver in self._watch.drivers:
            engine = driver.engine
            found = engine.statistics()
            # What came over a link that is closed may still be read.
            waiting = 0 if engine.is_closed and driver._dial else found.waiting_primaries
            kept = (found.open_transactions, waiting, found.queued_bytes)
            if any(kept) or driver._waiting or engine._life._asked:
                self._watch.fail(f"{driver.name}: kept: {kept}, {len(driver._waiting)} wait")
        for number, server in self._programs.servers.items():
            if not self._is_contested:
                self._nothing_is_kept(f"tool {number}", server, self._programs.peers[number])
        for number, link in self._programs.links.items():
            await self._programs.read_present(link)
            session = link.statistics().times_selected if link.is_selected else None
            if (serves := self._programs.sessions.get(number)) != session:
                self._watch.fail(f"host {number}: its task serves {serves}, not {session}")

    def _unended(self) -> list[str]:
        """The calls that have not ended, and should. A host without a session goes on waiting."""
        waits = {
            f"host {number}: connect"
            for number, link in self._programs.links.items()
            if self._is_contested and not link.is_selected
        }
        return sorted({*+self._calls.open} - waits)

    def _are_writing(self) -> bool:
        """Whether bytes that were accepted are still to be written, through small buffers."""
        return any(driver.engine.statistics().queued_bytes for driver in self._watch.drivers)

    def _nothing_is_kept(self, name: str, server: HsmsServer, peers: Peers) -> None:
        entity, selected = server.entity, [each for each in server.connections if each.is_selected]
        # The handler of a session that was deselected goes on until T7 ends its connection.
        began = [each for each in server.connections if each.statistics().times_selected]
        if server.waiting_bytes or server.outliving or server.handlers != len(began):
            self._watch.fail(
                f"{name}: {server.waiting_bytes} bytes wait, {server.handlers} handlers, "
                f"{server.outliving} of them outlive, and {len(began)} were selected"
            )
        sessions = {each._driver.engine._life for each in selected}
        served = {each._driver.engine._life for each in began}
        if (entity._selected, entity._served) != (sessions, served):
            self._watch.fail(
                f"{name}: {len(entity._selected)} have sessions and {len(entity._served)} are "
                f"served, and {len(selected)} of {len(began)} that were selected are so now"
            )
        if not peers.has_missed and sum(peers.here.values()) != len(selected):
            self._watch.fail(
                f"{name}: it has told of {peers.here}, and {len(selected)} are selected"
            )

    async def _all_notice(self) -> None:
        """When nothing arrives any more, both ends notice within their bound."""
        for way in self._programs.network.ways():
            way.is_cut = True
        bound = self._programs.settings.detection_bound().seconds
        self._watch.say(f"nothing arrives any more; all notice within {bound:g} s")
        # The last byte may be under way.
        await trio.sleep(bound + self._plan.one_way + self._plan.jitter + ROUNDING)
        ends: list[Messaging] = [*self._programs.links.values()]
        for server in self._programs.servers.values():
            ends += server.connections
        for end in ends:
            if end.statistics().phase == "selected":
                self._watch.fail(f"{end!r}: it has not noticed that its peer is silent")
        for way in self._programs.network.ways():
            way.is_cut = False

    async def _all_answer(self) -> None:
        self._programs.slow_until.clear()
        async with trio.open_nursery() as nursery:
            for number, link in self._programs.links.items():
                if self._is_selected(number):
                    nursery.start_soon(self._expect_answers, number, link)

    async def _expect_answers(self, number: int, link: HsmsLink) -> None:
        for name, call in (
            ("request", partial(self._calls.request, link, Action(0, "request", size=10))),
            ("linktest", link.linktest),
        ):
            began = self._watch.clock.now
            outcome = await self._calls.make(f"host {number}: last {name}", call)
            took = self._watch.clock.now - began
            if self._plan.rate == math.inf and took > 1 + 4 * (
                self._plan.one_way + self._plan.jitter
            ):
                self._watch.fail(f"host {number}: the {name} when all is well took {took:g} s")
            if outcome != "done":
                self._watch.fail(f"host {number}: the {name} when all is well: {outcome}")

    def nothing_stays(self) -> None:
        """No connection is left when all programs are over."""
        for machine in self._programs.network.machines.values():
            for socket in machine.sockets:
                if socket.is_open:
                    self._watch.fail(
                        f"{socket.name} -> {socket.peer}: the program has left it open"
                    )
        for name, stream in self._watch.resets:
            if stream not in self._watch.was_reset:
                self._watch.fail(
                    f"{name}: a connection was given up, and its peer not told by a reset"
                )
