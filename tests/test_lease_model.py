"""Two processes, one tool and a store: what the lease promises, how long it takes, what it cannot.

The whole proof searches more (``python -m tests.proof --all``).
"""

from dataclasses import replace

import pytest

from hsms_engine.lease.bounds import CLOCK_ERROR, handover_bound, restart_bound, takeover_bound
from statecharts.explore.checking import Outcome
from statecharts.explore.graph import Trace
from statecharts.hsms.timers import LEASE_END, LEASE_POLL, OWN_DEADLINE
from tests.proof.lease_page import PAGE, page
from tests.proof.lease_searches import (
    DEFAULTS,
    FAULTS,
    LIMITS,
    OTHERS,
    SEARCHES,
    SHORT,
    TAKEOVERS,
    Fault,
    Limit,
    Search,
    Takeover,
    conditions,
)
from tests.proof.leases import Design

SMALL = [each for each in SEARCHES if each.states < 150_000]


@pytest.mark.search
@pytest.mark.parametrize("search", SMALL, ids=lambda each: str(each.name))
def test_what_is_claimed_of_two_processes_and_a_store_holds(search: Search) -> None:
    graph, verdicts = search.check()

    assert [str(each) for each in verdicts if each.outcome is not Outcome.HELD] == []
    assert len(graph.states) == search.states


@pytest.mark.search
@pytest.mark.parametrize(
    ("fault", "claims"),
    list(
        zip(
            FAULTS,
            (
                ("one process has the link", "one link is open", "the lease is in force"),
                ("one process has the link", "one link is open", "the lease is in force"),
                (
                    "one process has the link",
                    "one link is open",
                    "enabled means owning",
                    "the lease is in force",
                ),
                ("one link is open",),
                ("one link is open",),
                ("silence ends no link",),
            ),
            strict=True,
        )
    ),
    ids=lambda each: getattr(each, "name", ""),
)
def test_a_fault_of_the_chart_or_of_its_times_is_noticed(
    fault: Fault, claims: tuple[str, ...]
) -> None:
    assert tuple(fault.noticed_by()) == claims


@pytest.mark.search
@pytest.mark.parametrize(
    ("takeover", "design"),
    [
        (takeover, design)
        for takeover in TAKEOVERS
        for design in (SHORT, replace(SHORT, linger=2, poll=3), replace(SHORT, delay=0))
        # Without delay, who begins the quarantine asks in step with its end, and is a tick earlier.
        if design.delay or takeover is not TAKEOVERS[-1]
    ],
    ids=lambda each: getattr(each, "begins_with", ""),
)
def test_the_longest_take_over_is_as_its_formula_says(takeover: Takeover, design: Design) -> None:
    assert all(conditions(design).values())

    _, run = takeover.search(design)

    assert run.ticks == takeover.expected(design), run


@pytest.mark.search
def test_with_ticks_half_as_long_a_take_over_takes_twice_as_many() -> None:
    for takeover in TAKEOVERS[:2]:
        once, twice = (takeover.search(SHORT.scaled(by))[1].ticks for by in (1, 2))

        assert once is not None
        assert twice is not None
        assert twice + takeover.last == 2 * (once + takeover.last)


@pytest.mark.search
@pytest.mark.parametrize("other", OTHERS, ids=lambda each: str(each.begins_with))
def test_a_stop_and_a_store_that_is_back_take_no_longer_than_a_death(other: Takeover) -> None:
    _, run = other.search(SHORT)

    assert run.ticks is not None
    assert run.ticks <= other.expected(SHORT)


@pytest.mark.search
@pytest.mark.parametrize(
    "design",
    [replace(SHORT, timeout=2), replace(SHORT, deadline=3, end=4)],
    ids=["store timeout", "own deadline"],
)
def test_answers_that_nobody_waits_for_make_a_take_over_last_for_ever(design: Design) -> None:
    assert not all(conditions(design).values())

    _, run = TAKEOVERS[0].search(design)

    assert run.ticks is None


@pytest.mark.search
@pytest.mark.parametrize(
    ("limit", "ends"),
    list(
        zip(
            LIMITS,
            (
                "A: hands over bytes",
                "tool: takes bytes",
                "B: lease_granted",
                "B: lease_granted",
                "B: lease_granted",
                "B: gets the session",
                "B: lease_granted",
            ),
            strict=True,
        )
    ),
    ids=lambda each: getattr(each, "name", ""),
)
def test_what_cannot_be_promised_has_a_run_that_shows_it(limit: Limit, ends: str) -> None:
    found = limit.counterexample()

    assert isinstance(found, Trace)
    assert str(found.moves[-1]).startswith(ends)


@pytest.mark.search
def test_the_page_of_limits_is_as_the_searches_are() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run make diagrams"


def test_the_end_of_a_lease_comes_before_the_store_gives_it_away_with_the_worst_clocks() -> None:
    latest = LEASE_END.seconds / (1 - CLOCK_ERROR)
    given_away = 10 / (1 + CLOCK_ERROR)

    assert OWN_DEADLINE.seconds < LEASE_END.seconds < latest < given_away
    # The model is harsher: an eighth of its lease, and more.
    for design in (Design(), SHORT, DEFAULTS):
        assert design.end + design.slack < design.length
        assert design.slack / design.length > 2 * CLOCK_ERROR


def test_the_bounds_of_a_lease_of_ten_seconds() -> None:
    poll = LEASE_POLL.seconds

    assert takeover_bound(10, poll, 0) == pytest.approx(12.626, abs=0.001)
    assert takeover_bound(10, poll, 0.1) == pytest.approx(13.131, abs=0.001)
    assert handover_bound(poll, 0.1, linger=0.5) == pytest.approx(3.535, abs=0.001)
    assert restart_bound(10, poll, 0.1, timeout=2) == pytest.approx(17.677, abs=0.001)


def test_after_a_restart_a_lost_call_takes_its_timeout_or_a_round_trip_if_that_is_longer() -> None:
    assert restart_bound(10, 2.5, 2, timeout=3) == restart_bound(10, 2.5, 2, timeout=4)
    assert restart_bound(10, 2.5, 2, timeout=4) < restart_bound(10, 2.5, 2, timeout=5)
