"""The longest runs, the formulas for them, and the faults that only time shows."""

from dataclasses import replace
from fractions import Fraction

import pytest

from hsms_engine import Settings
from statecharts.declare import Timer
from statecharts.explore import Graph, Kind, alone
from statecharts.explore.timed import Longest, WithClocks
from statecharts.hsms import BREAKER
from statecharts.hsms.timers import OPEN_TIME
from statecharts.machine import Machine
from tests.proof.bounds import (
    Case,
    conditions,
    detection,
    recovery,
    restart_probed,
    restart_refused,
)
from tests.proof.model import ACTIVE_SIDE
from tests.proof.timed import Durations, happenings
from tests.proof.timed_mutants import TIME_MUTANTS, TimeMutant
from tests.proof.timed_searches import (
    DEFAULTS,
    WITHIN,
    TimedSearch,
    cases,
    check,
    longest_within,
    search,
)

# A round trip is two ticks, and all timers are longer.
CLOSE = Durations(t5=4, t6=3, t7=3, connect_timeout=3, linger=1, open_time=5, delay=1)
NEAR = replace(CLOSE, t6=2, t7=2, connect_timeout=1, interval=4, delay=0)


@pytest.mark.search
def test_settings_by_chance_take_as_long_as_the_formulas_say() -> None:
    found = check(cases(3, seed=9))
    assert found.differences == ()
    assert found.cases == 3
    assert found.states > 1_000


def test_the_settings_are_the_same_for_the_same_seed_only() -> None:
    assert list(cases(5, seed=1)) == list(cases(5, seed=1)) != list(cases(5, seed=2))


@pytest.mark.parametrize("ticks", [1, 2, 3])
@pytest.mark.parametrize("timer", ["t6", "t7", "connect_timeout"])
def test_two_ends_find_each_other_when_each_timer_is_longer_than_a_round_trip(
    timer: str, ticks: int
) -> None:
    lengths = {"t6": 3, "t7": 3, "connect_timeout": 3, timer: ticks}
    case = Case(
        replace(
            CLOSE,
            t6=lengths["t6"],
            t7=lengths["t7"],
            connect_timeout=lengths["connect_timeout"],
        )
    )
    run = TimedSearch(case).recovery()
    assert all(conditions(case).values()) == (ticks > 2)
    if ticks > 2:
        assert run.ticks == recovery(case) == 5 + 6
        assert run.trace.loop is None
    else:
        assert run.ticks is None
        assert run.trace.loop is not None
        assert str(run).startswith("for ever")


def test_the_longest_run_is_there_as_data() -> None:
    run = TimedSearch(Case(CLOSE)).recovery()
    steps = happenings(run.trace)
    assert steps[-1].at == run.ticks == 11
    assert [each.at for each in steps] == sorted(each.at for each in steps)
    (dial,) = [each.at for each in steps if each.event == "open_time_expired"]
    # The dial and its answer, Select.req and Select.rsp.
    assert dial == 11 - 4
    assert [each.event for each in happenings(run.before)] == ["cut", "enable_requested", "healed"]
    assert str(run).startswith("11 ticks")


@pytest.mark.parametrize("threshold", [1, 2])
def test_ends_with_other_intervals_notice_a_silent_peer_each_in_its_own_time(
    threshold: int,
) -> None:
    case = Case(NEAR, linktest_threshold=threshold)
    other = replace(NEAR, interval=7)
    found = TimedSearch(case, passive=other).detection()
    assert found["active"].ticks == detection(NEAR, threshold) == threshold * (4 + 2)
    assert found["passive"].ticks == detection(other, threshold) == threshold * (7 + 2)


@pytest.mark.search
def test_data_that_excuses_a_probe_makes_a_silent_peer_noticed_no_later() -> None:
    found = TimedSearch(Case(NEAR, data=True)).detection()
    assert {run.ticks for run in found.values()} == {4 + 2}


def test_without_linktests_a_silent_peer_is_never_noticed() -> None:
    found = search(Case(replace(NEAR, interval=None)))
    assert {run.ticks for run in found.detection.values()} == {None}
    assert list(found.differences()) == []


def test_without_linktests_a_lost_reset_is_never_noticed() -> None:
    found = search(Case(replace(NEAR, interval=None), lost_resets=True))
    assert found.recovery.ticks is None
    assert list(found.differences()) == []


def test_a_cable_that_is_cut_again_after_one_tick_makes_no_bound_longer() -> None:
    for case in (Case(CLOSE), Case(NEAR), Case(NEAR, lost_resets=True)):
        flapping = TimedSearch(case, whole=1)
        assert flapping.recovery().ticks == recovery(case)
        for run in flapping.detection().values():
            assert run.ticks == detection(case.durations, case.linktest_threshold)


@pytest.mark.parametrize(
    "case",
    [
        Case(CLOSE),
        Case(replace(CLOSE, open_time=6, jitter=Fraction(1, 2)), threshold=2),
        Case(NEAR, lost_resets=True),
    ],
)
def test_with_ticks_half_as_long_everything_takes_twice_as_many(case: Case) -> None:
    once = search(case)
    twice = search(replace(case, durations=case.durations.scaled(2)))
    assert once.recovery.ticks is not None
    assert twice.recovery.ticks == 2 * once.recovery.ticks
    for end, run in once.detection.items():
        ticks = twice.detection[end].ticks
        assert ticks == (None if run.ticks is None else 2 * run.ticks)


