"""Two processes, one tool and a store of leases, with clocks: who may have the link, and when.

Each process runs the chart of the lease that runs (``LEASE``), through its router. Its link is
abstracted: enabled, leaving (for a while, or stuck for ever), or at rest. What connections, breaker
and Select do inside does not matter here, because the real link does no more than this one: it
opens TCP only while it is enabled, and tells that it rests when TCP is closed.

* A call to the store takes any time, is lost before or after the store has done it, or fails; a
  call that is no longer waited for may be done at any time later. So a store that is slow, that
  fails, or that is cut off from one side needs no move of its own. One abandoned call of each
  process is on its way at a time; when there is one more, one of them is lost.
* The store gives the lease as ``hsms_engine.lease.asked`` says, by its own clock. It may restart
  without its data, or go on from a replica that lacks its last writes. The next script sees this,
  and then nobody acquires for as long as a lease; who has an epoch that is as great as the known
  one may renew.
* A process may stop for any time at any moment and go on; then its deadline is judged before
  anything else. It may die, and another one may be born.
* Time is counted in ticks of the store's clock. The clock of a process is wrong by ``slack`` ticks
  for each lease: a deadline may be over so much earlier or later.
* Epochs are ranks: 1 is the greatest that was ever given, 2 the one before it, 0 is none, or one
  that is older than three. Only their order is looked at, so that nothing grows without bound.

Without ``timed``, all timers but the two of the lease may fire at any time, which allows more than
any settings do. With it, timers fire when they are due, and calls take ``delay`` ticks each way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

from statecharts.declare import Chart, Effect, Start, Tell, Timer
from statecharts.explore.moves import Kind, Move, Moves
from statecharts.explore.timed import TICK
from statecharts.hsms.lease import LEASE
from statecharts.hsms.timers import (
    LEASE_END,
    LEASE_POLL,
    OWN_DEADLINE,
    RENEWAL,
    RENEWAL_RETRY,
    STORE_TIMEOUT,
)
from statecharts.hsms.vocabulary import AskStore, ReleaseLease, StopAsking, StoreCall
from statecharts.machine import Machine
from statecharts.router import Router, System, SystemSnapshot, told_by

SIDES = ("A", "B")
NOBODY, DEAD = 0, 3
# The owner in the store: nobody, A, B, or a process that has died.
OWNERS = ("nobody", *SIDES, "a process that has died")
# Ranks of epochs that are told apart; older ones are ``OLD``.
NEWEST, OLDEST, OLD = 1, 3, 0
# What a call that gives back the lease names when it names no epoch.
WHATEVER = -1


class Link(IntEnum):
    """The link of a process."""

    RESTS = 0
    ENABLED = 1
    LEAVING = 2
    STUCK = 3
    CLOSING = 4


class Call(IntEnum):
    """The call to the store that a process waits for."""

    NONE = 0
    SENT = 1
    GRANTED = 2
    REFUSED = 3
    LOST = 4


class Stray(NamedTuple):
    """A call that nobody waits for any more, and that may be done still, within ``left`` ticks."""

    call: str
    epoch: int
    left: int
    dead: bool = False


class Process(NamedTuple):
    """One process. ``at`` is the chart's snapshot, None for a process that is not there.

    ``age``: ticks since the state began, which is when the store was asked in a state that waits
    for it. ``lease``: ticks since the grant in force was asked for. ``looked``: the end of the
    lease was looked at, and the bytes are not yet handed over.
    """

    at: SystemSnapshot | None
    link: Link = Link.RESTS
    stopped: bool = False
    call: Call = Call.NONE
    age: int = 0
    lease: int = 0
    epoch: int = OLD
    stray: Stray | None = None
    looked: bool = False


class Store(NamedTuple):
    """The store, and the tool.

    ``known``: the rank of the epoch that it knows. ``changed``: it is another incarnation than the
    one that its marker names. ``split``: A reaches the old master, B reaches what is described
    here. ``session``: whose session the tool has, or had last; ``connected``: it has it still;
    ``seen``: the epoch of its owner; ``wire``: bytes of that session are on their way to the tool.
    """

    owner: int = NOBODY
    known: int = NEWEST
    expiry: int = 0
    quarantine: int = 0
    changed: bool = False
    away: bool = False
    split: bool = False
    session: int = NOBODY
    connected: bool = False
    seen: int = OLD
    wire: bool = False


@dataclass(frozen=True, slots=True)
class Design:
    """What is built: times in ticks, and what a variant does otherwise.

    ``quarantine``: "each incarnation", "lost data" (a store without the marker), or "never".
    ``from_request``: a lease is counted from its request. ``at_once``: nothing can happen between
    the look at the end of the lease and the hand-over of bytes. ``jumps``: after a restart, epochs
    begin above each that was ever given. ``by_name``: a process that does not know whether it was
    granted the lease gives back whatever is its own.
    """

    length: int = 4
    end: int = 2
    deadline: int = 1
    slack: int = 1
    renewal: int = 0
    timeout: int = 0
    retry: int = 0
    poll: int = 0
    delay: int = 0
    linger: int = 0
    timed: bool = False
    quarantine: str = "each incarnation"
    from_request: bool = True
    at_once: bool = True
    jumps: bool = True
    by_name: bool = False
    chart: Chart = LEASE

    def scaled(self, by: int) -> Design:
        """The same with ticks that are ``by`` times as short."""
        names = (
            "length", "end", "deadline", "slack", "renewal", "timeout", "retry", "poll", "delay",
            "linger",
        )  # fmt: skip
        return replace(self, **{name: getattr(self, name) * by for name in names})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What may happen. ``loses``: with clocks for all timers, a call may be lost."""

    users: bool = True
    closes: bool = False
    stops: bool = False
    crashes: bool = False
    births: bool = True
    strays: bool = True
    loses: bool = False
    forgets: bool = False
    fails_over: bool = False
    splits: bool = False
    goes_away: bool = False
    tool: bool = False


