"""How long a link takes to come back: the bounds, and two real drivers that take as long.

``tests/proof/timed_searches.py`` proves the formulas for two ends; here the machine meets them.
"""

from __future__ import annotations

import math
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from hsms_engine import Settings, bounds
from hsms_engine.bounds import Bound
from hsms_engine.settings import warn_who_listens
from hsms_engine.worst import Run, worst_run
from tests.proof.bounds import Case, restart_probed, restart_refused
from tests.proof.bounds import detection as proved_detection
from tests.proof.bounds import recovery as proved_recovery
from tests.proof.timed import Durations

# What floats of the clock may be wrong by, and the moments that are "just before".
ROUNDING = 1e-5
DELAY = 0.05


def settings(**changes: Any) -> Settings:
    return Settings(allow_short_timers=True, **changes)


def named(name: str, given: Settings, delay: float = DELAY) -> Bound:
    (bound,) = (each for each in bounds.table(given, delay) if each.name == name)
    return bound


def terms(bound: Bound) -> dict[str, float]:
    return {each.name: round(each.seconds, 9) for each in bound.terms}


NAMES = [each.name for each in bounds.table(Settings())]
DEFAULTS = {
    "recovery": 84.4,
    "opened breaker": 72.2,
    "enabled again": 12.2,
    "crashed host": 12.2,
    "crashed equipment while the host is idle": 35.2,
    "crashed equipment while a request is open": 80.2,
    "crashed equipment while sending": 60.2,
    "silence": 35,
    "silence while a request is open": 80,
    "silence while sending": 60,
}


def test_the_bounds_of_the_default_settings() -> None:
    found = {each.name: each.seconds for each in bounds.table(Settings())}
    assert found == pytest.approx(DEFAULTS)


def test_a_bound_is_the_sum_of_its_terms_and_settings_give_it() -> None:
    recovery = Settings().recovery_bound()
    assert [round(each.seconds, 9) for each in recovery.terms] == [12, 0.2, 72, 0.2]
    assert float(recovery) == sum(each.seconds for each in recovery.terms)
    assert Settings().recovery_bound(1.0).seconds == pytest.approx(92)
    assert Settings().recovery_bound(slot_wait=2.0).seconds == pytest.approx(86.4)
    silence = Settings().detection_bound()
    assert terms(silence) == {"linktest interval": 30, "T6": 5}
    assert Settings().detection_bound(request_open=True, sending=True).seconds == 105