def test_the_defaults_are_back_within_75_seconds_and_notice_silence_within_35() -> None:
    settings, ticks = Settings(), DEFAULTS.durations
    for name, value in {
        "t5": ticks.t5,
        "t6": ticks.t6,
        "t7": ticks.t7,
        "connect_timeout": ticks.connect_timeout,
        "linger": ticks.linger,
        "breaker_open_time": ticks.open_time,
        "linktest_interval": ticks.interval,
    }.items():
        assert value == 2 * getattr(settings, name)
    assert settings.breaker_threshold == DEFAULTS.threshold
    assert settings.linktest_threshold == DEFAULTS.linktest_threshold
    assert settings.backoff_factor == ticks.backoff_factor
    assert Fraction(settings.backoff_jitter) == pytest.approx(ticks.jitter)
    # The same in ticks ten times as long, where frames take no time, is small enough to search.
    coarse = Durations(
        t5=2,
        t6=1,
        t7=2,
        connect_timeout=2,
        linger=1,
        open_time=12,
        interval=6,
        jitter=ticks.jitter,
    )
    found = search(replace(DEFAULTS, durations=coarse))
    assert list(found.differences()) == []
    assert recovery(DEFAULTS) == 2 * 75
    assert detection(ticks, DEFAULTS.linktest_threshold) == 2 * 35


@pytest.mark.parametrize(("link", "timer", "states"), WITHIN)
def test_what_a_timer_ends_is_over_when_it_is_due_whatever_a_peer_does(
    link: str, timer: Timer, states: tuple[str, ...]
) -> None:
    assert longest_within(link, timer, states, 3).ticks == 3


@pytest.mark.parametrize("mutant", TIME_MUTANTS, ids=lambda each: each.fault)
def test_a_fault_of_time_is_noticed(mutant: TimeMutant) -> None:
    assert mutant.without_fault() == []
    assert mutant.killed_by() != []


def test_no_dial_begins_before_t5_is_over() -> None:
    assert TimedSearch(Case(CLOSE, disables=True, threshold=2)).early_dial() is None


def test_a_run_that_stops_before_its_goal_is_for_ever() -> None:
    graph = Graph(WithClocks(alone(Machine(BREAKER)), {}))
    longest = Longest(graph, frozenset(Kind))
    everywhere, nowhere = bytearray(b"\1") * len(graph.states), bytearray(len(graph.states))
    run = longest.run(everywhere, nowhere)
    assert run.ticks is None
    assert run.trace.moves == ()
    assert longest.run(nowhere, everywhere).ticks == 0


def test_what_goes_on_at_one_moment_for_ever_never_ends_unless_a_peer_may_do_that() -> None:
    graph = Graph(WithClocks(alone(Machine(BREAKER, threshold=2)), {OPEN_TIME: 3}))
    for at_once, ticks in ((False, None), (True, 3)):
        longest = Longest(graph, frozenset(), at_once=at_once)
        opened = longest.where(lambda here: "breaker_open" in here.snapshot)
        assert longest.run(opened, bytearray(not each for each in opened)).ticks == ticks
    assert "clocks" in graph.model.describe(graph.states[0])


# The defaults in ticks of five seconds, but for the breaker, which is open for a whole minute.
CRASHED = Case(
    Durations(t5=2, t6=1, t7=2, connect_timeout=2, linger=1, open_time=12, interval=6),
    threshold=5,
    crashes=(ACTIVE_SIDE,),
    cuts=False,
)
SLOWER = replace(CRASHED.durations, t6=3, t7=3, connect_timeout=3, interval=None, delay=1)


@pytest.mark.parametrize(
    ("case", "ticks"),
    [
        (CRASHED, 2),
        (replace(CRASHED, linktest_threshold=3), 3 * 2),
        (replace(CRASHED, durations=replace(CRASHED.durations, interval=None)), 2),
        (replace(CRASHED, durations=replace(SLOWER, t5=7)), 7 + 4),
    ],
)
def test_a_host_that_crashed_is_back_after_one_pause_for_each_probe(case: Case, ticks: int) -> None:
    assert TimedSearch(case).restart().ticks == restart_probed(case) == ticks


def test_a_probe_that_still_runs_when_the_next_attempt_comes_costs_another_pause() -> None:
    """T5 = T6 + 3 L: the attempt may come at the same moment as the end of the probe."""
    case = replace(CRASHED, durations=replace(SLOWER, t5=6))
    assert restart_probed(case) is None
    assert TimedSearch(case).restart().ticks == 6 + 6 + 4


def test_a_breaker_that_opens_on_the_refusals_makes_a_host_wait_for_its_open_time() -> None:
    case = replace(CRASHED, threshold=1)
    assert restart_probed(case) is None
    assert TimedSearch(case).restart().ticks == 12


@pytest.mark.parametrize("threshold", [1, 2, 5])
@pytest.mark.parametrize("misses", [1, 2, 3])
def test_where_nobody_asks_the_old_session_a_host_waits_until_it_is_noticed_to_be_dead(
    threshold: int, misses: int
) -> None:
    case = replace(CRASHED, threshold=threshold, linktest_threshold=misses, probes=False)
    assert TimedSearch(case).restart().ticks == restart_refused(case)


def test_a_host_that_crashed_never_comes_back_where_nothing_asks_the_old_session() -> None:
    durations = replace(CRASHED.durations, interval=None)
    case = replace(CRASHED, durations=durations, probes=False)
    assert restart_refused(case) is None
    run = TimedSearch(case).restart()
    assert run.ticks is None
    assert "select_rsp_refused" in {each.event for each in happenings(run.trace)}
