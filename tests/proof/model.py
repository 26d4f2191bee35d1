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
  With crashes it accepts a new connection at once, and the older one becomes the ghost. There is
  one ghost at a time; a third connection waits until one of the two is over.
* The entity has one session. When a connection asks for it (Select.req) while the other one has it,
  in the same move its holder takes ``session_wanted``.
* A machine that crashes and starts anew leaves GONE at the other end, as a lost reset does. With
  crashes, what is sent to GONE may also remain unanswered.
* Where users configure, the count of the breaker is forgotten: each failure may be the last one or
  not, and the breaker may open at any time. This contains the runs of every threshold and change.
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

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from itertools import product
from typing import NamedTuple

from statecharts.declare import ADOPTED, Effect
from statecharts.explore.moves import ImpossibleMoveError, Kind, Move
from statecharts.explore.pair import Offer, Pair
from statecharts.hsms.breaker import BREAKER
from statecharts.hsms.linktest import LINKTEST
from statecharts.hsms.second_host import SECOND_HOST
from statecharts.hsms.systems import ACTIVE_LINK, OWNED_LINK, PASSIVE_LINK
from statecharts.hsms.timers import LINKTEST_INTERVAL
from statecharts.hsms.vocabulary import (
    CloseTcp,
    ContestSession,
    FinishTcp,
    Outgoing,
    ResetTcp,
    Send,
)
from statecharts.hsms.world import ImpossibleEffectError, Tcp, World, after_all
from statecharts.machine import NotAllowedError
from statecharts.native import ChartFaultError
from statecharts.router import Router, System, SystemSnapshot, SystemStep, told_by

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
# The names of the ends, and of an older connection of the end that listens.
ACTIVE_SIDE, PASSIVE_SIDE, GHOST = "active", "passive", "ghost"
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
OWNED_END = _part(OWNED_LINK, "owned_end", "receiver", "transmitter")
# For surroundings that cause any event at any time: a second host asks only for a session.
UNASKED_END = _part(PASSIVE_LINK, "unasked_end", "receiver", "transmitter", SECOND_HOST.id)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What may happen besides frames and timers, and the settings in force.

    ``lost_resets`` changes something only together with ``cable``. ``configures``: the thresholds
    of the linktest to which either user may change his end; when it is not empty, the threshold of
    the breaker changes too, to any value and at any time. ``crashes``: the ends that may crash.
    ``without_interval``: the ends that send no linktest which nobody asks for. ``asks``: a second
    host asks for the session, again and again, and never takes it.
    """

    active_calls: tuple[str, ...] = ("enable_requested",)
    passive_calls: tuple[str, ...] = ()
    data: bool = False
    cable: bool = False
    failures: bool = False
    lost_resets: bool = False
    threshold: int = 1
    linktest_threshold: int = 1
    configures: tuple[int, ...] = ()
    crashes: tuple[str, ...] = ()
    without_interval: tuple[str, ...] = ()
    asks: bool = False
    probes: int = 1

    @property
    def parameters(self) -> dict[str, Parameters]:
        """The parameters of the charts by their ids, in the beginning."""
        return self.parameters_with(self.threshold, self.linktest_threshold)

    def parameters_with(self, threshold: int, linktest_threshold: int) -> dict[str, Parameters]:
        """The parameters of the charts with these thresholds."""
        return {
            BREAKER.id: {"threshold": threshold},
            LINKTEST.id: {"linktest_threshold": linktest_threshold},
            SECOND_HOST.id: {"probes": self.probes},
        }


class Link(NamedTuple):
    """One connection: its charts, its world, and the items it has not read yet."""

    snapshot: SystemSnapshot
    world: World
    inbox: tuple[Item, ...] = ()


class End(NamedTuple):
    """One end: its newest connection, the settings in force, and the ghost, an older connection.

    ``setting`` is the index of the router in ``Side.routers``: equal snapshots of machines with
    other parameters do not behave alike.
    """

    snapshot: SystemSnapshot
    world: World
    inbox: tuple[Item, ...] = ()
    setting: int = 0
    ghost: Link | None = None


class _Reaction(NamedTuple):
    """What a step makes of a connection, and what it sends."""

    link: Link
    effects: tuple[Effect, ...]
    taken: tuple[tuple[str, int], ...]
    sent: tuple[Item, ...]


# The steps that may follow in a setting, in a snapshot, on an event.
_Ask = Callable[[int, SystemSnapshot, str], list[SystemStep]]


@dataclass(frozen=True, slots=True)
class Side:
    """The rules of one end. The two ends differ only in these values.

    ``routers``: one for each setting. ``lowered``: the same with a breaker that opens at its first
    failure; where it is given, the count of the breaker is forgotten (see above). ``reports``: the
    driver's events, with their kind and what TCP must be for them. ``listens``: after a connection
    is over without a call to close, fresh charts begin.
    """

    name: str
    routers: tuple[Router, ...]
    lowered: tuple[Router, ...]
    reads: Mapping[Item, str]
    calls: tuple[str, ...]
    reports: tuple[tuple[str, Kind, Tcp], ...]
    scenario: Scenario
    listens: bool

    @property
    def initial(self) -> End:
        return End(self.routers[0].initial, World())

    def offers(self, end: End, cut: int) -> Iterator[Offer[End, Mail]]:
        """Everything that this end can do now."""
        yield from self._happenings(end, cut, self.name)
        if end.ghost is not None:
            yield from self._happenings(end, cut, GHOST)
        for event in self.calls:
            if self.routers[end.setting].takes(end.snapshot, event):
                yield from self._step(end, cut, Move(self.name, event, Kind.USER))
        yield from self._configure(end, cut)
        inbox = end.inbox
        if self.scenario.data and end.world.gate and Outgoing.REJECT_NOT_SELECTED not in inbox:
            sent = Move(self.name, "data_sent", Kind.USER)
            if (over := _end_of(inbox)) is None:
                yield Offer(sent, end, Mail((DATA,)))
            elif over is GONE:
                yield Offer(sent, end._replace(inbox=_noticed(inbox)))
        if self.name in self.scenario.crashes:
            yield from self._crash(end)

    def _happenings(self, end: End, cut: int, actor: str) -> Iterator[Offer[End, Mail]]:
        """What happens to one connection without a call: frames, timers, reports."""
        snapshot, world, inbox = self.link(end, actor)
        router = self.routers[end.setting]
        if inbox and not cut:
            head = inbox[0]
            if head is DATA and world.gate:
                read = self._with(end, actor, Link(snapshot, world, inbox[1:]))
                yield Offer(Move(actor, "data", Kind.DELIVERY), read)
            elif head is CONNECT and not router.takes(snapshot, "tcp_accepted"):
                pass
            elif head is not GONE and head not in self.reads:
                unread = Move(actor, "read", Kind.DELIVERY, carries=head.value)
                raise ImpossibleMoveError(unread, "no end of this model sends such a frame")
            elif head is not GONE:
                event = self.reads[head]
                if head is Outgoing.SELECT_REQ and self._session_is_elsewhere(end, actor):
                    event = "competing_select_req_received"
                yield from self._step(
                    end, cut, Move(actor, event, Kind.DELIVERY, (), (), head.value)
                )
        for timer in sorted(world.timers):
            if timer != LINKTEST_INTERVAL.id or self.name not in self.scenario.without_interval:
                yield from self._step(end, cut, Move(actor, f"{timer}_expired", Kind.TIMER))
        for event, kind, tcp in self.reports:
            if world.tcp is tcp and not (cut and event == "tcp_opened"):
                yield from self._step(end, cut, Move(actor, event, kind))
        if self.listens and self.scenario.asks and world.gate:
            yield from self._step(end, cut, Move(actor, "session_wanted", Kind.PEER))
        if router.takes(snapshot, "flushed") and not world.finished:
            for flushed in self._step(end, cut, Move(actor, "flushed", Kind.REPORT)):
                if (flushed.after, flushed.mail) != (end, None):
                    yield flushed

    def _session_is_elsewhere(self, end: End, actor: str) -> bool:
        """Whether the other connection of this end has the one session that there is."""
        if end.ghost is None:
            return False
        return not self.link(end, actor).world.gate and self.link(end, _other(actor)).world.gate

    def _crash(self, end: End) -> Iterator[Offer[End, Mail]]:
        """The machine stops and starts anew. Nobody is told; frames on the way may be lost."""
        fresh = End(self.routers[end.setting].initial, World(), (), end.setting)
        move = Move(self.name, "crashed", Kind.FAULT)
        accepted = CONNECT not in end.inbox
        newest = end.inbox if accepted else end.inbox[end.inbox.index(CONNECT) :]
        if fresh == end:
            pass
        elif _end_of(newest) is not None or (accepted and end.world.tcp is not Tcp.OPEN):
            yield Offer(move, fresh)
        else:
            # After FINISH nothing more is to come, so that no item tells of the crash.
            yield Offer(move, fresh, Mail((CLOSE if end.world.finished else GONE,)))
            yield Offer(move, fresh, Mail((GONE,), destroys=True))

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
        return self._accepted(end._replace(inbox=waiting + items))

    def link(self, end: End, actor: str) -> Link:
        """The connection of an end that is called so."""
        if actor == self.name:
            return Link(end.snapshot, end.world, end.inbox)
        assert end.ghost is not None
        return end.ghost

    def _with(self, end: End, actor: str, link: Link) -> End:
        """The end with ``link`` in place of its connection of this name."""
        if actor == self.name:
            return self._accepted(End(*link, end.setting, end.ghost))
        return self._accepted(end._replace(ghost=None if "closed" in link.snapshot else link))

    def _accepted(self, end: End) -> End:
        """The end, in which the place of the ghost is not empty while a connection waits."""
        waits = self.listens and self.scenario.crashes and CONNECT in end.inbox[1:]
        if not waits or end.ghost is not None:
            return end
        at = end.inbox.index(CONNECT)
        older = Link(end.snapshot, end.world, end.inbox[:at])
        return End(self.routers[end.setting].initial, World(), end.inbox[at:], end.setting, older)

    def _step(self, end: End, cut: int, move: Move) -> Iterator[Offer[End, Mail]]:
        """The event of the move. When it asks for a session that is taken, the holder is told."""
        for each in self._reactions(end, end.setting, move, self.steps):
            changed = self._with(end, move.actor, each.link)
            if ContestSession() not in each.effects:
                yield from self._send(end, cut, move, changed, each)
                continue
            told = Move(_other(move.actor), "session_wanted", Kind.REPORT)
            for asked in self._reactions(changed, end.setting, told, self.steps):
                both = self._with(changed, told.actor, asked.link)
                whole = each._replace(taken=each.taken + asked.taken, sent=each.sent + asked.sent)
                yield from self._send(end, cut, move, both, whole)

    def _configure(self, end: End, cut: int) -> Iterator[Offer[End, Mail]]:
        """The user changes thresholds: the linktest's in all connections, or the breaker's."""
        if self.lowered and "breaker_closed" in end.snapshot:
            move = Move(self.name, ADOPTED, Kind.USER, (), (), "threshold 1")
            for each in self._reactions(end, end.setting, move, self.lowers):
                yield from self._send(end, cut, move, self._with(end, self.name, each.link), each)
        for setting, threshold in enumerate(self.scenario.configures):
            if setting == end.setting:
                continue
            carries = f"linktest_threshold {threshold}"
            move = Move(self.name, ADOPTED, Kind.USER, (), (), carries)
            ghosts: list[Link | None] = [None]
            if end.ghost is not None:
                told = Move(GHOST, ADOPTED, Kind.USER)
                ghosts = [each.link for each in self._reactions(end, setting, told, self.adopts)]
            for each, ghost in product(self._reactions(end, setting, move, self.adopts), ghosts):
                gone = ghost is None or "closed" in ghost.snapshot
                changed = End(*each.link, setting, None if gone else ghost)
                yield from self._send(end, cut, move, self._accepted(changed), each)

    def adopts(self, setting: int, snapshot: SystemSnapshot, _: str) -> list[SystemStep]:
        """The step of a connection whose user changes to this setting."""
        return [self.routers[setting].adopt(snapshot)]

    def lowers(self, setting: int, snapshot: SystemSnapshot, _: str) -> list[SystemStep]:
        """The step when the threshold of the breaker becomes 1 after a failure."""
        failed = _counted(self.routers[setting], snapshot, 1)
        return [self._forget(setting, self.lowered[setting].adopt(failed))]

    def steps(self, setting: int, snapshot: SystemSnapshot, event: str) -> list[SystemStep]:
        """The steps on an event: two where a failure may be the last one or not."""
        router = self.routers[setting]
        if not self.lowered:
            return [router.step(snapshot, event)]
        counts = (0, 1) if "breaker_closed" in snapshot else (0,)
        steps = (router.step(_counted(router, snapshot, count), event) for count in counts)
        return [self._forget(setting, step) for step in steps]

    def _forget(self, setting: int, step: SystemStep) -> SystemStep:
        return step._replace(snapshot=_counted(self.routers[setting], step.snapshot, 0))

    def _reactions(self, end: End, setting: int, move: Move, ask: _Ask) -> Iterable[_Reaction]:
        """What an event makes of the connection of the move's actor, each way once."""
        link = self.link(end, move.actor)
        read = move.kind is Kind.DELIVERY
        inbox = link.inbox[1:] if read else link.inbox
        answers_old = read and link.inbox[0] is Marker.OLD_LINKTEST_REQ
        found: list[_Reaction] = []
        try:
            for step in ask(setting, link.snapshot, move.event):
                world = after_all(link.world, move.event, step.effects)
                after = self._renewed(setting, move, link.snapshot, step.snapshot)
                taken = tuple((hop.chart, each) for hop in step.hops for each in hop.taken)
                for left, sent in self._mail(link, inbox, step.effects, answers_old):
                    items = (CONNECT, *sent) if move.event == "tcp_opened" else sent
                    found.append(_Reaction(Link(after, world, left), step.effects, taken, items))
        except (ImpossibleEffectError, NotAllowedError, ChartFaultError) as error:
            raise ImpossibleMoveError(move, str(error)) from error
        return dict.fromkeys(found)

    def _renewed(
        self, setting: int, move: Move, before: SystemSnapshot, after: SystemSnapshot
    ) -> SystemSnapshot:
        """Fresh charts, when the newest connection is over and no user has closed."""
        over = self.listens and move.actor == self.name and "closed" in after
        if not over or move.event == "close_requested" or "closing" in before:
            return after
        return self.routers[setting].initial

    def _mail(
        self, link: Link, inbox: tuple[Item, ...], effects: tuple[Effect, ...], answers_old: bool
    ) -> Iterator[tuple[tuple[Item, ...], tuple[Item, ...]]]:
        """What is left to read after these effects, and what they send; each way it can be."""
        over = _end_of(link.inbox)
        learns = closes = False
        sent: list[Item] = []
        for effect in effects:
            match effect:
                case Send() | FinishTcp() if over is not None:
                    learns = over is GONE
                case Send(frame):
                    sent.append(_GROWN_OLD.get(frame, frame) if answers_old else frame)
                    if frame is _LINKTEST_REQ:
                        inbox = _aged(inbox, _LINKTEST_RSP)
                case FinishTcp():
                    sent.append(FINISH)
                case CloseTcp():
                    closes = True
                    if over is None:
                        sent.append(CLOSE)
        for left in (
            (_noticed(inbox), inbox)[: 2 if self.scenario.crashes else 1] if learns else (inbox,)
        ):
            rest = left[left.index(CONNECT) :] if CONNECT in left else ()
            yield rest if closes else left, tuple(sent)

    def _send(
        self, end: End, cut: int, move: Move, changed: End, reaction: _Reaction
    ) -> Iterator[Offer[End, Mail]]:
        """The move with all ways in which what it sends may arrive."""
        _, effects, taken, sent = reaction
        made = replace(move, effects=effects, taken=taken)
        yield Offer(made, changed, Mail(sent) if sent else None)
        if move.actor == self.name and _end_of(end.inbox) is None and ResetTcp() in effects:
            yield Offer(made, changed, Mail((CLOSE,), destroys=True))
            if cut and self.scenario.lost_resets:
                yield Offer(made, changed, Mail((*sent[:-1], GONE)))
                yield Offer(made, changed, Mail((GONE,), destroys=True))

    def describe(self, end: End) -> dict[str, str]:
        """The parts of an end, for people."""
        parts = _parts(self.name, Link(end.snapshot, end.world, end.inbox))
        if len(self.routers) > 1:
            parts[f"{self.name} linktest_threshold"] = str(self.scenario.configures[end.setting])
        if self.listens and self.scenario.crashes:
            nobody = dict.fromkeys(_parts(GHOST, Link(end.snapshot, end.world)), "-")
            parts |= nobody if end.ghost is None else _parts(GHOST, end.ghost)
        return parts


