"""The list: what is done to a link, and what must come of it.

Names are those that faults have everywhere, with their values. The timers are short, but E37 allows
them: so the whole list takes minutes.
"""

from __future__ import annotations

from dataclasses import dataclass

from hsms_engine import Settings, SettingsChanges
from tests.real_network.judge import (
    Back,
    BreakerOpens,
    Expected,
    Fails,
    InOrder,
    Noticed,
    ResetSent,
    Unharmed,
    Unnoticed,
)
from tests.real_network.programs import Talk
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

SHORT: SettingsChanges = {
    "t3": 3.0,
    "t5": 1.0,
    "t6": 1.5,
    "t7": 2.0,
    "t8": 1.5,
    "connect_timeout": 1.5,
    "write_timeout": 3.0,
    "linktest_interval": 1.0,
    "breaker_threshold": 3,
    "breaker_open_time": 1.0,
}
# For ways on which a packet takes long: T6 and connect timeout must be longer than a round trip.
_SLOW: SettingsChanges = {"t3": 60.0, "t6": 10.0, "t7": 10.0, "connect_timeout": 10.0}
_LARGE: SettingsChanges = {"t3": 120.0, "write_timeout": 30.0}
_MB = 1_000_000
_LONGER = 12.0
"""Seconds: longer than any bound of ``SHORT`` until a silent peer is noticed."""
_KBIT = 1000 / 8


