"""Parameters that change while a chart runs: every chart, every snapshot, every pair of values."""

from dataclasses import replace

import pytest

from statecharts import Chart, Effect, Machine, Snapshot
from statecharts.declare import ADOPTED
from statecharts.explore import BrokenModelError, Checker, Graph, Outcome
from statecharts.explore.alone import Here
from statecharts.hsms import ACTIVE, BREAKER, CHARTS, LINKTEST
from statecharts.hsms.world import World
from tests.proof.binding import machine, with_chart
from tests.proof.model import two_ends
from tests.proof.searches import LINKS, SETTINGS, USERS, AloneSearch, settings_of
from tests.support.mutate import without

# A snapshot without its count, and whether the next failure (or miss) is the last one.
Class = tuple[tuple[str, ...], bool]
Answer = tuple[Class, str, Class, tuple[Effect, ...]]


def test_every_parameter_of_every_chart_is_changed() -> None:
    assert {chart.id for chart in CHARTS if chart.parameters} == set(SETTINGS)
    for chart in CHARTS:
        for each in chart.parameters:
            values = {setting[each.name] for setting in SETTINGS[chart.id]}
            assert {each.lowest, each.highest} <= values


@pytest.mark.parametrize(
    ("id", "states", "transitions"),
    [
        ("connection_active", 33, 636),
        ("breaker", 2_333, 31_485),
        ("linktest", 382, 3_502),
        ("second_host", 4, 14),
    ],
)
def test_whatever_the_parameters_change_to_every_step_stays_possible(
    id: str, states: int, transitions: int
) -> None:
    found = Graph(settings_of(next(chart for chart in CHARTS if chart.id == id))).statistics()

    assert (found.states, found.transitions) == (states, transitions)


@pytest.mark.search
@pytest.mark.parametrize("search", LINKS, ids=lambda search: search.name)
def test_all_that_is_claimed_of_a_link_holds_while_its_settings_change(
    search: AloneSearch[World],
) -> None:
    graph = Graph(search.configured(machine))
    verdicts = Checker(graph).check(search.properties)
    carried = {move.carries for move in graph.model.moves if move.event == ADOPTED}

    assert [str(each) for each in verdicts if each.outcome is not Outcome.HELD] == []
    assert len(carried) == len({here.setting for here in graph.states}) > 1


@pytest.mark.search
def test_a_breaker_that_withdraws_no_permit_is_noticed_only_where_settings_change() -> None:
    forgetful = without(
        BREAKER,
        "breaker_closed: (at once) [failures >= threshold] -> breaker_open",
        "Tell(permit_withdrawn)",
    )
    link, bind = LINKS[0], with_chart(forgetful)

    def failed(graph: Graph[Here[World], Here[World]]) -> set[str]:
        verdicts = Checker(graph).check(link.properties)
        return {each.name for each in verdicts if each.outcome is not Outcome.HELD}

    assert failed(Graph(link.model(bind))) == set()
    assert "one probe" in failed(Graph(link.configured(bind)))


def test_a_connection_that_cannot_take_a_withdrawn_permit_ends_the_search_of_two_ends() -> None:
    deaf = without(ACTIVE, "connecting: permit_withdrawn -> waiting")

    with pytest.raises(BrokenModelError, match="threshold 1"):
        Graph(two_ends(USERS, with_chart(deaf)))
    Graph(two_ends(replace(USERS, configures=()), with_chart(deaf)))


@pytest.mark.parametrize("chart", [BREAKER, LINKTEST], ids=lambda chart: chart.id)
def test_a_higher_threshold_is_adopted_without_a_change(chart: Chart) -> None:
    machines = [Machine(chart, **each) for each in SETTINGS[chart.id]]
    for lower in machines:
        for higher in machines:
            if max(lower.highest.values()) <= max(higher.highest.values()) <= 10:
                for snapshot in lower.reachable():
                    after, effects, taken = higher.adopt(snapshot)
                    assert (after, effects, taken) == (snapshot, (), ())


def answers(chart: Chart, threshold: int, *, tells_last: bool) -> set[Answer]:
    """The steps of a chart, with snapshots that differ only in a count below the last one as one.

    Without ``tells_last`` it is also forgotten whether the next one is the last one.
    """
    (parameter,) = chart.parameters
    bound = Machine(chart, **{parameter.name: threshold})

    def quotient(snapshot: Snapshot) -> Class:
        counts = not {"breaker_closed", "watching"}.isdisjoint(snapshot.states)
        return snapshot.states, tells_last and counts and snapshot.values == (threshold - 1,)

    return {
        (quotient(here), event, quotient(after), effects)
        for here in bound.reachable()
        for event in bound.enabled(here)
        for after, effects, _ in [bound.step(here, event)]
    }


@pytest.mark.parametrize("chart", [BREAKER, LINKTEST], ids=lambda chart: chart.id)
@pytest.mark.parametrize(("least", "tells_last"), [(3, True), (2, False)])
def test_from_some_threshold_on_all_do_the_same_but_for_which_failure_is_the_last(
    chart: Chart, least: int, tells_last: bool
) -> None:
    """Where each failure may be the last one or not, 2 and 3 are the same, too."""
    same = answers(chart, least, tells_last=tells_last)

    for threshold in (least + 1, 5, 10, 100):
        assert answers(chart, threshold, tells_last=tells_last) == same
    assert answers(chart, least - 1, tells_last=tells_last) < same
