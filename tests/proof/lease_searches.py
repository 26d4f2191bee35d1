"""Searches of two processes and a store of leases: what holds, how long it takes, and what cannot.

``SEARCHES`` claim what must hold whatever happens. ``TAKEOVERS`` have clocks for all timers: their
longest runs must be what ``hsms_engine.lease.bounds`` says. ``LIMITS`` must find a run that breaks
a promise, because no design, or none without what is missing there, can keep it. ``FAULTS`` are
defects of the chart or of its times that the claims must notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from hsms_engine.lease.bounds import CLOCK_ERROR, handover_bound, restart_bound, takeover_bound
from statecharts.declare import Chart, On
from statecharts.explore.checking import Checker, Verdict
from statecharts.explore.graph import Graph, Trace
from statecharts.explore.moves import Kind, Move
from statecharts.explore.properties import (
    Always,
    CanAlwaysReach,
    EveryStep,
    Property,
    Sometimes,
)
from statecharts.explore.timed import Longest, LongestRun
from statecharts.hsms.lease import LEASE
from statecharts.hsms.timers import LEASE_END, OWN_DEADLINE, STORE_TIMEOUT
from statecharts.hsms.vocabulary import ReleaseLease

from .leases import (
    DEAD,
    OLD,
    SIDES,
    Design,
    Leases,
    Link,
    Process,
    State,
    Surroundings,
    holds,
    owns,
)

MANY = 3_000_000
_UNANSWERED = ("store_failed", STORE_TIMEOUT.expired)


def _side(move: Move) -> int:
    return SIDES.index(move.actor)


def _is_process(move: Move) -> bool:
    return move.actor in SIDES


def contends(process: Process) -> bool:
    """Whether a process that runs waits for the lease."""
    at = process.at
    return at is not None and not process.stopped and ("standby" in at or "acquiring" in at)


def is_gone(process: Process) -> bool:
    """Whether a process is not there, or its link was closed."""
    return process.at is None or "ended" in process.at


def claims(model: Leases) -> tuple[Property[State], ...]:
    """What holds in whatever surroundings."""

    def is_open(process: Process) -> bool:
        """It runs, and its link is not at rest; what is due happens before anything else."""
        return process.link is not Link.RESTS and not process.stopped and not model.due(process)

    def link_fits(process: Process) -> bool:
        enabled = process.at is not None and "owning" in process.at
        open_at_all = process.link is not Link.RESTS
        is_enabled = process.link is Link.ENABLED or (process.link is Link.CLOSING and enabled)
        return is_enabled == enabled and open_at_all == holds(process)

    def not_ended(before: State, move: Move, after: State) -> bool:
        side = _side(move)
        return before.processes[side].link is after.processes[side].link

    def in_time(before: State, move: Move, _after: State) -> bool:
        process = before.processes[_side(move)]
        return process.lease >= model.design.deadline - model.design.slack

    def superseded(before: State, move: Move, _after: State) -> bool:
        process = before.processes[_side(move)]
        return not holds(process) or process.epoch != 1

    return (
        Always(
            "one process has the link",
            "two processes never have bytes that they may hand to the kernel: not even one that "
            "has stopped, whose lease may be in force when it goes on",
            lambda here: not (model.may_hand(here.a) and model.may_hand(here.b)),
        ),
        Always(
            "one link is open",
            "two processes that run never have a link that is not at rest, but for one whose "
            "deadline is over and is judged before anything else",
            lambda here: not (is_open(here.a) and is_open(here.b)),
        ),
        Always(
            "enabled means owning",
            "a link is enabled exactly in owning, until its user closes it; and it is open exactly "
            "from a grant to its rest",
            lambda here: link_fits(here.a) and link_fits(here.b),
        ),
        EveryStep(
            "silence ends no link",
            "a store that fails or does not answer ends no link: the link is as it was",
            not_ended,
            lambda move: _is_process(move) and move.event in _UNANSWERED,
        ),
        EveryStep(
            "the deadline ends a link, and not before its time",
            "the own deadline is over only when the lease was asked for so long ago",
            in_time,
            lambda move: move.event == OWN_DEADLINE.expired,
        ),
        EveryStep(
            "refused means superseded",
            "an owner is refused only when a newer epoch was given: also by a store that has "
            "forgotten something",
            superseded,
            lambda move: move.event in ("lease_refused", "lease_freed"),
        ),
        Sometimes(
            "one owns and one waits",
            "A owns the link, and B waits for the lease",
            lambda here: owns(here.a) and contends(here.b),
        ),
        CanAlwaysReach(
            "an owner again",
            "from every state in which B is there and has not closed its link, it can own it",
            lambda here: owns(here.b),
            lambda here: here.b.link is not Link.CLOSING and not is_gone(here.b),
        ),
    )


def in_the_store(model: Leases) -> tuple[Property[State], ...]:
    """What holds with a store that forgets nothing."""
    return (
        Always(
            "the lease is in force",
            "while a process may hand bytes to the kernel, the store has the lease for it",
            lambda here: all(
                not model.may_hand(process)
                or (here.store.owner == side + 1 and here.store.expiry > 0)
                for side, process in enumerate(here.processes)
            ),
        ),
    )


def at_the_tool(_model: Leases) -> tuple[Property[State], ...]:
    """What the tool sees."""

    def grows(before: State, move: Move, after: State) -> bool:
        epoch, seen = after.processes[_side(move)].epoch, before.store.seen
        same = before.store.session == after.store.session
        return seen == OLD or (epoch != OLD and (epoch < seen or (same and epoch == seen)))

    return (
        EveryStep(
            "epochs grow",
            "each session at the tool has a greater epoch than all before it, or the same owner "
            "and epoch as the latest one",
            grows,
            lambda move: move.event == "gets the session",
        ),
        Sometimes(
            "the tool sees another owner",
            "B has the session, and bytes are on their way",
            lambda here: here.store.session == 2 and here.store.wire,
        ),
    )


@dataclass(frozen=True, slots=True)
class Search:
    """A search, its claims, and the number of its states. ``large``: only in the whole proof."""

    name: str
    around: Surroundings
    states: int
    more: tuple[Callable[[Leases], tuple[Property[State], ...]], ...] = ()
    large: bool = False

    def properties(self, model: Leases) -> tuple[Property[State], ...]:
        """The claims of this search."""
        return (*claims(model), *(claim for more in self.more for claim in more(model)))

    def check(self, design: Design | None = None) -> tuple[Graph[int, State], list[Verdict]]:
        """Search the states, and judge each claim."""
        model = Leases(design or Design(), self.around)
        graph = Graph(model, MANY)
        return graph, Checker(graph).check(self.properties(model))


_CALLS = Surroundings(strays=False)
_STORE, _TOOL = (in_the_store,), (in_the_store, at_the_tool)
SEARCHES = (
    Search("leases", Surroundings(), 125_936, _STORE),
    Search("leases, processes stop", replace(_CALLS, stops=True), 378_656, _STORE),
    Search("leases, users close", replace(_CALLS, closes=True), 52_684, _STORE),
    Search("leases, processes die", replace(_CALLS, crashes=True), 90_396, _STORE),
    Search("leases, store restarts", replace(_CALLS, forgets=True), 141_713),
    Search("leases, store fails over", replace(_CALLS, fails_over=True), 527_792),
    Search("leases, tool", replace(_CALLS, tool=True), 458_688, _TOOL),
    Search("leases, late and stops", Surroundings(stops=True), 2_225_664, _STORE, large=True),
    Search("leases, late and deaths", Surroundings(crashes=True), 479_576, _STORE, large=True),
    Search("leases, late and restarts", Surroundings(forgets=True), 875_608, large=True),
    Search(
        "leases, stops and restarts",
        replace(_CALLS, forgets=True, stops=True),
        2_482_132,
        large=True,
    ),
    Search(
        "leases, both losses", replace(_CALLS, forgets=True, fails_over=True), 715_474, large=True
    ),
    Search(
        "leases, tool and deaths",
        replace(_CALLS, tool=True, crashes=True, births=False),
        546_501,
        _TOOL,
        large=True,
    ),
    Search(
        "leases, tool and restarts",
        replace(_CALLS, tool=True, forgets=True),
        2_624_723,
        (at_the_tool,),
        large=True,
    ),
)


# How long it takes.

_QUIET = frozenset({Kind.USER, Kind.FAULT, Kind.REPAIR})
# Each timer is longer than a round trip, and the times are small.
SHORT = Design(
    length=8,
    end=6,
    deadline=5,
    renewal=2,
    timeout=3,
    retry=1,
    poll=2,
    delay=1,
    linger=1,
    timed=True,
)
# A lease of 10 s in ticks of half a second; the clocks are wrong by a tick for each lease.
DEFAULTS = replace(SHORT, length=20, end=18, deadline=16, renewal=5, timeout=4, poll=5)


def takes_over(here: State) -> bool:
    """A has died, and B waits for its lease."""
    return here.a.at is None and contends(here.b) and not here.store.away


def stops(here: State) -> bool:
    """A has stopped, and B waits for its lease."""
    return here.a.stopped and contends(here.b) and not here.store.away


def hands_over(here: State) -> bool:
    """The user of A has withdrawn it, its link leaves, and B waits for the lease."""
    at, link = here.a.at, here.a.link
    withdrawn = at is not None and "draining" in at and at["lease"].values == (0,)
    return withdrawn and link is Link.LEAVING and here.a.stray is None and contends(here.b)


def waits(here: State) -> bool:
    """Somebody waits for the lease, and the store answers."""
    return not here.store.away and (contends(here.a) or contends(here.b))


def _b_owns(here: State) -> bool:
    return owns(here.b)


def _one_owns(here: State) -> bool:
    return owns(here.a) or owns(here.b)


@dataclass(frozen=True, slots=True)
class Takeover:
    """How long it takes from ``begins`` to ``goal`` when nothing more happens.

    ``bound`` is in seconds, for times of the design that are in seconds. It is reached, or missed
    by the ``last`` tick: a call that comes at the very end of a lease finds it free.
    """

    begins_with: str
    around: Surroundings
    begins: Callable[[State], bool]
    goal: Callable[[State], bool]
    bound: Callable[[Design], float]
    last: int = 1

    def expected(self, design: Design) -> int:
        """What the formula says, in ticks; what the clocks are wrong by is in the design."""
        return round(self.bound(design) * (1 - CLOCK_ERROR)) - self.last

    def search(self, design: Design) -> tuple[int, LongestRun]:
        """The number of states, and the longest run."""
        graph = Graph(Leases(design, self.around), MANY)
        longest = Longest(graph, _QUIET)
        run = longest.run(longest.where(self.begins), longest.where(self.goal))
        return len(graph.states), run


TAKEOVERS = (
    Takeover(
        "the death of an owner",
        Surroundings(crashes=True, births=False),
        takes_over,
        _b_owns,
        lambda each: takeover_bound(each.length, each.poll, each.delay),
    ),
    Takeover(
        "the withdrawal of an owner",
        _CALLS,
        hands_over,
        _b_owns,
        lambda each: handover_bound(each.poll, each.delay, each.linger),
        last=0,
    ),
    Takeover(
        "whatever was before, with a store that has forgotten nothing,",
        Surroundings(crashes=True, births=False),
        waits,
        _one_owns,
        lambda each: takeover_bound(each.length, each.poll, each.delay),
    ),
    Takeover(
        "a restart of the store without its data",
        replace(_CALLS, forgets=True, loses=True),
        waits,
        _one_owns,
        lambda each: restart_bound(each.length, each.poll, each.delay, each.timeout),
    ),
)
# What the whole proof measures. The search of a restart is too large for the defaults.
LONGEST = (
    *((each, DEFAULTS) for each in TAKEOVERS[:2]),
    *((each, SHORT) for each in TAKEOVERS[2:]),
)
# Neither takes longer than ``takeover_bound``.
OTHERS = (
    replace(
        TAKEOVERS[0],
        begins_with="the stop of an owner that does not go on",
        around=replace(_CALLS, stops=True),
        begins=stops,
    ),
    replace(
        TAKEOVERS[2],
        begins_with="a store that is back",
        around=replace(_CALLS, goes_away=True),
    ),
)


def conditions(design: Design) -> dict[str, bool]:
    """What must be so for a lease to be had at all: an answer comes before nobody waits for it."""
    round_trip = 2 * design.delay
    return {
        "store timeout > 2 delays": design.timeout > round_trip,
        "own deadline > 2 delays": design.deadline - design.slack > round_trip,
    }


# What cannot be.

Wrong = Callable[[Leases, State, Move, State], bool]


@dataclass(frozen=True, slots=True)
class Limit:
    """A promise that cannot be kept, and why; ``wrong`` is the move that breaks it."""

    name: str
    says: str
    design: Design
    around: Surroundings
    wrong: Wrong

    def counterexample(self) -> Trace | None:
        """A shortest run that breaks the promise."""
        return first(Leases(self.design, self.around), self.wrong)


def first(model: Leases, wrong: Wrong) -> Trace | None:
    """A shortest run that ends with a wrong move, without a search of all the rest."""
    (start,) = model.initial
    parents: dict[int, tuple[int, int]] = {start: (-1, -1)}
    queue = [start]
    for state in queue:
        before = model.view(state)
        for move, target in model.actions(state):
            if wrong(model, before, model.moves[move], model.view(target)):
                return _along(model, parents, state, (move, target))
            if target not in parents:
                parents[target] = (move, state)
                queue.append(target)
    return None


def _along(
    model: Leases, parents: dict[int, tuple[int, int]], state: int, last: tuple[int, int]
) -> Trace:
    steps = [last]
    while (parent := parents[state])[1] >= 0:
        steps.append((parent[0], state))
        state = parent[1]
    steps.reverse()
    return Trace(
        tuple(model.moves[move] for move, _ in steps),
        tuple(model.describe(each) for each in (state, *(target for _, target in steps))),
    )


def _other_owns(here: State, side: int) -> bool:
    other = here.processes[1 - side]
    return other.link is Link.ENABLED


def _late_bytes(_model: Leases, before: State, move: Move, _after: State) -> bool:
    side = _side(move) if move.event == "hands over bytes" else None
    return side is not None and before.store.owner == 2 - side and _other_owns(before, side)


def _late_at_the_tool(_model: Leases, before: State, move: Move, _after: State) -> bool:
    session = before.store.session
    return move.event == "takes bytes" and session != DEAD and _other_owns(before, session - 1)


def _two_links(model: Leases, _before: State, _move: Move, after: State) -> bool:
    return model.may_hand(after.a) and model.may_hand(after.b)


def _same_epoch(_model: Leases, before: State, move: Move, after: State) -> bool:
    return (
        move.event == "gets the session"
        and before.store.session not in (0, after.store.session)
        and before.store.seen != OLD
        and not 0 < after.store.seen < before.store.seen
    )


LIMITS = (
    Limit(
        "A process stops between the look and the send",
        "The end of the lease is looked at right before bytes are handed to the kernel. A process "
        "that stops exactly between the two, for longer than its lease, hands them over when it "
        "goes on. No program can close this window: it has no way to make the two one. What comes "
        "of it at a tool is small: A's session ends with the very next thing that A does, and a "
        "tool that has noticed the end of A's session takes no byte of it.",
        Design(at_once=False),
        replace(_CALLS, stops=True),
        _late_bytes,
    ),
    Limit(
        "Bytes are in the kernel already, or on their way",
        "What was handed over in time may reach the tool late: the network was slow, or TCP had to "
        "repeat. A reset drops what the kernel still has, but not what is on its way. So a tool "
        "may act on a message of A while B is the owner already, until the tool has noticed the "
        "end of A's session. It never does so after its first message from B.",
        Design(),
        replace(_CALLS, tool=True),
        _late_at_the_tool,
    ),
    Limit(
        "A store with two masters",
        "A network split leaves A with the old master, and B with a replica that became the new "
        "one. Both give the lease: the old one to A, which renews it there, the new one to B, when "
        "its quarantine is over. Nothing in a process can notice this. Let the store not answer "
        "where it reaches no replica (`min-replicas-to-write` and `min-replicas-max-lag` of "
        "Redis and Valkey) before a fail-over makes a master of one: A's renewals fail then, and "
        "its deadline ends its link before the quarantine is over.",
        Design(),
        replace(_CALLS, splits=True),
        _two_links,
    ),
    Limit(
        "Without a quarantine: a store that restarts without its data",
        "The design without the quarantine. The store has forgotten that A has the lease, and "
        "gives it to B at once.",
        Design(quarantine="never"),
        replace(_CALLS, forgets=True),
        _two_links,
    ),
    Limit(
        "Without the marker of the incarnation: a replica that lacks the last grant",
        "The design with a quarantine only where all data are missing. A replica has data, but not "
        "the latest: it does not know that A has the lease.",
        Design(quarantine="lost data"),
        replace(_CALLS, fails_over=True),
        _two_links,
    ),
    Limit(
        "Epochs that are only counted: a store that restarts without its data",
        "The design in which the next epoch is the known one plus one, always. Nobody had a lease "
        "twice, but an epoch was given twice, so that the tool, or who reads its messages, cannot "
        "tell an earlier owner from a later one. So after a restart epochs must begin above all "
        "that may have been given: with the time of the store's clock, for example.",
        Design(jumps=False),
        replace(_CALLS, tool=True, forgets=True),
        _same_epoch,
    ),
    Limit(
        "A lease that is given back by its owner's name",
        "The design in which a process that was not answered gives back whatever it has, without "
        "an epoch. A call may be done late: here A has got the lease again, and is still its "
        "owner, when the store does what A had asked for before. So a lease is given back by its "
        "epoch, and one that was granted without an answer runs out.",
        Design(by_name=True),
        _CALLS,
        _two_links,
    ),
)


# Faults that the claims must notice.


def _changed(change: Callable[[On], On]) -> Chart:
    return replace(LEASE, transitions=tuple(change(each) for each in LEASE.transitions))


def _released_early(on: On) -> On:
    is_end = on.event == OWN_DEADLINE.expired
    return replace(on, to="standby", do=(*on.do, ReleaseLease())) if is_end else on


def _failing_ends(on: On) -> On:
    is_doubt = (on.event, on.source) == ("store_failed", "renewing")
    lost = next(each for each in LEASE.transitions if "lease/lost" in each.clauses)
    return replace(on, to="draining", do=lost.do) if is_doubt else on


def _not_cut(on: On) -> On:
    return replace(on, do=()) if on.event == LEASE_END.expired else on


def _without_deadline() -> Chart:
    transitions = (each for each in LEASE.transitions if each.event != OWN_DEADLINE.expired)
    states = (replace(each, timer=None) if each.id == "owning" else each for each in LEASE.states)
    return replace(LEASE, transitions=tuple(transitions), states=tuple(states))


@dataclass(frozen=True, slots=True)
class Fault:
    """A defect of the chart or of its times."""

    name: str
    design: Design

    def noticed_by(self) -> Iterator[str]:
        """The claims that do not hold."""
        _, verdicts = Search(self.name, _CALLS, 0, (in_the_store,)).check(self.design)
        return (each.name for each in verdicts if each.trace is not None)


FAULTS = (
    Fault("no margin for the rates of the clocks", Design(end=4)),
    Fault("the lease is counted from the answer", Design(from_request=False)),
    Fault("the lease is given back before the link rests", Design(chart=_changed(_released_early))),
    Fault("a link that is stuck is not cut", Design(chart=_changed(_not_cut))),
    Fault("no own deadline", Design(chart=_without_deadline())),
    Fault("a store that fails ends the link", Design(chart=_changed(_failing_ends))),
)