ASKING = Talk()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault. ``lasts``: seconds until it is healed; None: when all that is expected of it has
    been noticed. ``delay``: the longest time of a frame on its way that the bounds are to know.
    """

    name: str
    done: str
    fault: Fault
    expected: tuple[Expected, ...]
    lasts: float | None = None
    changes: SettingsChanges | None = None
    delay: float = 0.05
    talk: Talk = ASKING
    is_short: bool = False
    """Whether it is in the short list, which CI runs."""

    def __post_init__(self) -> None:
        """Raise ``SettingsError`` for settings that are none, at once and not in the middle."""
        assert self.settings.host

    @property
    def settings(self) -> Settings:
        """Of both ends."""
        return Settings(**SHORT).replace(**(self.changes or {}))


_LOST = (Noticed("host", "silence, asking"), Noticed("equipment", "silence"), Back())
_STAYS = (Back(), Unharmed())
_WELL = (Back("dial"), Unharmed())


def _way(name: str, done: str, way: Way, *, is_short: bool = False, delay: float = 3.0) -> Row:
    """A way that is poor for 15 s: nothing may be lost on it."""
    return Row(
        name=name,
        done=done,
        fault=Poor(way),
        expected=_WELL,
        lasts=15.0,
        changes=_SLOW,
        delay=delay,
        is_short=is_short,
    )


ROWS: tuple[Row, ...] = (
    # The way is cut
    Row(
        name="cable-pulled=host",
        done="the host's cable is pulled for 12 s",
        fault=CablePulled("host"),
        lasts=_LONGER,
        expected=_LOST,
        is_short=True,
    ),
    Row(
        name="cable-pulled=equipment",
        done="the equipment's cable is pulled for 12 s",
        fault=CablePulled("equipment"),
        lasts=_LONGER,
        expected=_LOST,
    ),
    Row(
        name="cable-pulled=host, idle",
        done="the same while nobody asks",
        fault=CablePulled("host"),
        lasts=6.0,
        talk=Talk(ask=None),
        expected=(Noticed("host", "silence"), Noticed("equipment", "silence"), Back()),
    ),
    Row(
        name="cable-pulled=host, no linktests",
        done="the host's cable is pulled for 12 s, and no end sends linktests",
        fault=CablePulled("host"),
        lasts=_LONGER,
        changes={"linktest_interval": None},
        # TCP resends what was asked only after as long as the cable was out.
        expected=(Unnoticed(),),
        is_short=True,
    ),
    Row(
        name="black-hole, short",
        done="nothing passes for 0.4 s",
        fault=BlackHole(),
        lasts=0.4,
        expected=(InOrder(), *_STAYS),
        is_short=True,
    ),
    Row(
        name="black-hole",
        done="nothing passes for 12 s",
        fault=BlackHole(),
        lasts=_LONGER,
        expected=_LOST,
    ),
    Row(
        name="black-hole=to-equipment",
        done="nothing passes to the equipment for 12 s",
        fault=BlackHole(("equipment",)),
        lasts=_LONGER,
        expected=_LOST,
        is_short=True,
    ),
    Row(
        name="black-hole=to-host",
        done="nothing passes to the host for 12 s",
        fault=BlackHole(("host",)),
        lasts=_LONGER,
        # The equipment hears the host until the host gives up; then it hears the reset.
        expected=(
            Noticed("host", "silence, asking"),
            Noticed("equipment", "silence, asking"),
            Back(),
        ),
    ),
    Row(
        name="black-hole, for ever",
        done="nothing passes any more; healed when both have noticed",
        fault=BlackHole(),
        expected=_LOST,
    ),
    Row(
        name="reset",
        done="somebody on the way sends RST to both",
        fault=Reset(),
        lasts=0.6,
        expected=(
            Noticed("host", "next probe", "reset"),
            Noticed("equipment", "next probe", "reset"),
            Back(),
        ),
        is_short=True,
    ),
    # The way is poor
    _way("loss=1%", "1 % of the packets are lost", Way(loss=1.0)),
    _way("loss=5%", "5 % of the packets are lost", Way(loss=5.0)),
    _way("loss=20%", "20 % of the packets are lost", Way(loss=20.0), is_short=True),
    _way("latency=0.05", "50 ms in each direction", Way(latency=0.05), delay=0.1),
    _way("latency=0.5", "500 ms in each direction", Way(latency=0.5), delay=0.6),
    _way("jitter=0.2", "50 to 250 ms", Way(latency=0.05, jitter=0.2), delay=0.3),
    _way("reorder=20%", "20 % of the packets are overtaken", Way(latency=0.01, reorder=20.0)),
    _way("duplicate=20%", "20 % of the packets come twice", Way(duplicate=20.0)),
    _way(
        "loss, jitter, reorder, duplicate",
        "all of it together, 5 % each, 50 to 150 ms",
        Way(latency=0.05, jitter=0.1, loss=5.0, reorder=5.0, duplicate=5.0),
    ),
    Row(
        name="rate=512kbit",
        done="512 kbit/s, messages of 4 MB, 200 s",
        fault=Poor(Way(rate=512 * _KBIT, queue=262_144)),
        lasts=200.0,
        talk=Talk(ask=None, message=4 * _MB),
        changes=_LARGE,
        expected=_WELL,
    ),
    Row(
        name="rate=512kbit, short",
        done="512 kbit/s, messages of 400 kB, 20 s",
        fault=Poor(Way(rate=512 * _KBIT, queue=262_144)),
        lasts=20.0,
        talk=Talk(ask=None, message=400_000),
        changes=_LARGE,
        expected=_WELL,
    ),
    Row(
        name="rate=8kbit",
        done="8 kbit/s, S1F1 each second, 20 s",
        fault=Poor(Way(rate=8 * _KBIT, queue=4_000)),
        lasts=20.0,
        talk=Talk(ask=1.0),
        changes=_SLOW,
        delay=4.0,
        expected=_WELL,
    ),
    Row(
        name="rate=8kbit, large",
        done="8 kbit/s, messages of 20 kB, 50 s",
        fault=Poor(Way(rate=8 * _KBIT, queue=4_000)),
        lasts=50.0,
        talk=Talk(ask=None, message=20_000),
        # A packet of 1,500 bytes is 1.5 s long: T8 must be longer.
        changes={**_SLOW, **_LARGE, "t8": 10.0},
        delay=4.0,
        expected=_WELL,
        is_short=True,
    ),
    Row(
        name="small-mtu",
        done="the way takes 576 bytes from now on, and says so; messages of 20 kB",
        fault=SmallMtu(told=True),
        lasts=10.0,
        talk=Talk(message=20_000),
        expected=_STAYS,
    ),
    Row(
        name="small-mtu, black hole",
        done="the way takes 576 bytes from now on, and does not say so; messages of 20 kB",
        fault=SmallMtu(told=False),
        talk=Talk(message=20_000),
        expected=(Noticed("host", "silence, asking"), Back()),
    ),
    # Somebody on the way forgets
    Row(
        name="forgetful-nat",
        done="a NAT forgets its connections and gives other ports",
        fault=ForgetfulNat(silent=False),
        expected=(
            Noticed("host", "next probe", "reset"),
            Noticed("equipment", "next probe", "reset"),
            Back(),
        ),
    ),
    Row(
        name="forgetful-nat, silent",
        done="the same, and drops what it does not know",
        fault=ForgetfulNat(silent=True),
        expected=_LOST,
        is_short=True,
    ),
    Row(
        name="forgetful-firewall",
        done="a firewall forgets its connections, and drops what it does not know",
        fault=ForgetfulFirewall(),
        expected=_LOST,
    ),
    # The programs
    Row(
        name="stopped=equipment, short",
        done="SIGSTOP of the equipment for 1 s",
        fault=Stopped("equipment"),
        lasts=1.0,
        expected=_STAYS,
    ),
    Row(
        name="stopped=equipment",
        done="SIGSTOP of the equipment for 12 s",
        fault=Stopped("equipment"),
        lasts=_LONGER,
        expected=(Noticed("host", "silence, asking"), Back()),
        is_short=True,
    ),
    Row(
        name="stopped=equipment, sending",
        done="SIGSTOP of the equipment while 4 MB go to it",
        fault=Stopped("equipment"),
        lasts=_LONGER,
        talk=Talk(ask=None, message=4 * _MB),
        expected=(
            Noticed("host", "silence, asking"),
            ResetSent("host"),
            Back(),
        ),
    ),
    Row(
        name="stopped=host, short",
        done="SIGSTOP of the host for 1 s",
        fault=Stopped("host"),
        lasts=1.0,
        expected=_STAYS,
    ),
    Row(
        name="stopped=host",
        done="SIGSTOP of the host for 12 s",
        fault=Stopped("host"),
        lasts=_LONGER,
        expected=(Noticed("equipment", "silence"), Back()),
    ),
    Row(
        name="killed=equipment",
        done="SIGKILL of the equipment, started again",
        fault=Killed("equipment"),
        lasts=0.0,
        expected=(Noticed("host", "at once"), Back()),
        is_short=True,
    ),
    Row(
        name="killed=host",
        done="SIGKILL of the host, started again",
        fault=Killed("host"),
        lasts=0.0,
        expected=(Noticed("equipment", "at once"), Back()),
    ),
    Row(
        name="terminated=equipment",
        done="SIGTERM to the equipment, started again",
        fault=Terminated("equipment"),
        lasts=0.0,
        expected=(Noticed("host", "at once", "the peer separated"), Back()),
        is_short=True,
    ),
    Row(
        name="terminated=host",
        done="SIGTERM to the host, started again",
        fault=Terminated("host"),
        lasts=0.0,
        expected=(Noticed("equipment", "at once", "the peer separated"), Back()),
        is_short=True,
    ),
    # The machines
    Row(
        name="power-cut=equipment",
        done="the equipment's machine is gone, and back at once",
        fault=PowerCut(("equipment",)),
        lasts=0.0,
        expected=(Back("crashed equipment"),),
    ),
    Row(
        name="power-cut=host",
        done="the host's machine is gone, and back at once",
        fault=PowerCut(("host",)),
        lasts=0.0,
        expected=(Back("crashed host"),),
        is_short=True,
    ),
    Row(
        name="power-cut=equipment, long",
        done="the equipment's machine is gone for 12 s",
        fault=PowerCut(("equipment",)),
        lasts=_LONGER,
        expected=(Noticed("host", "silence, asking"), Back()),
    ),
    Row(
        name="power-cut=host, long",
        done="the host's machine is gone for 12 s",
        fault=PowerCut(("host",)),
        lasts=_LONGER,
        expected=(Noticed("equipment", "silence"), Back()),
    ),
    Row(
        name="power-cut=both",
        done="both machines are gone for 2 s",
        fault=PowerCut(("host", "equipment")),
        lasts=2.0,
        expected=(Back(),),
    ),
    # The peer is not there, or is none
    Row(
        name="refuse",
        done="nobody listens for 6 s",
        fault=NotThere(),
        lasts=6.0,
        expected=(Fails("at once", "Connection refused"), BreakerOpens(), Back()),
        is_short=True,
    ),
    *(
        Row(
            name=f"accept-and-close, breaker_threshold={threshold}",
            done="the equipment accepts and closes at once",
            fault=Behaves(("accept-and-close",)),
            changes={"breaker_threshold": threshold},
            expected=(Fails("at once", "during select"), BreakerOpens(), Back()),
        )
        for threshold in (1, 2, 3, 5, 10)
    ),
    Row(
        name="accept-and-say-nothing",
        done="the equipment accepts and says nothing for 6 s",
        fault=Behaves(("accept-and-say-nothing",)),
        lasts=6.0,
        expected=(Fails("T6", "during select"), BreakerOpens(), Back()),
    ),
    Row(
        name="stall",
        done="the equipment reads nothing while 4 MB go to it",
        fault=Behaves(("stop-reading",)),
        talk=Talk(ask=None, message=4 * _MB),
        expected=(Noticed("host", "silence, asking"), ResetSent("host"), Back()),
    ),
    Row(
        name="send-garbage=reply",
        done="the equipment answers with what is no HSMS",
        fault=Behaves(("send-garbage=reply",)),
        expected=(
            Noticed("host", "silence, asking"),
            Noticed("equipment", "silence, asking", "reset"),
            ResetSent("host"),
            Back(),
        ),
        is_short=True,
    ),
    Row(
        name="first-address-dead",
        done="the first address of the equipment's name is a black hole",
        fault=FirstAddressDead(),
        lasts=3.0,
        expected=(Back("connect timeout"), Unharmed()),
        is_short=True,
    ),
)
