"""What befalls the fleet, step by step, and what must hold after each step.

Each step is held against a bound: how long it may take until every tool has an owner again. The
bounds are those of ``hsms_engine.lease.bounds``, which know no scheduler, and ``SLACK`` more.
"""

from __future__ import annotations

import signal
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TextIO

import trio

from hsms_engine.fleet.redis import redis_streams
from hsms_engine.fleet.shares import shares
from hsms_engine.lease.bounds import restart_bound, takeover_bound
from hsms_engine.lease.redis import RedisStore
from hsms_engine.protocol.leasing import LeaseTimes
from statecharts.hsms.timers import LEASE_POLL
from statecharts.nursery import open_bare_nursery
from tests.fleet_demo.commander import Commander
from tests.fleet_demo.ledger import FAULTS, Ledger
from tests.fleet_demo.programs import Owner, Tools
from tests.support.store_server import Relay, StoreServer, relay

NAMES = ("host-1", "host-2", "host-3")
PASSWORD = "of-the-demo"
PATIENCE = 58.0
"""The longest time for the whole demo, in seconds: a step that never comes stops it too."""
SLACK = 3.0
"""Seconds: both CPUs are busy, and so many links dial at once."""
# That of a machine that is busy.
_LONG = 300.0
_OURS = "commander"
# A call to the store and its answer, on this machine, in seconds.
_DELAY = 0.05
# How long a tool waits for an answer of its old host before it takes another one.
_PROBE = 1.0
# Times of two processes are compared, and told in milliseconds.
_CLOCKS = 0.05

Tell = Callable[..., None]


class WrongStepError(Exception):
    """A step was not as it must be."""


@dataclass(slots=True)
class Result:
    """What came of one run."""

    tools: int
    processes: int
    double: int = 0
    stale: int = 0
    late: int = 0
    early: int = 0
    lost: int = 0
    frames: int = 0
    commands: int = 0
    sessions: int = 0
    bounds: dict[str, float] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)

    @property
    def is_good(self) -> bool:
        return not (self.double or self.stale or self.late or self.early or self.lost)