def _parts(name: str, link: Link) -> dict[str, str]:
    timers = ", ".join(sorted(link.world.timers)) or "none"
    return {
        **{f"{name} {chart}": str(link.snapshot[chart])[1:-1] for chart in link.snapshot.charts},
        f"{name} timers": timers,
        f"{name} inbox": ", ".join(item.value for item in link.inbox) or "empty",
    }


def _other(actor: str) -> str:
    """The other connection of the end that listens."""
    return GHOST if actor == PASSIVE_SIDE else PASSIVE_SIDE


def _counted(router: Router, snapshot: SystemSnapshot, failures: int) -> SystemSnapshot:
    """The snapshot in this router, with this count of failures in its breaker."""
    return router.snapshot(
        tuple(
            each.snapshot(part.states, (failures,) if id == BREAKER.id else part.values)
            for (id, each), part in zip(router.machines.items(), snapshot.parts, strict=True)
        )
    )


_ACTIVE_REPORTS = (
    ("tcp_opened", Kind.REPORT, Tcp.OPENING),
    ("tcp_failed", Kind.FAULT, Tcp.OPENING),
)
_FAILURE = (("communication_failed", Kind.FAULT, Tcp.OPEN),)

HEALTHY, CUT = 0, 1
_CUTS = Move("cable", "cut", Kind.FAULT)
_HEALS = Move("cable", "healed", Kind.REPAIR)


