"""Two ends and a cable (``model``) with clocks: how long a link takes to come back.

The charts, the router, the cable and the moves are those of ``model``. Here an end also has the
ages of its running timers, the time since its latest attempt began, and how long each item of its
inbox may still be on its way. Durations are whole ticks.

* A frame takes at most ``delay`` from its sending, in order; a dial takes at most twice that (there
  and back), and so does the reset that answers a frame to an end that is gone. While the cable is
  cut nothing arrives; when it is whole again, what was on its way takes as long as if it had just
  been sent. How long TCP's own repetition may wait before it tries again is not counted.
* A timer fires when it is due: at its time, or up to its jitter later. Deadlines are computed as
  ``hsms_engine.protocol.timers`` does it: from the settings in force, T5 from the start of the
  attempt, its pause grown by failures in a row, the interval of the linktest from the last byte
  that came.
* Bytes that came are told to the linktest first (``traffic_seen``), so they excuse a probe.
* A dial may have to wait for its slot, up to ``slot`` ticks; no timer runs against the peer before.
* ``configure`` is a move of the user: other durations are in force at that end from then on.
* The cable stays whole for a round trip and two ticks before it is cut again. In the searches that
  are small enough, a cable that is cut again after one tick gives the same bounds (a test).

A longest run as data, for a replay on two real drivers::

    found = search(case)                    # tests.proof.timed_searches
    worst = found.recovery                  # or found.detection["active"]
    worst.ticks                             # how long; None: for ever
    happenings(worst.before)                # from the initial state to where the run begins
    happenings(worst.trace)                 # the run itself, its times again from 0

Each is a list of ``Happening``: when it happens in ticks, the actor ("active", "passive" or
"cable"), the event, the frame it carries, and the effects that it must have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import ceil, inf
from typing import NamedTuple

from statecharts.declare import Effect, Start
from statecharts.explore.graph import Trace
from statecharts.explore.moves import Kind, Move
from statecharts.explore.pair import Offer
from statecharts.explore.timed import TimedPair
from statecharts.hsms.timers import (
    LINKTEST_INTERVAL,
    OPEN_TIME,
    T5,
    T6,
    T6_LINKTEST,
    T6_SECOND_HOST,
)
from statecharts.hsms.vocabulary import CloseTcp, OpenTcp
from statecharts.hsms.world import Tcp, after_all
from statecharts.router import Router, SystemSnapshot, SystemStep

from .model import ACTIVE_SIDE, CLOSE, CUT, GHOST, GONE, HEALTHY, End, Item, Link, Mail, Side

# Clocks of an end that are no timers of a chart: since the latest attempt began; since the dial was
# asked for, or began; since the last frame was written.
ATTEMPT, DIAL, FLUSH = "attempt", "dial", "flush"


@dataclass(frozen=True, slots=True)
class Durations:
    """The settings of time, in ticks.

    ``delay``: the longest time of a frame on its way; ``slot``: the longest wait of a dial for its
    slot. ``jitter``: this fraction of a pause or an open time may be added, rounded up.
    """

    t5: int
    t6: int
    t7: int
    connect_timeout: int
    linger: int
    open_time: int
    interval: int | None = None
    delay: int = 0
    slot: int = 0
    backoff_factor: int = 1
    backoff_limit: int = 0
    jitter: Fraction = Fraction(0)

    def pause(self, failures: int) -> int:
        """Ticks between the starts of two attempts, without jitter."""
        grown: int = self.t5 * self.backoff_factor ** max(failures - 1, 0)
        return max(self.t5, min(grown, self.backoff_limit))

    def jittered(self, ticks: int) -> int:
        """The longest that ``ticks`` can become."""
        return ticks + ceil(ticks * self.jitter)

    def scaled(self, by: int) -> Durations:
        """The same settings with ticks that are ``by`` times as short."""
        return Durations(
            self.t5 * by,
            self.t6 * by,
            self.t7 * by,
            self.connect_timeout * by,
            self.linger * by,
            self.open_time * by,
            None if self.interval is None else self.interval * by,
            self.delay * by,
            self.slot * by,
            self.backoff_factor,
            self.backoff_limit * by,
            self.jitter,
        )


class Reading(Router):
    """A router that tells the linktest of the bytes before it tells a chart of their frame."""

    def __init__(self, router: Router) -> None:
        super().__init__(router.system, router.machines)
        self.frames = {event for chart in self.system.charts for event in chart.received}

    def step(self, snapshot: SystemSnapshot, event: str) -> SystemStep:
        if event not in self.frames:
            return super().step(snapshot, event)
        seen = super().step(snapshot, "traffic_seen")
        read = super().step(seen.snapshot, event)
        return SystemStep(read.snapshot, seen.effects + read.effects, seen.hops + read.hops)


class TimedEnd(NamedTuple):
    """The number of an ``End``, the ages of its clocks, and the ticks left to each item.

    The items of the ghost, if there is one, follow those of the newest connection.

    ``setting``: which of the durations are in force. ``waits``: its dial waits for a slot.
    """

    number: int
    ages: tuple[int, ...]
    left: tuple[int, ...] = ()
    setting: int = 0
    waits: bool = False


class TimedSide:
    """The rules of one end with clocks. ``durations``: the first ones are in force at first."""

    def __init__(self, side: Side, *durations: Durations) -> None:
        self.side = replace(side, routers=tuple(Reading(each) for each in side.routers))
        charts = side.routers[0].system.charts
        self.frames = {event for chart in charts for event in chart.received}
        self.durations = durations
        self.dials = side.name == ACTIVE_SIDE
        self.ends: list[End] = []
        self.clocks: list[tuple[tuple[str, str], ...]] = []
        self._numbers: dict[End, int] = {}
        self._offers: dict[tuple[int, int], list[tuple[Move, int, Mail | None]]] = {}
        self._received: dict[tuple[int, Mail], int | None] = {}
        self._configures = Move(side.name, "configure", Kind.USER)
        self._begins = Move(side.name, "dial_began", Kind.REPORT)

    @cached_property
    def initial(self) -> TimedEnd:
        number = self._number(self.side.initial)
        ages = (
            self.cap(ATTEMPT, self.ends[number]) if clock == ATTEMPT else 0
            for _, clock in self.clocks[number]
        )
        return TimedEnd(number, tuple(ages))

    def _number(self, end: End) -> int:
        if (known := self._numbers.get(end)) is None:
            known = self._numbers[end] = len(self.ends)
            self.ends.append(end)
            self.clocks.append(tuple(self._clocks_of(end)))
        return known

    def _clocks_of(self, end: End) -> Iterator[tuple[str, str]]:
        """The clocks of an end, each with the name of its connection."""
        if self.dials:
            yield self.side.name, ATTEMPT
        for actor, link in self.links(end):
            for timer in sorted(link.world.timers):
                yield actor, timer
            if link.world.tcp is Tcp.OPENING:
                yield actor, DIAL
            if "leaving" in link.snapshot and not link.world.finished:
                yield actor, FLUSH

    def links(self, end: End) -> Iterator[tuple[str, Link]]:
        """The connections of an end, by name."""
        yield self.side.name, Link(end.snapshot, end.world, end.inbox)
        if end.ghost is not None:
            yield GHOST, end.ghost

    def failures(self, end: End) -> int:
        """The failed attempts in a row."""
        return end.snapshot["breaker"].values[0] if self.dials else 0

    def span(self, timer: str, end: End, setting: int) -> tuple[float, float]:
        """The ages at which a timer may fire and must fire."""
        durations = self.durations[setting]
        match timer:
            case T5.id:
                pause = durations.pause(self.failures(end))
                return pause, durations.jittered(pause)
            case OPEN_TIME.id:
                return durations.open_time, durations.jittered(durations.open_time)
            case T6.id | T6_LINKTEST.id | T6_SECOND_HOST.id:
                return durations.t6, durations.t6
            case LINKTEST_INTERVAL.id:
                interval = inf if durations.interval is None else durations.interval
                return interval, interval
            case _:
                ticks: int = getattr(durations, timer)
                return ticks, ticks

    def cap(self, clock: str, end: End) -> int:
        """The age beyond which a clock tells nothing more."""
        return max(self._cap(clock, end, setting) for setting in range(len(self.durations)))

    def _cap(self, clock: str, end: End, setting: int) -> int:
        durations = self.durations[setting]
        if clock == ATTEMPT:
            return durations.jittered(durations.pause(self.failures(end) + 1))
        if clock == DIAL:
            return max(2 * durations.delay, durations.slot)
        if clock == FLUSH:
            return durations.delay
        if clock == T5.id:
            # Its age is that of the attempt.
            return 0
        latest = self.span(clock, end, setting)[1]
        return 0 if latest == inf else int(latest)

    def age(self, timed: TimedEnd, timer: str, actor: str = "") -> int:
        """The age of a running timer or clock. T5 is read from the clock of the attempt."""
        clock = (actor or self.side.name, ATTEMPT if timer == T5.id else timer)
        return timed.ages[self.clocks[timed.number].index(clock)]

    def offers(self, timed: TimedEnd, shared: int) -> Iterator[Offer[TimedEnd, Mail]]:
        """Everything that this end can do now."""
        end = self.ends[timed.number]
        for move, after, mail in self._untimed(timed.number, int(shared == CUT)):
            if move.kind is Kind.TIMER:
                timer = move.event.removesuffix("_expired")
                if timed.waits and timer == "connect_timeout":
                    continue
                if self.age(timed, timer, move.actor) < self.span(timer, end, timed.setting)[0]:
                    continue
            if timed.waits and move.event in ("tcp_opened", "tcp_failed"):
                continue
            yield Offer(move, self.moved(timed, move, after), mail)
        if timed.waits:
            yield Offer(self._begins, self._dialling(timed))
        for setting in range(len(self.durations)):
            if setting != timed.setting:
                yield Offer(self._configures, self.configured(timed, setting))

    def _untimed(self, number: int, cut: int) -> list[tuple[Move, int, Mail | None]]:
        if (known := self._offers.get((number, cut))) is None:
            known = self._offers[number, cut] = [
                (move, self._number(after), mail)
                for move, after, mail in map(self._heard, self.side.offers(self.ends[number], cut))
            ]
        return known

    def _heard(self, offer: Offer[End, Mail]) -> Offer[End, Mail]:
        """Data messages do not go through the charts, but the linktest is told of their bytes."""
        move, after, mail = offer
        if move.event != "data":
            return offer
        assert after.ghost is None
        router = self.side.routers[after.setting]
        snapshot, effects, _ = router.step(after.snapshot, "traffic_seen")
        world = after_all(after.world, "traffic_seen", effects)
        return Offer(
            replace(move, effects=effects), after._replace(snapshot=snapshot, world=world), mail
        )

    def moved(self, timed: TimedEnd, move: Move, number: int) -> TimedEnd:
        """The clocks and items after ``move``, which leads to the end with this number."""
        before, after, actor = self.ends[timed.number], self.ends[number], move.actor
        ages = dict(zip(self.clocks[timed.number], timed.ages, strict=True))
        waits = timed.waits and after.world.tcp is Tcp.OPENING
        if move.event == "data" or move.event in self.frames:
            ages[actor, "linktest_interval"] = 0
        for effect in move.effects:
            match effect:
                case Start(timer):
                    ages[actor, timer.id] = 0
                case OpenTcp():
                    ages[actor, ATTEMPT] = ages[actor, DIAL] = 0
                    waits = self.durations[timed.setting].slot > 0
                case _:
                    pass
        if move.event == "crashed":
            # A program that starts knows of no attempt.
            ages = {(actor, ATTEMPT): self.cap(ATTEMPT, after)}
        ended = actor == GHOST and CloseTcp() in move.effects
        older = after.ghost is not None and (before.ghost is None or ended)
        return self._changed(timed, number, ages, waits=waits, older=older)

    def _changed(
        self,
        timed: TimedEnd,
        number: int,
        ages: dict[tuple[str, str], int],
        new: tuple[int, ...] = (),
        *,
        waits: bool,
        older: bool,
    ) -> TimedEnd:
        """The end with this number, its clocks and its items, the last of which are ``new``.

        ``older``: the connection that was the newest is the ghost now.
        """
        before, after, name = self.ends[timed.number], self.ends[number], self.side.name
        if older:
            ages = {(GHOST, clock): age for (actor, clock), age in ages.items() if actor == name}
        kept = tuple(
            min(ages.get(clock, 0), self.cap(clock[1], after)) for clock in self.clocks[number]
        )
        size = len(before.inbox)
        round_trip = 2 * self.durations[timed.setting].delay
        ghost = () if after.ghost is None else after.ghost.inbox
        if older:
            left = _left(before.inbox, timed.left[:size], ghost + after.inbox, new, round_trip)
            left = left[len(ghost) :] + left[: len(ghost)]
        else:
            left = _left(before.inbox, timed.left[:size], after.inbox, new, round_trip)
            if before.ghost is not None and after.ghost is not None:
                left += _left(before.ghost.inbox, timed.left[size:], ghost, (), round_trip)
        return TimedEnd(number, kept, left, timed.setting, waits)

    def _dialling(self, timed: TimedEnd) -> TimedEnd:
        """The dial has its slot: T5, the connect timeout and the dial itself run from now on."""
        again = (ATTEMPT, DIAL, "connect_timeout")
        clocks = zip(self.clocks[timed.number], timed.ages, strict=True)
        ages = tuple(0 if clock in again else age for (_, clock), age in clocks)
        return timed._replace(ages=ages, waits=False)

    def configured(self, timed: TimedEnd, setting: int) -> TimedEnd:
        """Other durations are in force; every clock keeps its age."""
        return timed._replace(setting=setting)

    def receive(self, timed: TimedEnd, mail: Mail) -> TimedEnd | None:
        """The end with ``mail`` queued; None when that cannot be."""
        key = (timed.number, mail)
        try:
            number = self._received[key]
        except KeyError:
            after = self.side.receive(self.ends[timed.number], mail)
            number = self._received[key] = None if after is None else self._number(after)
        if number is None:
            return None
        new = (self.durations[timed.setting].delay,) * len(mail.items)
        ages = dict(zip(self.clocks[timed.number], timed.ages, strict=True))
        older = self.ends[timed.number].ghost is None and self.ends[number].ghost is not None
        return self._changed(timed, number, ages, new, waits=timed.waits, older=older)

    def is_due(self, timed: TimedEnd, _cut: int, move: Move) -> bool:
        """Whether this move cannot wait for a tick."""
        durations = self.durations[timed.setting]
        match move.kind, move.event:
            case Kind.TIMER, event:
                timer = event.removesuffix("_expired")
                longest = self.span(timer, self.ends[timed.number], timed.setting)[1]
                return self.age(timed, timer, move.actor) >= longest
            case Kind.DELIVERY, _:
                at = len(self.ends[timed.number].inbox) if move.actor == GHOST else 0
                return timed.left[at] == 0
            case Kind.REPORT, "tcp_opened":
                return self.age(timed, DIAL) >= 2 * durations.delay
            case Kind.REPORT, "dial_began":
                return self.age(timed, DIAL) >= durations.slot
            case Kind.REPORT, "flushed":
                return self.age(timed, FLUSH, move.actor) >= durations.delay
            case _:
                return False

    def later(self, timed: TimedEnd, shared: int) -> TimedEnd:
        """The end after one tick in which nothing has happened."""
        cut = shared == CUT
        end, delay = self.ends[timed.number], self.durations[timed.setting].delay
        still = set()
        if timed.waits:
            still |= {"connect_timeout", ATTEMPT}
        elif cut:
            still.add(DIAL)
        ages = tuple(
            0 if clock in still else min(age + 1, self.cap(clock, end))
            for (_, clock), age in zip(self.clocks[timed.number], timed.ages, strict=True)
        )
        if cut:
            left = tuple(2 * delay if ticks > delay else delay for ticks in timed.left)
        else:
            left = tuple(max(ticks - 1, 0) for ticks in timed.left)
        return timed._replace(ages=ages, left=left)

    def describe(self, timed: TimedEnd) -> dict[str, str]:
        """The parts of an end, for people."""
        end = self.ends[timed.number]
        parts = self.side.describe(end)
        left = timed.left
        for actor, link in self.links(end):
            clocks = zip(self.clocks[timed.number], timed.ages, strict=True)
            ages = ", ".join(f"{clock} {age}" for (owner, clock), age in clocks if owner == actor)
            items = zip(link.inbox, left, strict=False)
            parts[f"{actor} timers"] = ages or "none"
            parts[f"{actor} inbox"] = (
                ", ".join(f"{i.value} {ticks}" for i, ticks in items) or "empty"
            )
            left = left[len(link.inbox) :]
        return parts


def _left(
    before: tuple[Item, ...],
    left: tuple[int, ...],
    after: tuple[Item, ...],
    new: tuple[int, ...],
    round_trip: int,
) -> tuple[int, ...]:
    """The ticks left to the items of an inbox. What is new is last, and the first may be gone.

    A frame to an end that is gone is answered by a reset, which takes a round trip.
    """
    if new:
        return (*left[: len(after) - len(new)], *new)
    first = len(before) - len(after)
    return tuple(
        round_trip if was is GONE and item is CLOSE else ticks
        for was, item, ticks in zip(before[first:], after, left[first:], strict=True)
    )


class Happening(NamedTuple):
    """One step of a run. ``at``: the ticks since the beginning of its trace."""

    at: int
    actor: str
    event: str
    carries: str
    effects: tuple[Effect, ...]


def happenings(trace: Trace) -> list[Happening]:
    """What happens in a trace and when, without the ticks."""
    found, at = [], 0
    for move in trace.moves:
        if move.kind is Kind.TIME:
            at += 1
        else:
            found.append(Happening(at, move.actor, move.event, move.carries, move.effects))
    return found


TimedEnds = TimedPair[TimedEnd, Mail]


def timed_ends(active: TimedSide, passive: TimedSide, whole: int, *, cuts: bool) -> TimedEnds:
    """The model of both ends, the cable, and time. ``cuts``: whether the cable may be cut.

    ``whole``: the ticks for which the cable stays whole before it may be cut again. The value that
    both ends share is CUT, HEALTHY, or higher by the ticks that it still must stay whole.
    """
    last = CUT + whole
    return TimedPair(
        active,
        passive,
        {
            HEALTHY: ((Move("cable", "cut", Kind.FAULT), CUT),) if cuts else (),
            CUT: ((Move("cable", "healed", Kind.REPAIR), last),),
            **dict.fromkeys(range(CUT + 1, last + 1), ()),
        },
        {value: value - 1 for value in range(CUT + 2, last + 1)} | {CUT + 1: HEALTHY},
    )
