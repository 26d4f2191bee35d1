"""Two HSMS ends and the cable between them, as the checker and the Promela export see them.

An end is the snapshot of its charts, its ``World`` and its ``inbox``: what the other end has sent
and it has not read. A state of the whole is both ends and whether the cable is cut; nothing else.

* Frames are delivered in order, one at a time, never while the cable is cut. None is lost but by
  the end of a connection: ending it empties the own inbox and leaves CLOSE as the last thing in the
  other one. Behind CLOSE nothing more arrives: what is sent then goes nowhere.
* The listener outlives its connections: an accepted one is used once, and where its chart comes to
  Closed by any other way than a call to close, fresh charts listen in the same move. A user who
  closes listens no more.
* It has a backlog of one: CONNECT is queued behind what is left of the connection before.
* Any timer that runs may fire at any time. How fast it is, is an assumption of a property.
* Faults: TCP refuses, a connection fails (what receiver and transmitter report; they are checked
  with one end alone), the cable is cut. Users call what a ``Scenario`` lets them, when allowed.
* Responses match by system bytes: what answers a Linktest.req other than the latest is marked old.
* A probe of a linktest is answered, rejected or missed. That other traffic excuses it is not in
  here (``traffic_seen`` is searched with one end alone).
* That all bytes have left is a move only where it has a consequence: after the last frame of a
  graceful close.
* A user has one data message, or the reject of one, on its way in each direction.

A frame becomes the event that the protocol layer makes of it (``READ_BY_ACTIVE``,
``READ_BY_PASSIVE``). An effect that does not fit the world, and an event that may happen and is not
taken, end the search: they are defects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from statecharts.explore.moves import ImpossibleMoveError, Kind, Move
from statecharts.explore.pair import Offer, Pair
from statecharts.hsms.breaker import BREAKER
from statecharts.hsms.linktest import LINKTEST
from statecharts.hsms.systems import ACTIVE_LINK, PASSIVE_LINK
from statecharts.hsms.vocabulary import CloseTcp, FinishTcp, Outgoing, Send
from statecharts.hsms.world import ImpossibleEffectError, Tcp, World, after_all
from statecharts.machine import NotAllowedError
from statecharts.native import ChartFaultError
from statecharts.router import Router, System, SystemSnapshot, told_by

from .binding import Bind, Parameters, bound, machine


class Marker(Enum):
    """What travels besides control frames."""

    CONNECT = "connect"
    CLOSE = "close"
    # The sender writes no more and still reads: the first half of a graceful close.
    FINISH = "finish"
    DATA = "data"
    # A Linktest whose sender has sent another since: its response matches nothing any more.
    OLD_LINKTEST_REQ = "Linktest.req (old)"
    OLD_LINKTEST_RSP = "Linktest.rsp (old)"


Item = Outgoing | Marker
CONNECT, CLOSE, DATA = Marker.CONNECT, Marker.CLOSE, Marker.DATA
_LINKTEST_REQ, _LINKTEST_RSP = Outgoing.LINKTEST_REQ, Outgoing.LINKTEST_RSP
_GROWN_OLD: dict[Item, Item] = {
    _LINKTEST_REQ: Marker.OLD_LINKTEST_REQ,
    _LINKTEST_RSP: Marker.OLD_LINKTEST_RSP,
}

_READ_BY_BOTH: dict[Item, str] = {
    CLOSE: "tcp_closed",
    Marker.FINISH: "tcp_closed",
    DATA: "data_received",
    Outgoing.SELECT_REQ: "select_req_received",
    Outgoing.DESELECT_REQ: "deselect_req_received",
    Outgoing.DESELECT_RSP_ENDED: "deselect_rsp_ended",
    # "Not established" also means that the peer is not selected: the Deselect has come true.
    Outgoing.DESELECT_RSP_NOT_ESTABLISHED: "deselect_rsp_ended",
    _LINKTEST_REQ: "linktest_req_received",
    _LINKTEST_RSP: "linktest_rsp_received",
    Marker.OLD_LINKTEST_REQ: "linktest_req_received",
    Marker.OLD_LINKTEST_RSP: "unexpected_rsp_received",
    Outgoing.SEPARATE_REQ: "separate_req_received",
    # Between these two ends only responses and data are ever rejected, never an open request.
    Outgoing.REJECT_NOT_OPEN: "unknown_reject_received",
    Outgoing.REJECT_NOT_SELECTED: "unknown_reject_received",
}
READ_BY_ACTIVE: dict[Item, str] = {
    **_READ_BY_BOTH,
    Outgoing.SELECT_RSP_ESTABLISHED: "select_rsp_accepted",
    Outgoing.SELECT_RSP_ALREADY_ACTIVE: "select_rsp_already_active",
    Outgoing.SELECT_RSP_EXHAUSTED: "select_rsp_refused",
}
READ_BY_PASSIVE: dict[Item, str] = {**_READ_BY_BOTH, CONNECT: "tcp_accepted"}


def _aged(inbox: tuple[Item, ...], frame: Outgoing) -> tuple[Item, ...]:
    return tuple(_GROWN_OLD[item] if item is frame else item for item in inbox)


def _part(system: System, id: str, *left_out: str) -> System:
    """A system without some of its charts; what these are told goes to nobody."""
    charts = tuple(chart for chart in system.charts if chart.id not in left_out)
    outside = {event for each in left_out for event in system.chart(each).events}
    told = (event for chart in charts for event in told_by(chart))
    return System(id, system.title, charts, tuple(event for event in told if event in outside))


ACTIVE_END = _part(ACTIVE_LINK, "active_end", "receiver", "transmitter")
PASSIVE_END = _part(PASSIVE_LINK, "passive_end", "receiver", "transmitter")


@dataclass(frozen=True, slots=True)
class Scenario:
    """What may happen besides frames and timers, and the thresholds in force."""

    active_calls: tuple[str, ...] = ("enable_requested",)
    passive_calls: tuple[str, ...] = ()
    data: bool = False
    cable: bool = False
    failures: bool = False
    threshold: int = 1
    linktest_threshold: int = 1

    @property
    def parameters(self) -> dict[str, Parameters]:
        """The parameters of the charts by their ids."""
        return {
            BREAKER.id: {"threshold": self.threshold},
            LINKTEST.id: {"linktest_threshold": self.linktest_threshold},
        }


class End(NamedTuple):
    """One end: its charts, the world as it knows it, and what it has not read yet."""

    snapshot: SystemSnapshot
    world: World
    inbox: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Side:
    """The rules of one end; the two sides differ in these values and nowhere else.

    ``reports``: event of the driver, its kind, and what TCP must be for it. ``listens``: fresh
    charts follow a connection that has ended without a call to close.
    """

    name: str
    router: Router
    reads: Mapping[Item, str]
    calls: tuple[str, ...]
    reports: tuple[tuple[str, Kind, Tcp], ...]
    data: bool
    listens: bool

    @property
    def initial(self) -> End:
        return End(self.router.initial, World())

    def offers(self, end: End, cut: int) -> Iterator[Offer[End, tuple[Item, ...]]]:
        """All that this end can do now."""
        snapshot, world, inbox = end
        if inbox and not cut:
            head = inbox[0]
            if head is DATA and world.gate:
                yield Offer(Move(self.name, "data", Kind.DELIVERY), end._replace(inbox=inbox[1:]))
            elif head is not CONNECT or self.router.takes(snapshot, "tcp_accepted"):
                yield self._step(end, self.reads[head], Kind.DELIVERY, head.value)
        for timer in sorted(world.timers):
            yield self._step(end, f"{timer}_expired", Kind.TIMER)
        for event, kind, tcp in self.reports:
            if world.tcp is tcp and not (cut and event == "tcp_opened"):
                yield self._step(end, event, kind)
        if self.router.takes(snapshot, "flushed") and not world.finished:
            flushed = self._step(end, "flushed", Kind.REPORT)
            if (flushed.after, flushed.mail) != (end, None):
                yield flushed
        for event in self.calls:
            if self.router.takes(snapshot, event):
                yield self._step(end, event, Kind.USER)
        if self.data and world.gate and not {CLOSE, Outgoing.REJECT_NOT_SELECTED} & set(inbox):
            yield Offer(Move(self.name, "data_sent", Kind.USER), end, (DATA,))

    def receive(self, end: End, mail: tuple[Item, ...]) -> End | None:
        """The end with ``mail`` queued; None while a second CONNECT or DATA would have to wait."""
        if CONNECT in mail and (CONNECT in end.inbox or "closed" in end.snapshot):
            return None
        if DATA in mail and DATA in end.inbox:
            return None
        if mail[-1] is CLOSE and end.inbox[-1:] == (Marker.FINISH,):
            return end._replace(inbox=(*end.inbox[:-1], *mail))
        waiting = _aged(end.inbox, _LINKTEST_REQ) if _LINKTEST_REQ in mail else end.inbox
        return end._replace(inbox=waiting + mail)

    def _step(
        self, end: End, event: str, kind: Kind, carries: str = ""
    ) -> Offer[End, tuple[Item, ...]]:
        inbox = end.inbox[1:] if kind is Kind.DELIVERY else end.inbox
        deaf = CLOSE in end.inbox
        try:
            after, effects, hops = self.router.step(end.snapshot, event)
            world = after_all(end.world, event, effects)
        except (ImpossibleEffectError, NotAllowedError, ChartFaultError) as error:
            raise ImpossibleMoveError(Move(self.name, event, kind), str(error)) from error
        answers_old = inbox != end.inbox and end.inbox[0] is Marker.OLD_LINKTEST_REQ
        mail: list[Item] = [CONNECT] if event == "tcp_opened" else []
        for effect in effects:
            match effect:
                case Send(frame) if not deaf:
                    mail.append(_GROWN_OLD.get(frame, frame) if answers_old else frame)
                    if frame is _LINKTEST_REQ:
                        inbox = _aged(inbox, _LINKTEST_RSP)
                case FinishTcp() if not deaf:
                    mail.append(Marker.FINISH)
                case CloseTcp():
                    inbox = inbox[inbox.index(CONNECT) :] if CONNECT in inbox else ()
                    if not deaf:
                        mail.append(CLOSE)
        taken = tuple((hop.chart, each) for hop in hops for each in hop.taken)
        if self.listens and "closed" in after:
            chosen = event == "close_requested" or "closing" in end.snapshot
            after = after if chosen else self.router.initial
        move = Move(self.name, event, kind, effects, taken, carries)
        return Offer(move, End(after, world, inbox), tuple(mail) or None)

    def describe(self, end: End) -> dict[str, str]:
        """The parts of an end, for people."""
        timers = ", ".join(sorted(end.world.timers)) or "none"
        parts = {
            f"{self.name} {chart}": str(end.snapshot[chart])[1:-1] for chart in end.snapshot.charts
        }
        return {
            **parts,
            f"{self.name} timers": timers,
            f"{self.name} inbox": ", ".join(item.value for item in end.inbox) or "empty",
        }


_ACTIVE_REPORTS = (
    ("tcp_opened", Kind.REPORT, Tcp.OPENING),
    ("tcp_failed", Kind.FAULT, Tcp.OPENING),
)
_FAILURE = (("communication_failed", Kind.FAULT, Tcp.OPEN),)

HEALTHY, CUT = 0, 1
_CUTS = Move("cable", "cut", Kind.FAULT)
_HEALS = Move("cable", "healed", Kind.REPAIR)


Ends = Pair[End, tuple[Item, ...]]


def two_ends(scenario: Scenario, bind: Bind = machine) -> Ends:
    """The model of both ends and the cable. ``bind`` makes the machine of a chart."""
    failing = _FAILURE if scenario.failures else ()
    active = Side(
        "active",
        bound(ACTIVE_END, scenario.parameters, bind),
        READ_BY_ACTIVE,
        scenario.active_calls,
        _ACTIVE_REPORTS + failing,
        scenario.data,
        listens=False,
    )
    passive = Side(
        "passive",
        bound(PASSIVE_END, scenario.parameters, bind),
        READ_BY_PASSIVE,
        scenario.passive_calls,
        failing,
        scenario.data,
        listens=True,
    )
    weather = {HEALTHY: ((_CUTS, CUT),) if scenario.cable else (), CUT: ((_HEALS, HEALTHY),)}
    return Pair(active, passive, weather)