# Settings for which another way is the longest, or a loop of the formulas turns.
CASES: dict[str, tuple[dict[str, Any], float]] = {
    "the defaults": ({}, DELAY),
    "a slow network": ({}, 0.9),
    "no delay": ({}, 0.0),
    "more probes": ({"linktest_threshold": 3}, DELAY),
    "T7 before T6": ({"t6": 9, "t7": 4, "breaker_open_time": 1}, DELAY),
    "a long T6": ({"t6": 41, "t7": 4, "breaker_open_time": 1, "linktest_interval": 1}, 0.0),
    "a long T7": ({"t7": 100}, DELAY),
    "a long interval": ({"linktest_interval": 200}, DELAY),
    "back-off": ({"backoff_factor": 3.0, "breaker_open_time": 1}, DELAY),
    "a limited back-off": ({"backoff_factor": 3.0, "backoff_limit": 50}, DELAY),
    "the first failure opens": ({"breaker_threshold": 1}, DELAY),
    "the first failure opens, and three probes": (
        {"breaker_threshold": 1, "linktest_threshold": 3},
        DELAY,
    ),
    "a refusal opens": ({"breaker_threshold": 3, "t6": 2}, DELAY),
    "a refusal opens for long": (
        {"breaker_threshold": 3, "linktest_threshold": 3, "breaker_open_time": 600},
        DELAY,
    ),
    "refuse": ({"second_host": "refuse"}, 0.0),
    "refuse without jitter": ({"second_host": "refuse", "backoff_jitter": 0.0}, 0.0),
    "refuse, and a refusal opens": ({"second_host": "refuse", "breaker_threshold": 2}, 0.0),
    "refuse, and a refusal opens for a short time": (
        {"second_host": "refuse", "breaker_threshold": 2, "breaker_open_time": 1, "t5": 11},
        0.0,
    ),
    "probes slower than attempts": ({"t5": 2, "t6": 9, "backoff_jitter": 1.0}, 0.0),
    "a long linger": ({"linger": 10, "t5": 1}, DELAY),
    "a short write timeout": ({"write_timeout": 1}, DELAY),
    "T3 before the probe": ({"breaker_open_time": 1}, DELAY),
    "T3 before the probe, and three probes": (
        {"breaker_open_time": 1, "linktest_threshold": 3, "t3": 36},
        DELAY,
    ),
    "T3 before the probe, and a refusal opens": ({"breaker_open_time": 41}, DELAY),
    "T3 before the probe, refuse": ({"second_host": "refuse", "breaker_open_time": 1}, 0.0),
    "T5 longer than the life of an old session": ({"t5": 60}, DELAY),
    "a short interval": (
        {"t3": 1, "t5": 1, "t6": 9, "t7": 2, "breaker_open_time": 1, "linktest_interval": 2},
        DELAY,
    ),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_two_real_ends_take_as_long_as_each_bound(case: str, name: str) -> None:
    changes, delay = CASES[case]
    given = settings(**changes)
    bound = named(name, given, delay)
    run = worst_run(bound, given, delay)
    if name == "recovery" and {"attempt", "attempts"} & {term.name for term in bound.terms}:
        # When the attempts of the host fall is not for this run to choose.
        assert run.seconds <= bound.seconds + ROUNDING
    else:
        assert run.seconds == pytest.approx(bound.seconds, abs=ROUNDING)


def chosen(random: Random) -> Settings:
    return settings(
        t3=random.choice((1, 3, 45)),
        t5=random.choice((0.5, 1, 2, 5, 10, 20)),
        t6=random.choice((0.5, 1, 2, 5, 12)),
        t7=random.choice((1, 2, 5, 10)),
        connect_timeout=random.choice((1, 10)),
        linger=random.choice((0.5, 3, 10)),
        linktest_interval=random.choice((0.5, 1, 5, 30)),
        linktest_threshold=random.choice((1, 1, 2, 3)),
        breaker_threshold=random.choice((1, 2, 3, 5)),
        breaker_open_time=random.choice((0.5, 3, 20, 60)),
        backoff_factor=random.choice((1.0, 1.0, 2.0)),
        backoff_limit=random.choice((0, 8, 240)),
        backoff_jitter=random.choice((0.0, 0.0, 0.2, 1.0)),
        second_host=random.choice(("probe", "refuse")),
        write_timeout=random.choice((1, 30)),
    )


@pytest.mark.parametrize("seed", range(8))
def test_no_run_is_longer_than_its_bound_whatever_the_settings(seed: int) -> None:
    random = Random(seed)
    given, delay = chosen(random), random.choice((0.0, 0.05))
    for bound in bounds.table(given, delay):
        run = worst_run(bound, given, delay)
        assert run.seconds <= bound.seconds + ROUNDING, bound.name
        # Only where an old session refuses attempts is a bound not always reached.
        may_be_less = any("refused" in term.why for term in bound.terms)
        assert may_be_less or run.seconds == pytest.approx(bound.seconds, abs=ROUNDING), bound.name


def of_case(case: Case, **changes: Any) -> Settings:
    """The settings of a case of the searches; a tick is a second."""
    durations = case.durations
    return settings(
        **{name: getattr(durations, name) for name in ("t5", "t6", "t7", "connect_timeout")},
        # No request is open in the searches.
        t3=0.001,
        breaker_open_time=durations.open_time,
        breaker_threshold=case.threshold,
        linktest_interval=durations.interval,
        linktest_threshold=case.linktest_threshold,
        backoff_factor=float(durations.backoff_factor),
        backoff_limit=durations.backoff_limit,
        backoff_jitter=float(durations.jitter),
        **changes,
    )


@pytest.mark.parametrize("seed", range(200))
def test_the_formulas_are_those_that_are_proved(seed: int) -> None:
    random = Random(seed)
    delay = random.choice((0, 1, 2))
    durations = Durations(
        t5=2 * random.randint(1, 9),
        t6=random.randint(1, 9),
        t7=random.randint(1, 9),
        connect_timeout=random.randint(1, 9),
        linger=1,
        open_time=2 * random.randint(1, 9),
        interval=random.choice((None, *range(1, 20))),
        delay=delay,
        slot=random.choice((0, 3)),
        backoff_factor=random.choice((1, 2)),
        backoff_limit=2 * random.randint(0, 20),
        jitter=random.choice((Fraction(0), Fraction(1, 2))),
    )
    probes, failures = random.choice((1, 2)), random.choice((1, 1, 2, 3))
    case = Case(durations, failures, probes, deselects=True, lost_resets=True)
    given = of_case(case)
    proved = proved_recovery(case)
    # Proved without the old session that the listening end alone has.
    wanted = math.inf if proved is None else proved
    bound = bounds.recovery(given, delay, durations.slot)
    is_refused = any("refused" in term.why for term in bound.terms)
    assert bound.seconds >= wanted if is_refused else bound.seconds == wanted
    noticed = proved_detection(durations, probes)
    assert given.detection_bound().seconds == (math.inf if noticed is None else noticed)


@pytest.mark.parametrize("seed", range(200))
def test_the_formulas_for_a_host_that_crashed_are_those_that_are_proved(seed: int) -> None:
    random = Random(seed)
    interval = random.randint(1, 40)
    durations = Durations(
        t5=2 * random.randint(1, 9),
        t6=random.randint(1, 9),
        t7=9,
        connect_timeout=9,
        linger=1,
        open_time=2 * random.randint(1, 30),
        interval=interval,
        backoff_factor=random.choice((1, 2)),
        backoff_limit=2 * random.randint(0, 20),
    )
    case = Case(durations, random.choice((1, 2, 3, 5)), random.choice((1, 2, 3)))
    refused = bounds.crashed_host(of_case(case, second_host="refuse"), 0.0)
    assert refused.seconds == restart_refused(case)
    probed = bounds.crashed_host(of_case(case, second_host="probe"), 0.0)
    proved = restart_probed(case)
    if proved is not None and interval >= durations.t5:
        assert probed.seconds == proved


# Never


@pytest.mark.parametrize("setting", ["connect_timeout", "t6", "t7"])
def test_without_a_condition_two_real_ends_miss_each_other_for_ever(setting: str) -> None:
    given, delay = settings(t5=1.5, **{setting: 1.1}), 0.6
    bound = given.recovery_bound(delay)
    assert bound.seconds == math.inf
    (broken,) = (each for each in bound.conditions if not each.holds)
    assert (broken.setting, broken.seconds, broken.least) == (setting, 1.1, 1.2)
    run = worst_run(named("opened breaker", given, delay), given, delay)
    assert run.seconds == math.inf
    assert attempts(run) > 5
    longer = settings(t5=1.5, **{setting: 1.3})
    assert worst_run(named("opened breaker", longer, delay), longer, delay).seconds < math.inf


def attempts(run: Run) -> int:
    return sum("Connecting" in step.note for step in run.steps)


@pytest.mark.parametrize("setting", ["connect_timeout", "t6", "t7"])
def test_a_timer_as_long_as_a_round_trip_is_too_short(setting: str) -> None:
    given = settings(**{setting: 1})
    assert given.recovery_bound(0.5).seconds == math.inf
    assert given.recovery_bound(0.499).seconds < math.inf


def test_without_linktests_a_silent_link_is_never_noticed() -> None:
    given = settings(linktest_interval=None)
    bound = given.detection_bound()
    assert bound.seconds == math.inf
    assert "set linktest_interval" in bound.terms[0].why
    assert worst_run(bound, given, DELAY).seconds == math.inf
    assert given.recovery_bound().seconds == math.inf
    assert worst_run(named("recovery", given), given, DELAY).seconds == math.inf


def test_a_program_that_asks_and_sends_at_once_has_a_bound_for_both() -> None:
    both = Settings(linktest_threshold=2).detection_bound(request_open=True, sending=True)
    assert both.name == "silence while a request is open and sending"
    assert both.seconds == 2 * (30 + 5 + 45) + 25


def test_without_linktests_a_host_that_crashed_comes_back_because_it_asks() -> None:
    given = settings(linktest_interval=None)
    bound = named("crashed host", given)
    assert bound.seconds == pytest.approx(12.2)
    assert worst_run(bound, given, DELAY).seconds == pytest.approx(bound.seconds)


def test_without_linktests_and_probes_a_host_that_crashed_is_refused_for_ever_as_warned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hsms_engine.settings._warned", set())
    given = settings(linktest_interval=None, second_host="refuse")
    with pytest.warns(UserWarning, match="it is refused with Select.rsp 3, for ever"):
        warn_who_listens(given)
    bound = named("crashed host", given)
    assert bound.seconds == math.inf
    assert "set linktest_interval or second_host" in bound.terms[0].why
    run = worst_run(bound, given, DELAY)
    assert run.seconds == math.inf
    refusals = [step.label for step in run.steps if step.label.endswith("Select.rsp 3")]
    assert len(refusals) > 5


@pytest.mark.parametrize("delay", [-0.1, math.nan, math.inf])
def test_a_delay_is_a_number_of_seconds(delay: float) -> None:
    with pytest.raises(ValueError, match=r"one_way_delay=.* is not a number of seconds from 0 on"):
        Settings().recovery_bound(delay)
    with pytest.raises(ValueError, match=r"slot_wait=.* is not a number of seconds from 0 on"):
        Settings().recovery_bound(slot_wait=delay)


def test_a_host_that_crashed_is_back_at_its_second_attempt_and_its_breaker_sees_one_refusal() -> (
    None
):
    given = settings(backoff_jitter=0.0)
    run = worst_run(named("crashed host", given), given, DELAY)
    assert run.seconds == pytest.approx(given.t5 + 4 * DELAY)
    assert sum(step.label.endswith("Select.rsp 3") for step in run.steps) == 1


def test_a_request_that_the_equipment_has_open_costs_a_refusal_that_opens_the_breaker() -> None:
    """The old session lives for T3, and then the fifth attempt may come within that time."""
    given = Settings()
    run = worst_run(given.recovery_bound(), given, DELAY)
    assert run.seconds == pytest.approx(12 + 4 * DELAY + 72 + 4 * DELAY)
    assert given.replace(t3=30).recovery_bound().seconds == pytest.approx(5 + 72 + 4 * DELAY)


def test_refusals_that_open_a_breaker_for_600_s_cost_620_s() -> None:
    given = settings(
        second_host="refuse", breaker_threshold=3, breaker_open_time=600, backoff_jitter=0.0
    )
    bound = named("crashed host", given, 0.0)
    assert bound.seconds == 620
    assert worst_run(bound, given, 0.0).seconds == pytest.approx(620)


def test_a_picture_shows_who_does_what_and_when() -> None:
    text = worst_run(named("crashed host", Settings()), Settings(), DELAY).picture()
    assert text.startswith("sequenceDiagram\n    title crashed host: 12.2 s\n")
    assert "a1->>a0: 0.15 s: Select.rsp 3\n" in text
    assert "a1->>a0: 0.15 s: Linktest.req\n" in text
    assert "a0->>a0: 12.2 s: Select.rsp 0\n" in text
    given = Settings(linktest_interval=None)
    endless = worst_run(given.detection_bound(), given, DELAY)
    assert "title silence: for ever" in endless.picture()