Ends = Pair[End, Mail]


def sides(scenario: Scenario, bind: Bind = machine) -> tuple[Side, Side]:
    """The rules of the end that dials and of the end that listens."""
    failing = _FAILURE if scenario.failures else ()
    settings = scenario.configures or (scenario.linktest_threshold,)
    counted = 2 if scenario.configures else scenario.threshold

    def routers(system: System, threshold: int) -> tuple[Router, ...]:
        each = (scenario.parameters_with(threshold, linktest) for linktest in settings)
        return tuple(bound(system, parameters, bind) for parameters in each)

    active = Side(
        ACTIVE_SIDE,
        routers(ACTIVE_END, counted),
        routers(ACTIVE_END, 1) if scenario.configures else (),
        READ_BY_ACTIVE,
        scenario.active_calls,
        _ACTIVE_REPORTS + failing,
        scenario,
        listens=False,
    )
    passive = Side(
        PASSIVE_SIDE,
        routers(PASSIVE_END, counted),
        (),
        READ_BY_PASSIVE,
        scenario.passive_calls,
        failing,
        scenario,
        listens=True,
    )
    return active, passive


def weather(scenario: Scenario) -> dict[int, tuple[tuple[Move, int], ...]]:
    """What may happen to the cable when it is whole, and when it is cut."""
    return {HEALTHY: ((_CUTS, CUT),) if scenario.cable else (), CUT: ((_HEALS, HEALTHY),)}


def two_ends(scenario: Scenario, bind: Bind = machine) -> Ends:
    """The model of both ends and the cable. ``bind`` makes the machine of a chart."""
    return Pair(*sides(scenario, bind), weather(scenario))
