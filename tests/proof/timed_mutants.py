"""Faults that only time can show: each makes a bound longer, or a dial too early.

Without clocks, all of them pass: the same things happen in the same order, only later or sooner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from statecharts.declare import Chart, Start
from statecharts.explore.moves import Move
from statecharts.hsms.active import ACTIVE
from statecharts.hsms.linktest import LINKTEST
from statecharts.hsms.timers import LINKTEST_INTERVAL, T5

from .binding import Bind, machine, with_chart
from .bounds import Case, recovery
from .model import End
from .timed import ATTEMPT, Durations, TimedEnd, TimedSide
from .timed_searches import WITHIN, Found, TimedSearch, longest_within

# Each timer decides one bound of one of these settings.
_PLAIN = Durations(
    t5=6, t6=2, t7=3, connect_timeout=2, linger=1, open_time=3, interval=4, backoff_limit=9
)
RETRIES = Case(_PLAIN)
BACKS_OFF = Case(replace(_PLAIN, backoff_factor=2), threshold=2)
OPENS = Case(replace(_PLAIN, open_time=9))
LOSES = Case(replace(_PLAIN, t5=1, open_time=6), lost_resets=True)
LOSES_T7 = Case(replace(_PLAIN, t5=1, open_time=6, t6=7, t7=2), lost_resets=True)
DESELECTS = Case(replace(_PLAIN, t5=1, open_time=1, t7=5, interval=None), deselects=True)
FAILS = Case(replace(_PLAIN, t5=9, open_time=1), lost_resets=True)
MISSES = Case(_PLAIN, linktest_threshold=2)


def _late(timer: str) -> type[TimedSide]:
    """A timer fires a tick after it is due."""

    class Late(TimedSide):
        def span(self, asked: str, end: End, setting: int) -> tuple[float, float]:
            first, last = super().span(asked, end, setting)
            return (first + 1, last + 1) if asked == timer else (first, last)

        def cap(self, clock: str, end: End) -> int:
            return super().cap(clock, end) + (clock == ATTEMPT)

    return Late


class _FromTheFailure(TimedSide):
    """T5 runs from the end of an attempt, not from its start."""

    def moved(self, timed: TimedEnd, move: Move, number: int) -> TimedEnd:
        after = super().moved(timed, move, number)
        if Start(T5) not in move.effects:
            return after
        at = self.clocks[number].index((self.side.name, ATTEMPT))
        return after._replace(ages=(*after.ages[:at], 0, *after.ages[at + 1 :]))


class _WithoutBackOff(TimedSide):
    """The failures in a row are not counted."""

    def failures(self, _end: End) -> int:
        return 0


class _NotRetimed(TimedSide):
    """A timer that runs when the settings change keeps its old deadline."""

    def configured(self, timed: TimedEnd, setting: int) -> TimedEnd:
        end = self.ends[timed.number]
        ages = list(timed.ages)
        for at, (_, clock) in enumerate(self.clocks[timed.number]):
            if clock in end.world.timers and clock != T5.id:
                old = self.span(clock, end, timed.setting)[1]
                ages[at] += int(self.span(clock, end, setting)[1] - old)
        return timed._replace(ages=tuple(ages), setting=setting)


def _counted_from_the_excuse() -> Chart:
    """The interval begins when the time of an excused probe is over."""
    states = tuple(
        replace(
            state,
            children=tuple(
                replace(
                    child,
                    children=tuple(replace(each, timer=None) for each in child.children),
                )
                for child in state.children
            ),
        )
        for state in LINKTEST.states
    )
    transitions = tuple(
        replace(on, keep=None)
        for on in LINKTEST.transitions
        if (on.event, on.source) != (LINKTEST_INTERVAL.expired, "probe_excused")
    )
    return replace(LINKTEST, states=states, transitions=transitions)


def _without_t5() -> Chart:
    """When a session is over, the next attempt begins at once."""
    transitions = tuple(
        replace(on, to="asking") if (on.source, on.to) == ("selected", "waiting") else on
        for on in ACTIVE.transitions
    )
    return replace(ACTIVE, transitions=transitions)


def _with_t6_again() -> Chart:
    """T6 starts again when the peer's Select.req or Deselect.req crosses our Select.req."""
    transitions = tuple(replace(on, keep=None) for on in ACTIVE.transitions)
    return replace(ACTIVE, transitions=transitions)


