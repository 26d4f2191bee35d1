"""Two programs in their namespaces, and what is done to them and to the way between them.

Each fault has the name that it has everywhere: ``latency``, ``black-hole``, ``killed`` …
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import assert_never

import trio

from hsms_engine import SettingsChanges
from tests.real_network import namespaces
from tests.real_network.judge import Line
from tests.real_network.namespaces import ADDRESS, NAME, PORT, TUN, End, Network
from tests.real_network.programs import PATIENCE, Programs, Talk, programs
from tests.real_network.way import Way


@dataclass(frozen=True, slots=True)
class Poor:
    """The way between the ends is like this from the start."""

    way: Way


@dataclass(frozen=True, slots=True)
class CablePulled:
    """The network device of an end has no carrier."""

    end: End


@dataclass(frozen=True, slots=True)
class BlackHole:
    """What goes to these ends is dropped without a word."""

    to: tuple[End, ...] = ("host", "equipment")


@dataclass(frozen=True, slots=True)
class Reset:
    """Somebody on the way answers each packet of a connection with RST."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The program of an end is stopped (SIGSTOP); its system goes on."""

    end: End


@dataclass(frozen=True, slots=True)
class Killed:
    """The program of an end is killed (SIGKILL) and started again; its system closes TCP."""

    end: End


@dataclass(frozen=True, slots=True)
class Terminated:
    """The program of an end is asked to end (SIGTERM), and started again."""

    end: End


@dataclass(frozen=True, slots=True)
class PowerCut:
    """The machines of these ends are gone without a word, and come back with nothing known."""

    ends: tuple[End, ...]


@dataclass(frozen=True, slots=True)
class ForgetfulNat:
    """The host is behind a NAT, which forgets all connections and gives other ports.

    ``silent``: it drops what belongs to no connection. Otherwise the next packet of the host comes
    from a port that the equipment does not know, and is answered by RST.
    """

    silent: bool


@dataclass(frozen=True, slots=True)
class ForgetfulFirewall:
    """A firewall forgets all connections, and drops what belongs to none."""


@dataclass(frozen=True, slots=True)
class SmallMtu:
    """The way takes packets of 576 bytes from now on; ``told``: by ICMP, else they vanish."""

    told: bool


@dataclass(frozen=True, slots=True)
class NotThere:
    """Nobody listens on the equipment's port yet."""


@dataclass(frozen=True, slots=True)
class Behaves:
    """The equipment misbehaves from the start, as ``hsms-engine fake`` does; then it is well."""

    behaviours: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FirstAddressDead:
    """The equipment's name has two addresses, and nothing comes from the first."""


Fault = (
    Poor
    | CablePulled
    | BlackHole
    | Reset
    | Stopped
    | Killed
    | Terminated
    | PowerCut
    | ForgetfulNat
    | ForgetfulFirewall
    | SmallMtu
    | NotThere
    | Behaves
    | FirstAddressDead
)