class Offer(NamedTuple):
    """A move of a process: the process and the store after it. ``newer``: an epoch was given."""

    move: int
    process: int
    store: int
    newer: bool


class State(NamedTuple):
    """The state of the model, as properties read it."""

    a: Process
    b: Process
    store: Store

    @property
    def processes(self) -> tuple[Process, Process]:
        """Both."""
        return self.a, self.b


_CALLS = {StoreCall.ACQUIRE: "acquire", StoreCall.RENEW: "renew"}
_HELD = frozenset({"owning", "yielding"})
_DEADLINES = (OWN_DEADLINE, LEASE_END)


def holds(process: Process) -> bool:
    """Whether a process is between its grant and a link at rest."""
    return process.at is not None and not _HELD.isdisjoint(process.at.states)


def owns(process: Process) -> bool:
    """Whether a process that runs has the link enabled by its chart."""
    return process.at is not None and "owning" in process.at and not process.stopped


class Leases:
    """The model: ``actions`` of a state, which is three numbers in one."""

    def __init__(self, design: Design, around: Surroundings) -> None:
        self.design, self.around = design, around
        chart = design.chart
        self.router = Router(
            System("lease_alone", chart.title, (chart,), told_by(chart)),
            {chart.id: Machine(chart)},
        )
        self._numbers = Moves()
        self._tick = self._numbers.number(TICK)
        self.processes: list[Process] = []
        self.stores: list[Store] = []
        self._process_numbers: dict[Process, int] = {}
        self._store_numbers: dict[Store, int] = {}
        self._offers: tuple[dict[int, list[Offer]], dict[int, list[Offer]]] = ({}, {})
        self._weather: dict[int, list[tuple[int, int]]] = {}
        self._later: dict[int, int | None] = {}
        self._store_later: dict[int, int] = {}
        self._aged: dict[int, int] = {}
        self._timers: dict[SystemSnapshot, tuple[Timer, ...]] = {}

    # The states are numbers: A's process, B's process, and the store.

    @property
    def moves(self) -> list[Move]:
        """The moves met so far, by number."""
        return self._numbers.all

    @property
    def initial(self) -> tuple[int]:
        """Both processes are there and want nothing; the lease was never given."""
        here = self._process(Process(self.router.initial))
        return (self._packed(here, here, self._store(Store())),)

    def _packed(self, a: int, b: int, store: int) -> int:
        return a << 40 | b << 20 | store

    def _process(self, process: Process) -> int:
        if (known := self._process_numbers.get(process)) is None:
            known = self._process_numbers[process] = len(self.processes)
            self.processes.append(process)
        return known

    def _store(self, store: Store) -> int:
        if (known := self._store_numbers.get(store)) is None:
            known = self._store_numbers[store] = len(self.stores)
            self.stores.append(store)
        return known

    def view(self, state: int) -> State:
        """The state as properties read it."""
        low = (1 << 20) - 1
        return State(
            self.processes[state >> 40],
            self.processes[state >> 20 & low],
            self.stores[state & low],
        )

    def actions(self, state: int) -> Iterator[tuple[int, int]]:
        """Each move: of A, of B, of the store, and a tick when nobody must do anything first."""
        low = (1 << 20) - 1
        a, b, store = state >> 40, state >> 20 & low, state & low
        for move, here, there, newer in self._offered(0, a, store):
            yield move, here << 40 | (self._older(b) if newer else b) << 20 | there
        for move, here, there, newer in self._offered(1, b, store):
            yield move, (self._older(a) if newer else a) << 40 | here << 20 | there
        for move, there in self._of_the_store(store):
            yield move, a << 40 | b << 20 | there
        left, right = self._waited(a, store), self._waited(b, store)
        if left is not None and right is not None:
            yield self._tick, left << 40 | right << 20 | self._ticked(store)

    # What a process can do.

    def _offered(self, side: int, number: int, store: int) -> list[Offer]:
        key = number << 20 | store
        known = self._offers[side].get(key)
        if known is None:
            made = self._moves_of(side, self.processes[number], self.stores[store])
            known = self._offers[side][key] = [
                Offer(self._numbers.number(move), self._process(here), self._store(there), newer)
                for move, here, there, newer in dict.fromkeys(made)
            ]
        return known

    def _moves_of(
        self, side: int, process: Process, store: Store
    ) -> Iterator[tuple[Move, Process, Store, bool]]:
        name, around = SIDES[side], self.around
        if process.stray is not None:
            yield from self._strays(side, process, store, process.stray)
        if process.at is None:
            if around.births:
                born = process._replace(at=self.router.initial)
                yield Move(name, "born", Kind.USER), born, store, False
            return
        if around.crashes:
            yield self._crash(side, process, store)
        if process.call is Call.SENT and not store.away:
            asked = "acquire" if "acquiring" in process.at else "renew"
            yield from self._done(side, process, store, asked)
        if process.stopped:
            yield Move(name, "goes on", Kind.REPAIR), process._replace(stopped=False), store, False
            return
        if around.stops:
            yield Move(name, "stops", Kind.FAULT), process._replace(stopped=True), store, False
        if process.looked:
            # The bytes go out now, however long the process has stopped meanwhile.
            yield self._hands_over(side, process, store)
            return
        due = self.due(process)
        for event, kind in self._events(process):
            if not due or event == due[0].expired:
                for move, after in self._stepped(name, process, event, kind):
                    yield move, after, store, False
        if due:
            return
        if around.loses and process.call is Call.SENT:
            lost = process._replace(call=Call.LOST)
            yield Move(name, "call lost", Kind.FAULT), lost, store, False
        if around.closes and process.link is not Link.CLOSING and "ended" not in process.at:
            for move, after in self._closed(name, process):
                yield move, after, store, False
        if around.tool and process.link is Link.ENABLED:
            yield from self._to_the_tool(side, process, store)
        elif not self.design.at_once and process.link is Link.ENABLED and self.may_hand(process):
            looked = process._replace(looked=True)
            yield Move(name, "looks", Kind.REPORT), looked, store, False

    def _events(self, process: Process) -> Iterator[tuple[str, Kind]]:
        """The events of the chart that may happen now."""
        at = process.at
        assert at is not None
        for timer in self.timers(at):
            if self.clock(process, timer) >= self.span(timer)[0]:
                yield timer.expired, Kind.TIMER
        if self.around.users:
            for event in ("contend_requested", "withdraw_requested"):
                if self.router.takes(at, event):
                    yield event, Kind.USER
        if process.link is Link.LEAVING:
            yield "link_rested", Kind.REPORT
        if process.link is Link.CLOSING:
            yield "link_ended", Kind.REPORT
        if process.call is not Call.NONE:
            yield "store_failed", Kind.FAULT
        if process.call is Call.GRANTED:
            asked, slack = process.age, self.design.slack
            if asked <= self.design.deadline + slack:
                yield "lease_granted", Kind.DELIVERY
            if asked >= self.design.deadline - slack:
                # The answer of the store came after the deadline of the lease that it grants.
                yield "store_failed", Kind.DELIVERY
        if process.call is Call.REFUSED:
            yield "lease_refused", Kind.DELIVERY
            if holds(process):
                # Where nobody has the lease, the store says so.
                yield "lease_freed", Kind.DELIVERY
        if "standby" in at and not self.design.timed:
            yield "lease_freed", Kind.DELIVERY

    def timers(self, at: SystemSnapshot) -> tuple[Timer, ...]:
        """The timers that run."""
        if (known := self._timers.get(at)) is None:
            states = self.design.chart.walk()
            known = self._timers[at] = tuple(
                state.timer for state in states if state.timer is not None and state.id in at
            )
        return known

    def clock(self, process: Process, timer: Timer) -> int:
        """The age that a timer is judged by."""
        return process.lease if timer in (*_DEADLINES, RENEWAL) else process.age

    def span(self, timer: Timer) -> tuple[int, int | None]:
        """The ages at which a timer may fire and must fire. None: it need not."""
        design = self.design
        if timer in _DEADLINES:
            at = design.deadline if timer is OWN_DEADLINE else design.end
            return at - design.slack, at + design.slack
        if not design.timed:
            return 0, None
        at = {
            LEASE_POLL: design.poll,
            STORE_TIMEOUT: design.timeout,
            RENEWAL: design.renewal,
            RENEWAL_RETRY: design.retry,
        }[timer]
        return at, at

    def due(self, process: Process) -> list[Timer]:
        """The deadlines that are judged before anything else."""
        if process.at is None:
            return []
        return [
            timer
            for timer in self.timers(process.at)
            if timer in _DEADLINES and process.lease >= (self.span(timer)[1] or 0)
        ]

    def may_hand(self, process: Process) -> bool:
        """Whether the look right before the send may find that the lease is in force."""
        is_over = process.lease >= self.design.end + self.design.slack
        return process.link is not Link.RESTS and (process.looked or not is_over)

    def _stepped(
        self, name: str, process: Process, event: str, kind: Kind
    ) -> Iterator[tuple[Move, Process]]:
        """What an event makes of a process, each way that its link and its calls may take it."""
        assert process.at is not None
        step = self.router.step(process.at, event)
        here = process._replace(at=step.snapshot)
        if event in ("link_rested", "link_ended"):
            here = here._replace(link=Link.RESTS)
        if event == "lease_granted":
            here = here._replace(lease=process.age if self.design.from_request else 0)
        for after in self._affected(here, step.effects, process):
            move = Move(name, event, kind, step.effects)
            if Tell("communication_failed") in step.effects:
                over = "link_ended" if after.link is Link.CLOSING else "link_rested"
                for cut, rested in self._stepped(name, after, over, kind):
                    both = Move(name, event, kind, (*step.effects, *cut.effects))
                    yield both, rested
            elif after.link is Link.LEAVING and Tell("disable_requested") in step.effects:
                yield move, self._settled(after)
                if self.design.timed:
                    yield move, self._settled(after._replace(link=Link.STUCK))
                for rest, rested in self._stepped(name, after, "link_rested", kind):
                    yield Move(name, event, kind, (*step.effects, *rest.effects)), rested
            else:
                yield move, self._settled(after)

    def _closed(self, name: str, process: Process) -> Iterator[tuple[Move, Process]]:
        """The user closes the link for good; one that is open separates first."""
        if process.link is not Link.RESTS:
            closing = process._replace(link=Link.CLOSING)
            yield Move(name, "close", Kind.USER), self._settled(closing)
        for ended, after in self._stepped(name, process, "link_ended", Kind.USER):
            yield Move(name, "close", Kind.USER, ended.effects), after

    def _affected(
        self, here: Process, effects: tuple[Effect, ...], before: Process
    ) -> Iterator[Process]:
        """The process when its effects are done."""
        left: list[Stray | None] = [here.stray]
        for effect in effects:
            match effect:
                case Start(timer) if timer not in (*_DEADLINES, RENEWAL):
                    here = here._replace(age=0)
                case AskStore(call) if call in _CALLS:
                    here = here._replace(call=Call.SENT)
                case StopAsking():
                    if before.call is Call.SENT:
                        asked = "acquire" if before.at and "acquiring" in before.at else "renew"
                        left = self._sent(left, asked, before.epoch, before.age)
                    here = here._replace(call=Call.NONE)
                case ReleaseLease() if holds(before):
                    left = self._sent(left, "release", here.epoch)
                case ReleaseLease() if self.design.by_name:
                    left = self._sent(left, "release", WHATEVER)
                case Tell("enable_requested"):
                    here = here._replace(link=Link.ENABLED)
                case Tell("disable_requested") if here.link is not Link.CLOSING:
                    here = here._replace(link=Link.LEAVING, age=0)
                case _:
                    pass
        for stray in dict.fromkeys(left):
            yield here._replace(stray=stray)

    def _sent(
        self, known: list[Stray | None], call: str, epoch: int, age: int = 0
    ) -> list[Stray | None]:
        """What is on its way with one more call: each of the two may be the one that is lost."""
        if not self.around.strays and call != "release":
            return known
        return [Stray(call, epoch, self._left(age)), *(each for each in known if each is not None)]

    def _left(self, age: int) -> int:
        """How many ticks a call of this age may be on its way still; 0 where it may be any time."""
        return max(self.design.delay - age, 0) if self.design.timed else 0

    def _settled(self, here: Process) -> Process:
        """Without what tells nothing any more."""
        assert here.at is not None
        if not holds(here):
            here = here._replace(lease=0)
            if here.call is not Call.GRANTED:
                here = here._replace(epoch=OLD)
        if not self.design.timed and here.call is Call.NONE:
            here = here._replace(age=0)
        return here

    def _crash(
        self, side: int, process: Process, store: Store
    ) -> tuple[Move, Process, Store, bool]:
        """The process is gone. What it has asked for may be done still, for nobody."""
        stray = process.stray
        if process.call is Call.SENT and process.at is not None and self.around.strays:
            asked = "acquire" if "acquiring" in process.at else "renew"
            stray = Stray(asked, process.epoch, self._left(process.age))
        if stray is not None:
            stray = stray._replace(dead=True)
        mine = side + 1
        store = store._replace(
            owner=DEAD if store.owner == mine else store.owner,
            session=DEAD if store.session == mine else store.session,
        )
        return Move(SIDES[side], "dies", Kind.FAULT), Process(None, stray=stray), store, False

    # What the store does.

    def _strays(
        self, side: int, process: Process, store: Store, stray: Stray
    ) -> Iterator[tuple[Move, Process, Store, bool]]:
        name, gone = SIDES[side], process._replace(stray=None)
        lost = Move("store", "never gets a call", Kind.FAULT, carries=f"{name}: {stray.call}")
        yield lost, gone, store, False
        if store.away or (store.split and side == 0):
            return
        asks = DEAD if stray.dead else side + 1
        after, answer, newer = self._script(asks, stray.call, stray.epoch, store)
        late = "" if stray.call == "release" else ", which nobody waits for any more"
        done = f"{name}: {stray.call}, {_said(answer)}{late}"
        if newer:
            gone = _aged(gone)
        yield Move("store", "does a call", Kind.DELIVERY, carries=done), gone, after, newer

    def _done(
        self, side: int, process: Process, store: Store, asked: str
    ) -> Iterator[tuple[Move, Process, Store, bool]]:
        """The store does the call that a process waits for."""
        name = SIDES[side]
        if store.split and side == 0:
            # The old master: it has A alone, and nothing is missing there.
            answer = Call.GRANTED if asked == "renew" else Call.REFUSED
            after, newer = store, False
        else:
            after, answer, newer = self._script(side + 1, asked, process.epoch, store)
        here = process._replace(call=answer)
        if answer is Call.REFUSED and not self.design.timed:
            here = here._replace(age=0)
        if newer:
            here = _aged(here)._replace(epoch=NEWEST)
        elif answer is Call.GRANTED and asked == "acquire":
            here = here._replace(epoch=after.known)
        move = Move("store", "does a call", Kind.DELIVERY, carries=f"{name}: {asked}, "
                    f"{_said(answer)}")  # fmt: skip
        yield move, here, after, newer

    def _script(self, asks: int, call: str, epoch: int, store: Store) -> tuple[Store, Call, bool]:
        """The script of a call: the store after it, the answer, and whether an epoch was given."""
        length, quarantine = self.design.length, self.design.quarantine
        if store.changed:
            starts = quarantine == "each incarnation" or (
                quarantine == "lost data" and store.known == OLD
            )
            store = store._replace(changed=False, quarantine=length if starts else 0)
        if call == "acquire":
            if store.quarantine or (store.owner not in (NOBODY, asks) and store.expiry):
                return store, Call.REFUSED, False
            if not self.design.jumps and store.known != NEWEST:
                # The number after the one that is known, which may have been given already.
                known = OLDEST if store.known == OLD else store.known - 1
                return store._replace(owner=asks, known=known, expiry=length), Call.GRANTED, False
            granted = _store_aged(store)._replace(owner=asks, known=NEWEST, expiry=length)
            return granted, Call.GRANTED, True
        if epoch == WHATEVER:
            epoch = store.known
        same = epoch != OLD and epoch == store.known and store.owner == asks
        is_newer = epoch != OLD and (store.known == OLD or epoch < store.known)
        known_again = bool(store.quarantine) and is_newer
        if call == "release":
            free = store._replace(owner=NOBODY, known=epoch, expiry=0)
            return (free if same or known_again else store), Call.NONE, False
        if same or known_again:
            return store._replace(owner=asks, known=epoch, expiry=length), Call.GRANTED, False
        return store, Call.REFUSED, False

    def _of_the_store(self, number: int) -> list[tuple[int, int]]:
        if (known := self._weather.get(number)) is None:
            known = self._weather[number] = [
                (self._numbers.number(move), self._store(after))
                for move, after in self._store_moves(self.stores[number])
            ]
        return known

    def _store_moves(self, store: Store) -> Iterator[tuple[Move, Store]]:
        around = self.around
        if around.goes_away and not store.away:
            yield Move("store", "goes away", Kind.FAULT), store._replace(away=True)
        if store.away:
            yield Move("store", "is back", Kind.REPAIR), store._replace(away=False)
        if around.forgets:
            move = Move("store", "restarts without its data", Kind.FAULT)
            empty = store._replace(owner=NOBODY, known=OLD, expiry=0, quarantine=0, changed=True)
            yield move, empty
        if around.fails_over:
            for carries, after in self._replicas(store):
                move = Move("store", "goes on from a replica", Kind.FAULT, carries=carries)
                yield move, after
        if around.splits and not store.split and store.owner == 1 and store.expiry:
            move = Move("store", "has two masters", Kind.FAULT, carries="A reaches the old one")
            yield move, store._replace(split=True, changed=True)
        if around.tool and store.connected:
            move = Move("tool", "notices the end of the session", Kind.REPORT)
            yield move, store._replace(connected=False, wire=False)
        if around.tool and store.wire:
            yield Move("tool", "takes bytes", Kind.DELIVERY), store._replace(wire=False)

    def _replicas(self, store: Store) -> Iterator[tuple[str, Store]]:
        """What a replica without the last writes may know."""
        length = self.design.length
        changed = store._replace(changed=True, quarantine=0)
        yield "which knows all", changed
        if store.known not in (OLD, OLDEST):
            older = changed._replace(known=store.known + 1)
            yield "without the last grant", older._replace(owner=NOBODY, expiry=0)
            for owner in (1, 2):
                yield "without the last grant", older._replace(owner=owner, expiry=length)
        if store.owner == NOBODY:
            for owner in (1, 2):
                yield "without the last release", changed._replace(owner=owner, expiry=length)

    # The tool.

    def _to_the_tool(
        self, side: int, process: Process, store: Store
    ) -> Iterator[tuple[Move, Process, Store, bool]]:
        name, mine = SIDES[side], side + 1
        if not self.may_hand(process):
            return
        if not store.connected:
            begun = store._replace(session=mine, connected=True, seen=process.epoch)
            yield Move(name, "gets the session", Kind.REPORT), process, begun, False
        elif store.session == mine:
            if self.design.at_once:
                yield self._hands_over(side, process, store)
            else:
                looked = process._replace(looked=True)
                yield Move(name, "looks", Kind.REPORT), looked, store, False

    def _hands_over(
        self, side: int, process: Process, store: Store
    ) -> tuple[Move, Process, Store, bool]:
        """Bytes are handed to the kernel; they reach the tool while it has this session."""
        arrives = self.around.tool and store.connected and store.session == side + 1
        move = Move(SIDES[side], "hands over bytes", Kind.REPORT)
        after = store._replace(wire=True) if arrives else store
        return move, process._replace(looked=False), after, False

    # Time.

    def _waited(self, number: int, store: int) -> int | None:
        key = number << 1 | self.stores[store].away
        if key not in self._later:
            process = self.processes[number]
            must = self.must(process, away=self.stores[store].away)
            self._later[key] = None if must else self._process(self._ticking(process))
        return self._later[key]

    def must(self, process: Process, *, away: bool) -> bool:
        """Whether something of a process cannot wait for a tick."""
        design = self.design
        stray = process.stray
        if design.timed and stray is not None and stray.left == 0 and not away:
            return True
        if process.at is None:
            return False
        is_due = process.age >= design.delay and not away
        if design.timed and process.call is Call.SENT and is_due:
            # The store does it, whatever the process does.
            return True
        if process.stopped:
            return False
        for timer in self.timers(process.at):
            latest = self.span(timer)[1]
            if latest is not None and self.clock(process, timer) >= latest:
                return True
        if not design.timed:
            return False
        if process.call in (Call.GRANTED, Call.REFUSED):
            return process.age >= 2 * design.delay
        return process.link is Link.LEAVING and process.age >= design.linger

    def _ticking(self, process: Process) -> Process:
        design, stray = self.design, process.stray
        if stray is not None:
            process = process._replace(stray=stray._replace(left=max(stray.left - 1, 0)))
        if process.at is None:
            return process
        if holds(process):
            last = max(design.end, design.deadline) + design.slack
            process = process._replace(lease=min(process.lease + 1, last))
        if design.timed or process.call in (Call.SENT, Call.GRANTED):
            last = design.deadline + design.slack + 1
            if design.timed:
                last = max(last, design.timeout, design.poll, design.linger, 2 * design.delay)
            process = process._replace(age=min(process.age + 1, last))
        return process

    def _ticked(self, number: int) -> int:
        if (known := self._store_later.get(number)) is None:
            store = self.stores[number]
            known = self._store_later[number] = self._store(
                store._replace(
                    expiry=max(store.expiry - 1, 0), quarantine=max(store.quarantine - 1, 0)
                )
            )
        return known

    def _older(self, number: int) -> int:
        if (known := self._aged.get(number)) is None:
            known = self._aged[number] = self._process(_aged(self.processes[number]))
        return known

    def label(self, at: SystemSnapshot) -> str:
        """The innermost state, as pictures call it."""
        return [each.name for each in self.design.chart.walk() if each.id in at][-1]

    def describe(self, state: int) -> dict[str, str]:
        """The state as people read it: part to value."""
        a, b, store = self.view(state)
        parts: dict[str, str] = {}
        for name, process in (("A", a), ("B", b)):
            parts[f"{name} state"] = "-" if process.at is None else self.label(process.at)
            parts[f"{name} link"] = process.link.name.lower()
            parts[f"{name} runs"] = "no" if process.stopped or process.at is None else "yes"
            parts[f"{name} call"] = process.call.name.lower()
            parts[f"{name} lease"] = str(process.lease)
            parts[f"{name} epoch"] = str(process.epoch)
            parts[f"{name} abandoned call"] = process.stray.call if process.stray else "none"
        parts["store owner"] = OWNERS[store.owner]
        parts["store epoch"] = str(store.known)
        parts["store expiry"] = str(store.expiry)
        parts["store quarantine"] = str(store.quarantine)
        if self.around.tool:
            session = OWNERS[store.session] if store.connected else "none"
            parts["tool session"] = session
            parts["tool bytes on their way"] = "yes" if store.wire else "no"
        return parts


def _said(answer: Call) -> str:
    return "done" if answer is Call.NONE else answer.name.lower()


def _rank(epoch: int) -> int:
    """The rank of an epoch when a newer one was given."""
    if epoch == WHATEVER:
        return WHATEVER
    return OLD if epoch in (OLD, OLDEST) else epoch + 1


def _aged(process: Process) -> Process:
    stray = process.stray
    return process._replace(
        epoch=_rank(process.epoch),
        stray=None if stray is None else stray._replace(epoch=_rank(stray.epoch)),
    )


def _store_aged(store: Store) -> Store:
    return store._replace(known=_rank(store.known), seen=_rank(store.seen))
