"""What is claimed of HSMS links holds, and each claim notices a chart that breaks it."""

from dataclasses import replace

import pytest

from statecharts import Chart, Machine
from statecharts.explore import Checker, Graph, Outcome
from statecharts.hsms import ACTIVE, BREAKER, LINKTEST
from statecharts.hsms.world import World
from tests.proof.binding import machine, with_chart
from tests.proof.searches import CHARTS_ALONE, LINKS, SMALL_ENDS, AloneSearch, EndsSearch
from tests.support.mutate import without


@pytest.mark.parametrize("search", LINKS, ids=lambda search: search.name)
def test_all_that_is_claimed_of_a_link_holds(search: AloneSearch[World]) -> None:
    verdicts = Checker(Graph(search.model(machine))).check(search.properties)

    assert [str(each) for each in verdicts if each.outcome is not Outcome.HELD] == []


@pytest.mark.parametrize("search", CHARTS_ALONE, ids=lambda search: search.name)
def test_all_that_is_claimed_of_a_chart_holds(search: AloneSearch[frozenset[str]]) -> None:
    verdicts = Checker(Graph(search.model(machine))).check(search.properties)

    assert [str(each) for each in verdicts if each.outcome is not Outcome.HELD] == []


@pytest.mark.parametrize("search", SMALL_ENDS, ids=lambda search: search.name)
def test_all_that_is_claimed_of_two_ends_holds(search: EndsSearch) -> None:
    verdicts = Checker(Graph(search.model(machine))).check(search.properties)

    assert [str(each) for each in verdicts if each.outcome is not Outcome.HELD] == []


@pytest.mark.parametrize("threshold", range(1, 6))
def test_exactly_as_many_failures_in_a_row_as_the_threshold_open_the_breaker(
    threshold: int,
) -> None:
    """Counted here, not by the chart: over every way through it, with the count kept beside it."""
    breaker = Machine(BREAKER, threshold=threshold)
    seen = {(breaker.initial, 0)}
    queue = list(seen)
    for here, failures in queue:
        assert ("breaker_closed" in here) <= (failures < threshold)
        for event in breaker.enabled(here):
            after = breaker.step(here, event).snapshot
            row = failures
            if "breaker_closed" in here and event == "attempt_failed":
                row += 1
                assert ("breaker_open" in after) == (row == threshold)
            elif (
                event == "attempt_succeeded"
                or "breaker_closed" not in here
                or event == "reset_requested"
            ):
                row = 0
            row = row if "breaker_closed" in after else 0
            if (after, row) not in seen:
                seen.add((after, row))
                queue.append((after, row))
    assert max(row for _, row in seen) == threshold - 1


@pytest.mark.parametrize("threshold", range(1, 4))
def test_exactly_as_many_silent_probes_as_the_threshold_end_a_link(threshold: int) -> None:
    linktest = Machine(LINKTEST, linktest_threshold=threshold)
    here = linktest.step(linktest.initial, "watch_began").snapshot
    for _ in range(threshold - 1):
        here = linktest.step(here, "linktest_interval_expired").snapshot
        here, effects, _ = linktest.step(here, "t6_linktest_expired")
        assert "quiet" in here
        assert "Tell(linktest_failed)" not in map(str, effects)
    here = linktest.step(here, "linktest_interval_expired").snapshot
    assert "Tell(linktest_failed)" in map(str, linktest.step(here, "t6_linktest_expired").effects)


def failing(chart: Chart) -> set[str]:
    """The names of the claims that fail when `chart` stands in the dialling link."""
    search = LINKS[0]
    graph = Graph(search.model(with_chart(chart)))
    return {
        verdict.name
        for verdict in Checker(graph).check(search.properties)
        if verdict.outcome is not Outcome.HELD
    }


@pytest.mark.parametrize(
    ("claim", "chart", "transition", "effect"),
    [
        (
            "attempts are settled",
            ACTIVE,
            "connecting: tcp_failed -> waiting",
            "Tell(attempt_failed)",
        ),
        ("one probe", ACTIVE, "selecting: disable_requested -> resting", "Tell(attempt_cancelled)"),
        (
            "nobody forgotten",
            BREAKER,
            "breaker_open: open_time_expired -> ready",
            "Tell(permit_offered)",
        ),
    ],
)
def test_an_effect_that_is_missing_fails_the_claim_about_it(
    claim: str, chart: Chart, transition: str, effect: str
) -> None:
    assert claim in failing(without(chart, transition, effect))


def test_a_way_out_of_closed_is_noticed() -> None:
    transitions = tuple(
        replace(on, to="idle") if (on.source, on.event) == ("closed", "permit_offered") else on
        for on in ACTIVE.transitions
    )

    assert "closed is final" in failing(replace(ACTIVE, transitions=transitions))