class Story:
    """One run. ``lease``: its length in seconds; ``log`` gets all that is told.

    ``is_patient``: nothing is held against a time, for machines that are busy.
    """

    def __init__(
        self,
        count: int,
        lease: float,
        tell: Tell,
        log: TextIO | None = None,
        *,
        is_patient: bool = False,
    ) -> None:
        self._lease = lease
        self._tell = tell
        self._began = time.monotonic()
        self.result = Result(count, len(NAMES))
        self._ledger = Ledger(wall_ahead=time.time() - time.monotonic(), log=log)
        self._tools = Tools(self._ledger)
        self._owners: dict[str, Owner] = {}
        self._ways: dict[str, Relay] = {}
        times = LeaseTimes(lease)
        poll = times.seconds(LEASE_POLL.id)
        self._is_patient = is_patient
        self._slack = inf if is_patient else SLACK
        self._crash = takeover_bound(lease, poll, _DELAY) + self._slack
        self._restart = restart_bound(lease, poll, _DELAY, times.store_timeout) + self._slack
        # Who comes is seen in two looks, and then gets its share from the others, some at a time.
        self._shared = 3 * poll + self._slack

    async def run(self) -> None:
        """Play all of it. Raises ``WrongStepError``, and ``trio.TooSlowError``."""
        with trio.fail_after(_LONG if self._is_patient else PATIENCE):
            async with AsyncExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fleet-")))
                server = stack.enter_context(StoreServer(folder, "--requirepass", PASSWORD))
                # Each process has a way to the store of its own, and so has the commander.
                for name in (*NAMES, _OURS):
                    self._ways[name] = await stack.enter_async_context(relay(server.port))
                count = self.result.tools
                await stack.enter_async_context(
                    self._tools.running(count=count, probe=_PROBE, events=1.0)
                )
                file = folder / "tools.toml"
                file.write_text(self._tools.file(), encoding="utf-8")
                owners = await stack.enter_async_context(open_bare_nursery())

                async def start(name: str) -> None:
                    owner = self._owners[name] = Owner(name, self._ledger)
                    await owners.start(
                        owner.run, file, self._ways[name].url(), self._lease, PASSWORD
                    )

                for name in NAMES:
                    await start(name)
                self._say(f"a store, {count} tools, and {len(NAMES)} processes are started")
                store = RedisStore(
                    f"redis://:{PASSWORD}@127.0.0.1:{self._ways[_OURS].port}", duration=self._lease
                )
                async with redis_streams(store, has_leases=True) as streams:
                    commander = Commander(store, streams, self._tools.ports)
                    await self._play(commander, server, start)
                owners.cancel_scope.cancel()

    async def _play(
        self,
        commander: Commander,
        server: StoreServer,
        start: Callable[[str], Awaitable[None]],
    ) -> None:
        first, second, third = NAMES
        # A new store gives no lease before one could be over. Python needs its time to start.
        await self._owned("start", self._restart + 10.0, NAMES)
        async with open_bare_nursery() as nursery:
            nursery.start_soon(commander.run, 0.5)
            await self._obeyed("start", commander)

            self._owners[first].send(signal.SIGKILL)
            self._say(f"kill -9 {first}")
            await self._owned("kill -9", self._crash, (second, third))
            await self._obeyed("kill -9", commander)

            self._owners[second].send(signal.SIGSTOP)
            self._say(f"SIGSTOP {second}")
            await self._owned("SIGSTOP", self._crash + _PROBE, (third,))
            await self._obeyed("SIGSTOP", commander)
            self._owners[second].send(signal.SIGCONT)
            self._say(f"SIGCONT {second}: what it had queued must not be sent")
            await self._owned("SIGCONT", self._shared, (second, third))
            await self._obeyed("SIGCONT", commander)

            await self._expect_published(commander)

            self._ways[third].hold()
            self._say(f"{third} is cut off from the store, and from nothing else")
            await self._owned("cut off", self._crash, (second,))
            await self._obeyed("cut off", commander)
            self._ways[third].release()
            self._say(f"{third} reaches the store again")
            await self._owned("not cut off", self._shared, (second, third))
            await self._obeyed("not cut off", commander)

            if not self._is_patient:
                await self._fall_silent()

            since = time.monotonic()
            server.kill()
            for way in self._ways.values():
                way.to = None
                way.cut()
            self._say("the store is killed, with all it knew")
            await self._ledger.until(lambda: not self._ledger.shares())
            self._say("each link has ended")
            if not self._is_patient:
                self.result.early = len(self._ledger.early(since, _CLOCKS))
            self._expect("before the deadline of its lease", self.result.early, 0)
            await trio.to_thread.run_sync(server.start)
            for way in self._ways.values():
                way.to = server.port
            self._say("another store, which knows nothing")
            await self._owned("new store", self._restart, (second, third))
            await self._obeyed("new store", commander)

            await start(first)
            self._say(f"{first} is started again")
            await self._owned("all back", self._shared + 10.0, NAMES)
            await self._obeyed("all back", commander)

            self._ledger.clear_gaps()
            self._owners[second].send(signal.SIGTERM)
            self._say(f"SIGTERM {second}")
            await self._owned("SIGTERM", self._shared, (first, third))
            self._expect(f"{second} ends with", await self._owners[second].end(), 0)
            gap = max(self._ledger.gaps)
            self._say(f"the longest time of a tool without a session: {gap:.2f} s")
            await self._obeyed("SIGTERM", commander)
            nursery.cancel_scope.cancel()
        for name in (first, third):
            self._owners[name].send(signal.SIGTERM)
            self._expect(f"{name} ends with", await self._owners[name].end(), 0)
        await self._count(commander)

    async def _fall_silent(self) -> None:
        """The store does not answer, for less than a link goes on without it."""
        since, away = time.monotonic(), 0.4 * self._lease
        for way in self._ways.values():
            way.hold()
        self._say(f"the store does not answer for {away:.1f} s")
        await trio.sleep(away)
        for way in self._ways.values():
            way.release()
        await self._ledger.until(lambda: not self._ledger.doubts)
        self._say("it answers again, and each lease is renewed")
        self._expect("sessions that have ended meanwhile", self._ended(since), 0)

    # What must hold

    async def _owned(self, step: str, bound: float, processes: tuple[str, ...]) -> None:
        """Wait until each of these has its share of all tools, which must be within the bound."""
        began = time.monotonic()
        expected = Counter(shares(self._tools.ports, dict.fromkeys(processes)).values())

        def is_so() -> bool:
            return self._ledger.shares() == expected

        with trio.move_on_after(bound):
            await self._ledger.until(is_so)
            took = max(0.0, self._ledger.owned_since() - began)
            self.result.took[step], self.result.bounds[step] = took, bound
            self._say(f"each tool is where it belongs after {took:.2f} s, at most {bound:.2f} s")
            return
        raise WrongStepError(f"{step}: not each tool is where it belongs after {bound:.2f} s")

    async def _obeyed(self, step: str, commander: Commander) -> None:
        """Wait until each tool has done a command of its present owner."""
        with trio.move_on_after(self._lease + self._slack):
            await commander.until_obeyed()
            for fault in FAULTS:
                if self._ledger.faults[fault]:
                    self._expect(_FAULTS[fault], self._ledger.faults[fault], 0)
            return
        raise WrongStepError(f"{step}: {commander.obeyed} tools do what their owner says")

    async def _expect_published(self, commander: Commander) -> None:
        """Each event that a tool was acknowledged is in its stream."""
        counts = await self._tools.count()
        acknowledged = {name: set(each["acknowledged"]) for name, each in counts.items()}
        for name, numbers in acknowledged.items():
            self.result.lost += len(numbers - await commander.published(name))
        total = sum(map(len, acknowledged.values()))
        self._expect(f"of {total:,} events acknowledged, not in a stream", self.result.lost, 0)

    def _ended(self, since: float) -> int:
        return sum(each.at >= since for each in self._ledger.over)

    async def _count(self, commander: Commander) -> None:
        counts = (await self._tools.count()).values()
        for name in ("double", "stale", "late", "frames", "commands", "sessions"):
            setattr(self.result, name, sum(each[name] for each in counts))
        told = ", ".join(
            f"{name} {number:,}" for name, number in sorted(commander.outcomes.items())
        )
        self._say(f"commands: {told}")
        for fault in FAULTS:
            self._expect(_FAULTS[fault], getattr(self.result, fault), 0)

    def _expect(self, what: str, seen: int, expected: int) -> None:
        if seen != expected:
            raise WrongStepError(f"{what}: expected {expected}, seen {seen}")
        self._say(f"{what}: {seen}")

    def _say(self, what: str) -> None:
        owned = self._ledger.shares()
        at = time.monotonic() - self._began
        self._ledger.keep("demo", {"what": what})
        self._tell(at, what, {name: owned[name] for name in NAMES})


_FAULTS = {
    "double": "a second host at a tool whose first one is alive",
    "stale": "commands of an earlier owner",
    "late": "frames of a host after another one was taken",
}