@dataclass(frozen=True, slots=True)
class TimeMutant:
    """A fault, and the question that notices it: its answer is empty, or says what is wrong."""

    fault: str
    ask: Callable[[Bind, type[TimedSide]], list[str]]
    bind: Bind = machine
    makes: type[TimedSide] = TimedSide

    def killed_by(self) -> list[str]:
        """What is noticed of the fault."""
        return self.ask(self.bind, self.makes)

    def without_fault(self) -> list[str]:
        """The same question, asked of the charts and clocks as they are."""
        return _without_fault(self.ask)


@cache
def _without_fault(ask: Callable[[Bind, type[TimedSide]], list[str]]) -> list[str]:
    """Asked once for all mutants with the same question."""
    return ask(machine, TimedSide)


@cache
def _bounds(case: Case) -> Callable[[Bind, type[TimedSide]], list[str]]:
    def ask(bind: Bind, makes: type[TimedSide]) -> list[str]:
        model = TimedSearch(case, bind=bind, makes=makes)
        found = Found(case, len(model.graph.states), model.recovery(), model.detection())
        return list(found.differences())

    return ask


def _dials(bind: Bind, makes: type[TimedSide]) -> list[str]:
    early = TimedSearch(RETRIES, bind=bind, makes=makes).early_dial()
    return [] if early is None else [f"a dial before T5 is over:\n{early}"]


def _changes(bind: Bind, makes: type[TimedSide]) -> list[str]:
    """Settings that change while the link runs: then the bound is that of the new ones."""
    shorter = replace(OPENS.durations, open_time=1, interval=2)
    model = TimedSearch(OPENS, bind=bind, makes=makes, other=(shorter,))
    found = [model.recovery(setting).ticks for setting in (0, 1)]
    wanted = [recovery(OPENS), recovery(replace(OPENS, durations=shorter))]
    return [] if found == wanted else [f"recovery: {found} ticks, not {wanted}"]


def _within(bind: Bind, _makes: type[TimedSide]) -> list[str]:
    found = [longest_within(link, timer, states, 3, bind).ticks for link, timer, states in WITHIN]
    return [
        f"{each}: {ticks} ticks" for each, ticks in zip(WITHIN, found, strict=True) if ticks != 3
    ]


TIME_MUTANTS = (
    *(
        TimeMutant(f"{timer} fires a tick late", _bounds(case), makes=_late(timer))
        for timer, case in (
            ("t5", RETRIES),
            ("open_time", OPENS),
            ("t6", LOSES),
            ("t7", LOSES_T7),
            ("t7", DESELECTS),
            ("linktest_interval", RETRIES),
            ("linktest_interval", MISSES),
            ("t6_linktest", RETRIES),
        )
    ),
    TimeMutant("T5 runs from the failure", _bounds(FAILS), makes=_FromTheFailure),
    TimeMutant("the pause does not grow", _bounds(BACKS_OFF), makes=_WithoutBackOff),
    TimeMutant("running timers are not timed again", _changes, makes=_NotRetimed),
    TimeMutant(
        "the interval counts from the excuse",
        _bounds(RETRIES),
        bind=with_chart(_counted_from_the_excuse()),
    ),
    TimeMutant("no T5 after a session", _dials, bind=with_chart(_without_t5())),
    TimeMutant("T6 starts again by a crossing", _within, bind=with_chart(_with_t6_again())),
)
