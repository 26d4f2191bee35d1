"""The same list against an equipment on another machine: the way there goes through a fault proxy.

What happens to the way, the proxy makes; what happens to the host, is made here. What the other
machine must do, or a proxy of byte streams cannot, is left out, with the reason.
"""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import assert_never

from hsms_engine import SettingsChanges, proxy
from hsms_engine.proxy import Proxy, open_proxy
from tests.real_network.judge import Line
from tests.real_network.namespaces import End
from tests.real_network.programs import Programs, Talk, programs
from tests.real_network.stage import (
    Behaves,
    BlackHole,
    CablePulled,
    Fault,
    FirstAddressDead,
    ForgetfulFirewall,
    ForgetfulNat,
    Killed,
    NotThere,
    Poor,
    PowerCut,
    Reset,
    SmallMtu,
    Stopped,
    Terminated,
)
from tests.real_network.way import Way

# Shorter than the pause between two requests.
_SILENCE = 0.05
_BEHAVIOURS: dict[str, proxy.Fault] = {
    "accept-and-close": proxy.CutAfter(1, direction="to-equipment"),
    "accept-and-say-nothing": proxy.AcceptAndSayNothing(),
    "stop-reading": proxy.Stall(direction="to-equipment", after=0.5),
    "send-garbage=reply": proxy.CorruptFrame("S1F2", field="length", to=3),
}


def left_out(fault: Fault, talk: Talk) -> str | None:
    """Why a row cannot be made from here, or None."""
    match fault:
        case Poor(way):
            if way.rate is not None and talk.message:
                return (
                    "what waits in a proxy is acknowledged already: the equipment takes its "
                    "linktest, which waits behind that, for unanswered"
                )
            passes = Way(latency=way.latency, jitter=way.jitter, rate=way.rate, queue=way.queue)
            return None if way == passes else "a proxy passes streams on: no packet is lost in it"
        case CablePulled("equipment"):
            return "by hand: pull the other machine's cable, and put it back"
        case CablePulled("host"):
            return "by hand: pull this machine's cable, and put it back"
        case Stopped("equipment"):
            return "by hand: there, kill -STOP and later kill -CONT the equipment"
        case Killed("equipment"):
            return "by hand: there, kill -KILL the equipment, and start it again"
        case Terminated("equipment"):
            return "by hand: there, kill -TERM the equipment, and start it again"
        case PowerCut(ends) if "equipment" in ends:
            return "by hand: switch the other machine off, and on"
        case SmallMtu():
            return "a proxy passes streams on, no packets"
        case FirstAddressDead():
            return "it needs a name with two addresses"
        case _:
            return None


class Elsewhere:
    """One row's host and proxy; it is used as ``stage.Stage`` is."""

    def __init__(self, opened: Proxy, programs: Programs) -> None:
        self.ends: tuple[End, ...] = ("host",)
        self.log = programs.log
        self._proxy = opened
        self._programs = programs

    async def start(self, end: End) -> Line:
        """Start the host. The equipment is there already."""
        if end == "host":
            return await self._programs.start_host(self._proxy.host, self._proxy.port)
        return Line(time.monotonic(), end, "listening")

    def resets(self) -> tuple[tuple[End, int], ...]:
        """The host's reset ends at the proxy, which tells."""
        ended = [each for each in self._proxy.happened() if isinstance(each, proxy.Ended)]
        return (("host", sum("reset" in str(each) for each in ended)),)

    def _of_this_connection(self) -> tuple[int, int]:
        """Only the connection that is open now."""
        number = max(self._proxy.connections)
        return number, number

    async def prepare(self, fault: Fault) -> None:
        """Before the host is started."""
        match fault:
            case Poor(way):
                self._proxy.set(*_poor(way))
            case NotThere():
                self._proxy.set(proxy.Refuse())
            case Behaves(behaviours):
                self._proxy.set(*(_BEHAVIOURS[each] for each in behaviours))
            case _:
                pass

    async def begin(self, fault: Fault) -> float:
        """Make the fault, when the host is selected. When it began."""
        began = time.monotonic()
        match fault:
            case BlackHole(("host", "equipment")):
                self._proxy.set(proxy.BlackHole())
            case BlackHole(("host",)):
                self._proxy.set(proxy.BlackHole(direction="to-host"))
            case BlackHole():
                self._proxy.set(proxy.BlackHole(direction="to-equipment"))
            case Reset():
                self._proxy.reset_all()
            case ForgetfulNat(silent=False):
                this = self._of_this_connection()
                self._proxy.set(proxy.ForgetfulNat(_SILENCE, connections=this))
            case ForgetfulNat() | ForgetfulFirewall():
                this = self._of_this_connection()
                self._proxy.set(proxy.ForgetfulFirewall(_SILENCE, connections=this))
            case Stopped():
                self._programs.signal("host", signal.SIGSTOP)
            case Killed():
                await self._programs.kill("host")
            case Terminated():
                await self._programs.terminate("host")
            case PowerCut():
                # Nothing of its end passes to the equipment, whose session stays.
                self._proxy.set(proxy.BlackHole(connections=self._of_this_connection()))
                await self._programs.kill("host")
            case Poor() | NotThere() | Behaves() | FirstAddressDead() | CablePulled() | SmallMtu():
                pass
            case never:
                assert_never(never)
        return began

    async def end(self, fault: Fault) -> float | None:
        """The fault is over. When it was, or None: it stays, and the link is to live with it."""
        match fault:
            case Poor() | FirstAddressDead():
                return None
            case Stopped():
                self._programs.signal("host", signal.SIGCONT)
            case Killed() | Terminated() | PowerCut():
                return (await self.start("host")).at
            case ForgetfulNat() | ForgetfulFirewall():
                pass
            case _:
                self._proxy.set()
        return time.monotonic()


def _poor(way: Way) -> list[proxy.Fault]:
    faults: list[proxy.Fault] = []
    if way.latency:
        faults.append(proxy.Latency(way.latency))
    if way.jitter:
        faults.append(proxy.Jitter(way.jitter))
    if way.rate is not None:
        faults.append(proxy.Rate(way.rate))
    return faults


@asynccontextmanager
async def elsewhere(
    settings: SettingsChanges, talk: Talk, seed: int, address: tuple[str, int]
) -> AsyncIterator[Elsewhere]:
    """A proxy to the equipment at ``address``, and programs here, as long as the block."""
    async with open_proxy(*address, seed=seed) as opened, programs(settings, talk) as started:
        yield Elsewhere(opened, started)