class Stage:
    """One row's network and programs."""

    def __init__(self, network: Network, programs: Programs, seed: int) -> None:
        self.ends: tuple[End, ...] = ("host", "equipment")
        self.network = network
        self.log = programs.log
        self._programs = programs
        self._seed = seed
        self._relay: trio.Process | None = None
        # What the next equipment does wrong, and where the next host dials.
        self._behaviours: tuple[str, ...] = ()
        self._address = ADDRESS["equipment"]

    async def start(self, end: End) -> Line:
        """Start the program of an end. The line with which it listens, or begins."""
        if end == "host":
            return await self._programs.start_host(self._address, PORT)
        own = ADDRESS["equipment"]
        return await self._programs.start_equipment(own, PORT, self._behaviours)

    # The way

    async def relay(self, way: Way) -> None:
        """Hand all packets to a relay, or change what it does."""
        if self._relay is None:
            words = (sys.executable, "-m", "tests.real_network.relay", TUN, ADDRESS["host"])
            command = self.network.exec(self.network.middle, *words, str(self._seed))
            self._relay = await self._programs.open(*command)
            assert self._relay.stdout is not None
            with trio.fail_after(PATIENCE):
                await self._relay.stdout.receive_some()
            self.network.through_relay()
        assert self._relay.stdin is not None
        await self._relay.stdin.send_all(json.dumps(asdict(way)).encode() + b"\n")

    def resets(self) -> tuple[tuple[End, int], ...]:
        """How many packets with RST each end has sent."""
        return tuple((end, self.network.resets(end)) for end in ADDRESS)

    def forget_connections(self) -> float:
        """Forget what the kernel of the middle tracks. When it was."""
        words = (sys.executable, "-m", "tests.real_network.conntrack")
        return float(self.network.run(self.network.middle, *words))

    # Faults

    async def prepare(self, fault: Fault) -> None:
        """Before any program is started."""
        network, middle = self.network, self.network.middle
        match fault:
            case Poor(way):
                await self.relay(way)
            case SmallMtu():
                await self.relay(Way())
            case ForgetfulNat():
                network.rules(_nat(20_000))
            case ForgetfulFirewall():
                network.system(middle, netfilter__nf_conntrack_tcp_loose=0)
                network.rules(
                    "add rule ip t forward ct state established accept",
                    "add rule ip t forward tcp flags & (syn | ack) == syn accept",
                    "add rule ip t forward drop",
                )
            case Behaves(behaviours):
                self._behaviours = behaviours
            case FirstAddressDead():
                network.two_addresses()
                self._address = NAME
            case CablePulled() | BlackHole() | Reset() | NotThere():
                pass
            case Stopped() | Killed() | Terminated() | PowerCut():
                pass
            case never:
                assert_never(never)

    async def begin(self, fault: Fault) -> float:
        """Make the fault, when both ends are selected. When it began."""
        began = time.monotonic()
        network, middle = self.network, self.network.middle
        match fault:
            case Poor() | NotThere() | Behaves() | FirstAddressDead():
                pass
            case CablePulled(end):
                network.cable(end, "down")
            case BlackHole(ends):
                network.rules(
                    *(f"add rule ip t forward ip daddr {ADDRESS[end]} drop" for end in ends)
                )
            case Reset():
                network.rules(
                    "add rule ip t forward tcp flags & (syn | rst) == 0x0 reject with tcp reset"
                )
            case Stopped(end):
                self._programs.signal(end, signal.SIGSTOP)
            case Killed(end):
                await self._programs.kill(end)
            case Terminated(end):
                await self._programs.terminate(end)
            case PowerCut(ends):
                for end in ends:
                    network.detach(end)
                for end in ends:
                    await self._programs.kill(end)
                    network.forget(end)
            case ForgetfulNat(silent):
                if silent:
                    network.system(middle, netfilter__nf_conntrack_tcp_loose=0)
                    network.rules(
                        "add rule ip t forward ct state invalid drop",
                        f"add rule ip t input ip daddr {namespaces.OUTSIDE} drop",
                    )
                network.rules("flush chain ip t nat", _nat(30_000))
                return self.forget_connections()
            case ForgetfulFirewall():
                return self.forget_connections()
            case SmallMtu(told):
                if not told:
                    network.rules("add rule ip t output icmp type destination-unreachable drop")
                network.mtu(576)
            case never:
                assert_never(never)
        return began

    async def end(self, fault: Fault) -> float | None:
        """The fault is over. When it was, or None: it stays, and the link is to live with it."""
        network = self.network
        match fault:
            case Poor() | FirstAddressDead():
                return None
            case ForgetfulNat() | ForgetfulFirewall():
                pass
            case CablePulled(end):
                network.cable(end, "up")
            case BlackHole() | Reset():
                network.rules("flush chain ip t forward")
            case Stopped(end):
                self._programs.signal(end, signal.SIGCONT)
            case Killed(end) | Terminated(end):
                return (await self.start(end)).at
            case PowerCut(ends):
                for end in ends:
                    network.attach(end)
                return max([(await self.start(end)).at for end in reversed(ends)])
            case SmallMtu():
                network.mtu(1500)
            case NotThere():
                return (await self.start("equipment")).at
            case Behaves():
                await self._programs.kill("equipment")
                self._behaviours = ()
                return (await self.start("equipment")).at
            case never:
                assert_never(never)
        return time.monotonic()


def is_from_the_start(fault: Fault) -> bool:
    """Whether the fault is there before the host dials."""
    match fault:
        case Poor() | NotThere() | Behaves() | FirstAddressDead():
            return True
        case _:
            return False


def _nat(first: int) -> str:
    return (
        "add rule ip t nat ip saddr 10.77.1.0/24 ip protocol tcp "
        f"masquerade to :{first}-{first + 999}"
    )


@asynccontextmanager
async def stage(settings: SettingsChanges, talk: Talk, seed: int) -> AsyncIterator[Stage]:
    """A network for as long as the block; what still runs in it then is killed."""
    with namespaces.network() as network:

        def inside(end: End) -> list[str]:
            return network.exec(network.name(end))

        async with programs(settings, talk, inside) as started:
            yield Stage(network, started, seed)
