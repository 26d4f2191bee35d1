"""Searches with clocks, and random settings: the longest runs must be what ``bounds`` says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random
from typing import NamedTuple

from statecharts.declare import Timer
from statecharts.explore.graph import Graph, Trace
from statecharts.explore.moves import Kind
from statecharts.explore.pair import Both
from statecharts.explore.timed import Longest, LongestRun, WithClocks
from statecharts.hsms.timers import CONNECT_TIMEOUT, LINGER, OPEN_TIME, T6, T6_LINKTEST, T7
from statecharts.hsms.vocabulary import OpenTcp

from .binding import Bind, machine
from .bounds import Case, detection, recovery
from .model import CUT, Scenario, sides
from .searches import LINKS_WITHOUT_TRAFFIC
from .timed import ATTEMPT, Durations, TimedEnd, TimedSide, timed_ends

# In these states nobody wants a connection.
UNWANTED = ("idle", "resting", "disabling", "closing", "closed")
# The most states of one search: about three minutes.
MANY = 1_000_000

MakesSide = Callable[..., TimedSide]


@dataclass(frozen=True, slots=True)
class Found:
    """What a search of ``case`` found. ``detection`` has one run for each end."""

    case: Case
    states: int
    recovery: LongestRun
    detection: dict[str, LongestRun]

    def differences(self) -> Iterator[str]:
        """Where the formulas say something else."""
        wanted = recovery(self.case)
        if self.recovery.ticks != wanted:
            yield f"recovery: {self.recovery.ticks} ticks, the formula says {wanted}: {self.case}"
        wanted = detection(self.case.durations, self.case.linktest_threshold)
        for end, run in self.detection.items():
            if run.ticks != wanted:
                yield f"{end} notices: {run.ticks} ticks, the formula says {wanted}: {self.case}"


class TimedSearch:
    """All states that two ends with clocks can reach, and the longest runs from them.

    ``other``: durations to which ``configure`` changes and back. ``passive``: durations of the
    listening end that are not those of the case. ``whole``: see ``timed_ends``.
    ``makes``: the class of both ends, for mutants of the clocks.
    """

    def __init__(
        self,
        case: Case,
        *,
        bind: Bind = machine,
        makes: MakesSide = TimedSide,
        other: tuple[Durations, ...] = (),
        passive: Durations | None = None,
        whole: int | None = None,
        limit: int = MANY,
    ) -> None:
        disable = ("disable_requested",) if case.disables else ()
        session = ("select_requested", "deselect_requested") if case.deselects else ()
        scenario = Scenario(
            ("enable_requested", *disable, *session),
            ("deselect_requested",) if case.deselects else (),
            case.data,
            cable=case.cuts,
            failures=case.cuts,
            lost_resets=case.lost_resets,
            threshold=case.threshold,
            linktest_threshold=case.linktest_threshold,
            crashes=case.crashes,
            probes=int(case.probes),
        )
        dials, listens = sides(scenario, bind)
        self.active = makes(
            replace(dials, scenario=replace(scenario, lost_resets=False)), case.durations, *other
        )
        self.passive = makes(listens, passive or case.durations, *other)
        if whole is None:
            whole = 2 * max(each.delay for each in self.active.durations) + 2
        self.graph = Graph(timed_ends(self.active, self.passive, whole, cuts=case.cuts), limit)

    def recovery(self, setting: int = 0) -> LongestRun:
        """The longest run to both ends SELECTED, from where somebody wants a connection.

        Only from states with these durations in force at both ends, by their number.
        """
        longest = Longest(self.graph, frozenset({Kind.USER, Kind.FAULT}))
        left = _selected(self.active)
        right = _selected(self.passive)
        wanted = [not any(each in end.snapshot for each in UNWANTED) for end in self.active.ends]

        def begins(here: Both[TimedEnd]) -> bool:
            return (
                here.shared != CUT
                and wanted[here.left.number]
                and here.left.setting == here.right.setting == setting
            )

        selected = longest.where(lambda here: left[here.left.number] and right[here.right.number])
        return longest.run(longest.where(begins), longest.staying(selected))

    def detection(self) -> dict[str, LongestRun]:
        """For each end, the longest run to the end of SELECTED on a cable that stays cut."""
        longest = Longest(self.graph, frozenset({Kind.USER, Kind.FAULT, Kind.REPAIR}))
        left, right = _selected(self.active), _selected(self.passive)
        cut = longest.where(lambda here: here.shared == CUT)
        runs = {}
        for name, selected in (
            ("active", longest.where(lambda here: left[here.left.number])),
            ("passive", longest.where(lambda here: right[here.right.number])),
        ):
            begins = bytearray(map(int.__and__, cut, selected))
            runs[name] = longest.run(begins, bytearray(not each for each in selected))
        return runs

    def restart(self) -> LongestRun:
        """The longest run of a host that crashed while both ends were SELECTED, and nothing else.

        Nothing was on its way, and no other host had asked for the session. From when its
        program starts again, at once or later, to both ends SELECTED for good.
        """
        graph, moves = self.graph, self.graph.model.moves
        longest = Longest(graph, frozenset({Kind.USER, Kind.FAULT}))
        left, right = _selected(self.active), _selected(self.passive)
        both = longest.where(lambda here: left[here.left.number] and right[here.right.number])
        goal = longest.staying(both)

        def after(states: Iterable[int], event: str) -> Iterator[int]:
            for state in states:
                for move, target in graph.edges(state):
                    if moves[move].event == event:
                        yield target

        def quiet(here: Both[TimedEnd]) -> bool:
            end = self.passive.ends[here.right.number]
            is_alone = end.ghost is None and "unasked" in end.snapshot
            return is_alone and not here.left.left and not here.right.left

        settled = [
            number
            for number, here in enumerate(map(int.__and__, goal, longest.where(quiet)))
            if here
        ]
        crashed = list(dict.fromkeys(after(settled, "crashed")))
        known = set(crashed)
        for state in crashed:
            for _, target in longest.edges(state):
                if target not in known:
                    known.add(target)
                    crashed.append(target)
        begins = bytearray(len(goal))
        for state in after(crashed, "enable_requested"):
            begins[state] = True
        return longest.run(begins, goal)

    def early_dial(self) -> Trace | None:
        """A shortest way to a dial that begins before T5 is over since the one before; or None."""
        graph, active = self.graph, self.active
        moves = [OpenTcp() in move.effects for move in graph.model.moves]
        for number, state in enumerate(graph.states):
            if any(moves[move] for move, _ in graph.edges(number)):
                end = graph.model.view(state).left
                if active.age(end, ATTEMPT) < active.durations[end.setting].t5:
                    return graph.trace(number)
        return None


def _selected(side: TimedSide) -> list[bool]:
    return ["selected" in end.snapshot for end in side.ends]


def search(case: Case, limit: int = MANY) -> Found:
    """Search the model of ``case``, and find its longest runs."""
    found = TimedSearch(case, limit=limit)
    return Found(case, len(found.graph.states), found.recovery(), found.detection())


class Checked(NamedTuple):
    """What searches of several cases found: the states of all, and where a formula is wrong."""

    cases: int
    unbounded: int
    states: int
    differences: tuple[str, ...]


def check(tried: Iterable[Case]) -> Checked:
    """Search each case, and compare its longest runs with the formulas."""
    found = [search(case) for case in tried]
    return Checked(
        len(found),
        sum(each.recovery.ticks is None for each in found),
        sum(each.states for each in found),
        tuple(difference for each in found for difference in each.differences()),
    )


# What one end does within a timer whatever its peer and its users do and whenever: the search (by
# name), the timer, and the states that are over when the timer is.
WITHIN = (
    ("dialling end", T6, ("selecting", "reselecting", "select_unanswered")),
    ("dialling end", T6, ("deselecting", "deselect_unanswered")),
    ("listening end", T6, ("deselecting", "deselect_unanswered")),
    ("dialling end", T7, ("not_selected",)),
    ("listening end", T7, ("not_selected",)),
    ("dialling end", T6_LINKTEST, ("probe_unanswered",)),
    ("listening end", T6_LINKTEST, ("probe_unanswered",)),
    ("dialling end", LINGER, ("leaving",)),
    ("listening end", LINGER, ("leaving",)),
    ("dialling end", CONNECT_TIMEOUT, ("connecting",)),
    ("dialling end", OPEN_TIME, ("breaker_open",)),
)


def longest_within(
    link: str, timer: Timer, states: tuple[str, ...], ticks: int, bind: Bind = machine
) -> LongestRun:
    """The longest that one end can be in ``states`` without leaving them."""
    search = next(each for each in LINKS_WITHOUT_TRAFFIC if each.name == link)
    graph = Graph(WithClocks(search.model(bind), {timer: ticks}))
    longest = Longest(graph, frozenset(), at_once=True)
    inside = longest.where(lambda here: any(state in here.snapshot for state in states))
    return longest.run(inside, bytearray(not each for each in inside))


def cases(count: int, seed: int) -> Iterator[Case]:
    """So many random settings; the same for the same seed.

    They are small, because the search counts every tick. In some a timer may be as short as a round
    trip, and then there is no bound.
    """
    random = Random(seed)
    return (_case(random) for _ in range(count))


def _case(random: Random) -> Case:
    deselects = random.randrange(5) == 0
    delay = random.choice((0, 0, 0, 1) if deselects else (0, 0, 0, 1, 1, 2))
    round_trip = 2 * delay
    is_short = delay > 0 and random.randrange(4) == 0
    tests = delay < 2 and not deselects and random.randrange(5) > 0

    def timer(more: int) -> int:
        return random.randint(
            *((1, round_trip + 1) if is_short else (round_trip + 1, round_trip + more))
        )

    return Case(
        Durations(
            t5=random.randint(1, 8),
            t6=timer(2 if deselects else 4),
            t7=timer(3 if deselects else 5),
            connect_timeout=timer(4),
            linger=random.randint(1, 2),
            open_time=random.randint(1, 10),
            interval=random.randint(round_trip + 1, 9) if tests else None,
            delay=delay,
            slot=0 if deselects else random.choice((0, 0, 0, 1, 2)),
            backoff_factor=random.choice((1, 1, 2, 3)),
            backoff_limit=random.randint(0, 12),
            jitter=random.choice((Fraction(0), Fraction(0), Fraction(1, 2))),
        ),
        threshold=random.choice((1, 1, 2, 3)),
        linktest_threshold=1 if delay else random.choice((1, 1, 2)),
        disables=not tests and not deselects and random.randrange(2) == 0,
        deselects=deselects,
        lost_resets=tests and random.randrange(2) == 0,
    )


# The default settings in ticks of half a second; a frame is on its way for a tick at most.
DEFAULTS = Case(
    Durations(
        t5=20,
        t6=10,
        t7=20,
        connect_timeout=20,
        linger=1,
        open_time=120,
        interval=60,
        delay=1,
        jitter=Fraction(1, 5),
    ),
    threshold=5,
)
