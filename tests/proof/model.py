"""Two HSMS ends and the cable between them, as the checker and the Promela export see them.

An end is the snapshot of its charts, its ``World`` and its ``inbox``: what the other end has sent
and this end has not read. A state of the whole is both ends, and whether the cable is cut.

* Frames are delivered in order, one at a time, never while the cable is cut. A frame is lost only
  with its connection: the end that closes empties its own inbox, and CLOSE becomes the last item in
  the other inbox. After CLOSE nothing more arrives: a frame sent then is lost.
* A reset (``ResetTcp``) closes too, and may destroy what the other end has not read. Systems
  differ, so there are two moves: in one all of it is left, in the other nothing. That only the last
  frames of it are destroyed is as if the other end had read the first ones before the reset.
* A reset is sent once and not repeated. With ``lost_resets`` it may be lost while the cable is cut:
  then GONE is the last item in place of CLOSE. It cannot be read, and becomes CLOSE when that end
  sends, because a frame without a connection is answered by a reset. If that end sends nothing, its
  timers must notice.
* The listener stays open. An accepted connection is used once. When its chart reaches Closed
  without a call to close, fresh charts listen in the same move. When a user closes, nothing listens
  any more.
* The listener has a backlog of one: CONNECT is queued behind the items of the connection before.
* Any running timer may fire at any time. How fast timers are is an assumption of a property.
* Faults: TCP is refused; a connection fails (as receiver and transmitter report it; these two are
  checked with one end alone); the cable is cut. Users make the calls that a ``Scenario`` allows.
* Responses match by system bytes: the response to an older Linktest.req is marked as old.
* A probe of a linktest is answered, rejected or missed. That other traffic excuses a probe is not
  in this model (``traffic_seen`` is searched with one end alone).
* ``flushed`` is a move only where it changes something: after the last frame of a graceful close.
* A user has at most one data message, or its reject, in each direction.

A frame becomes the event that the protocol layer makes of it (``READ_BY_ACTIVE``,
``READ_BY_PASSIVE``). The search stops at an effect that does not fit the world, and at an event
that may happen and is not taken: both are defects.
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
from statecharts.hsms.vocabulary import CloseTcp, FinishTcp, Outgoing, ResetTcp, Send
from statecharts.hsms.world import ImpossibleEffectError, Tcp, World, after_all
from statecharts.machine import NotAllowedError
from statecharts.native import ChartFaultError
from statecharts.router import Router, System, SystemSnapshot, told_by

from .binding import Bind, Parameters, bound, machine


class Marker(Enum):
    """The items of an inbox besides control frames."""

    CONNECT = "connect"
    CLOSE = "close"
    # The sender writes no more and still reads: the first half of a graceful close.
    FINISH = "finish"
    # The sender has closed with a reset that was lost. This item cannot be read.
    GONE = "gone"
    DATA = "data"
    # A Linktest.req after which its sender has sent another: its response matches no request.
    OLD_LINKTEST_REQ = "Linktest.req (old)"
    OLD_LINKTEST_RSP = "Linktest.rsp (old)"


Item = Outgoing | Marker
CONNECT, CLOSE, DATA = Marker.CONNECT, Marker.CLOSE, Marker.DATA
FINISH, GONE = Marker.FINISH, Marker.GONE
_LINKTEST_REQ, _LINKTEST_RSP = Outgoing.LINKTEST_REQ, Outgoing.LINKTEST_RSP
_GROWN_OLD: dict[Item, Item] = {
    _LINKTEST_REQ: Marker.OLD_LINKTEST_REQ,
    _LINKTEST_RSP: Marker.OLD_LINKTEST_RSP,
}

_READ_BY_BOTH: dict[Item, str] = {
    CLOSE: "tcp_closed",
    FINISH: "tcp_closed",
    DATA: "data_received",
    Outgoing.SELECT_REQ: "select_req_received",
    Outgoing.DESELECT_REQ: "deselect_req_received",
    Outgoing.DESELECT_RSP_ENDED: "deselect_rsp_ended",
    # "Not established" also means that the peer is not selected, which the Deselect wanted.
    Outgoing.DESELECT_RSP_NOT_ESTABLISHED: "deselect_rsp_ended",
    _LINKTEST_REQ: "linktest_req_received",
    _LINKTEST_RSP: "linktest_rsp_received",
    Marker.OLD_LINKTEST_REQ: "linktest_req_received",
    Marker.OLD_LINKTEST_RSP: "unexpected_rsp_received",
    Outgoing.SEPARATE_REQ: "separate_req_received",
    # These two ends reject only responses and data, never an open request.
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


class Mail(NamedTuple):
    """What a step sends. ``destroys``: what is unread of this connection is destroyed first."""

    items: tuple[Item, ...]
    destroys: bool = False


def _end_of(inbox: tuple[Item, ...]) -> Item | None:
    """CLOSE or GONE when the other end has closed, so that nothing reaches it any more."""
    return next((item for item in inbox if item is CLOSE or item is GONE), None)


def _noticed(inbox: tuple[Item, ...]) -> tuple[Item, ...]:
    """The inbox of an end that has sent to one that is gone."""
    at = inbox.index(GONE)
    return (*inbox[:at], CLOSE, *inbox[at + 1 :])


def _aged(inbox: tuple[Item, ...], frame: Outgoing) -> tuple[Item, ...]:
    return tuple(_GROWN_OLD[item] if item is frame else item for item in inbox)


def _part(system: System, id: str, *left_out: str) -> System:
    """A system without some of its charts; what is told to these is dropped."""
    charts = tuple(chart for chart in system.charts if chart.id not in left_out)
    outside = {event for each in left_out for event in system.chart(each).events}
    told = (event for chart in charts for event in told_by(chart))
    return System(id, system.title, charts, tuple(event for event in told if event in outside))


ACTIVE_END = _part(ACTIVE_LINK, "active_end", "receiver", "transmitter")
PASSIVE_END = _part(PASSIVE_LINK, "passive_end", "receiver", "transmitter")


@dataclass(frozen=True, slots=True)
class Scenario:
    """What may happen besides frames and timers, and the thresholds in force.

    ``lost_resets`` changes something only together with ``cable``.
    """

    active_calls: tuple[str, ...] = ("enable_requested",)
    passive_calls: tuple[str, ...] = ()
    data: bool = False
    cable: bool = False
    failures: bool = False
    lost_resets: bool = False
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
    """One end: its charts, its world, and the items it has not read yet."""

    snapshot: SystemSnapshot
    world: World
    inbox: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Side:
    """The rules of one end. The two ends differ only in these values.

    ``reports``: the driver's events, with their kind and what TCP must be for them. ``listens``:
    after a connection is over without a call to close, fresh charts begin.
    """

    name: str
    router: Router
    reads: Mapping[Item, str]
    calls: tuple[str, ...]
    reports: tuple[tuple[str, Kind, Tcp], ...]
    data: bool
    lost_resets: bool
    listens: bool

    @property
    def initial(self) -> End:
        return End(self.router.initial, World())

    def offers(self, end: End, cut: int) -> Iterator[Offer[End, Mail]]:
        """Everything that this end can do now."""
        snapshot, world, inbox = end
        if inbox and not cut:
            head = inbox[0]
            if head is DATA and world.gate:
                yield Offer(Move(self.name, "data", Kind.DELIVERY), end._replace(inbox=inbox[1:]))
            elif head is CONNECT and not self.router.takes(snapshot, "tcp_accepted"):
                pass
            elif head is not GONE:
                yield from self._step(end, cut, self.reads[head], Kind.DELIVERY, head.value)
        for timer in sorted(world.timers):
            yield from self._step(end, cut, f"{timer}_expired", Kind.TIMER)
        for event, kind, tcp in self.reports:
            if world.tcp is tcp and not (cut and event == "tcp_opened"):
                yield from self._step(end, cut, event, kind)
        if self.router.takes(snapshot, "flushed") and not world.finished:
            for flushed in self._step(end, cut, "flushed", Kind.REPORT):
                if (flushed.after, flushed.mail) != (end, None):
                    yield flushed
        for event in self.calls:
            if self.router.takes(snapshot, event):
                yield from self._step(end, cut, event, Kind.USER)
        if self.data and world.gate and Outgoing.REJECT_NOT_SELECTED not in inbox:
            sent = Move(self.name, "data_sent", Kind.USER)
            if (over := _end_of(inbox)) is None:
                yield Offer(sent, end, Mail((DATA,)))
            elif over is GONE:
                yield Offer(sent, end._replace(inbox=_noticed(inbox)))

    def receive(self, end: End, mail: Mail) -> End | None:
        """The end with ``mail`` queued; None when that cannot be, or changes nothing.

        It has at most one CONNECT and one DATA. There may be nothing to destroy. After FINISH, a
        lost reset is not missed.
        """
        inbox, (items, destroys) = end.inbox, mail
        if CONNECT in items and (CONNECT in inbox or "closed" in end.snapshot):
            return None
        if DATA in items and DATA in inbox:
            return None
        if destroys:
            read = inbox[: inbox.index(CONNECT) + 1] if CONNECT in inbox else ()
            return end._replace(inbox=read + items) if read != inbox else None
        if inbox[-1:] == (FINISH,) and items[-1] is GONE:
            return None
        if inbox[-1:] == (FINISH,) and items[-1] is CLOSE:
            return end._replace(inbox=(*inbox[:-1], *items))
        waiting = _aged(inbox, _LINKTEST_REQ) if _LINKTEST_REQ in items else inbox
        return end._replace(inbox=waiting + items)

    def _step(
        self, end: End, cut: int, event: str, kind: Kind, carries: str = ""
    ) -> Iterator[Offer[End, Mail]]:
        inbox = end.inbox[1:] if kind is Kind.DELIVERY else end.inbox
        over = _end_of(end.inbox)
        try:
            after, effects, hops = self.router.step(end.snapshot, event)
            world = after_all(end.world, event, effects)
        except (ImpossibleEffectError, NotAllowedError, ChartFaultError) as error:
            raise ImpossibleMoveError(Move(self.name, event, kind), str(error)) from error
        answers_old = inbox != end.inbox and end.inbox[0] is Marker.OLD_LINKTEST_REQ
        sent: list[Item] = [CONNECT] if event == "tcp_opened" else []
        for effect in effects:
            match effect:
                case Send() | FinishTcp() if over is not None:
                    inbox = _noticed(inbox) if GONE in inbox and over is GONE else inbox
                case Send(frame):
                    sent.append(_GROWN_OLD.get(frame, frame) if answers_old else frame)
                    if frame is _LINKTEST_REQ:
                        inbox = _aged(inbox, _LINKTEST_RSP)
                case FinishTcp():
                    sent.append(FINISH)
                case CloseTcp():
                    inbox = inbox[inbox.index(CONNECT) :] if CONNECT in inbox else ()
                    if over is None:
                        sent.append(CLOSE)
        taken = tuple((hop.chart, each) for hop in hops for each in hop.taken)
        if self.listens and "closed" in after:
            chosen = event == "close_requested" or "closing" in end.snapshot
            after = after if chosen else self.router.initial
        move = Move(self.name, event, kind, effects, taken, carries)
        changed = End(after, world, inbox)
        yield Offer(move, changed, Mail(tuple(sent)) if sent else None)
        if over is None and ResetTcp() in effects:
            yield Offer(move, changed, Mail((CLOSE,), destroys=True))
            if cut and self.lost_resets:
                yield Offer(move, changed, Mail((*sent[:-1], GONE)))
                yield Offer(move, changed, Mail((GONE,), destroys=True))

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


Ends = Pair[End, Mail]


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
        scenario.lost_resets,
        listens=False,
    )
    passive = Side(
        "passive",
        bound(PASSIVE_END, scenario.parameters, bind),
        READ_BY_PASSIVE,
        scenario.passive_calls,
        failing,
        scenario.data,
        scenario.lost_resets,
        listens=True,
    )
    weather = {HEALTHY: ((_CUTS, CUT),) if scenario.cable else (), CUT: ((_HEALS, HEALTHY),)}
    return Pair(active, passive, weather)
