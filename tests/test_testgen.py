"""Tours cover all there is, and whoever leaves the chart is told where."""

from collections.abc import Hashable
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from statecharts import Effect, Machine, Snapshot
from statecharts.explore import Graph, Move, alone
from statecharts.explore.alone import Here
from statecharts.hsms import BREAKER, CHARTS, LINKTEST, TRANSACTION, TRANSMITTER
from statecharts.testgen import (
    Entry,
    MachineSubject,
    Tour,
    conforms,
    coverage,
    drive,
    edges,
    state_machine,
    tours,
)
from tests.proof.binding import machine
from tests.proof.searches import LINKS

PARAMETERS = {BREAKER.id: {"threshold": 2}, LINKTEST.id: {"linktest_threshold": 2}}
MACHINES = [Machine(chart, **PARAMETERS.get(chart.id, {})) for chart in CHARTS]


@pytest.mark.parametrize("bound", MACHINES, ids=lambda bound: bound.chart.id)
def test_tours_cover_every_event_in_every_snapshot(bound: Machine) -> None:
    graph = Graph(alone(bound))
    made = tours(graph)
    covered, wanted = coverage(graph, made)

    assert covered == wanted == sum(len(bound.enabled(here)) for here in bound.reachable())
    assert [drive(graph, tour, MachineSubject(bound)) for tour in made] == [None] * len(made)


def _pairs(
    graph: Graph[Here[frozenset[str]], Here[frozenset[str]]], made: list[Tour]
) -> set[Hashable]:
    found: set[Hashable] = set()
    for tour in made:
        here, last = 0, None
        for stop in tour:
            item = edges(graph.states[here], stop.move)
            found.add((last, item))
            here, last = stop.state, item
    return {pair for pair in found if pair[0] is not None}  # type: ignore[index]


@pytest.mark.parametrize("chart", [TRANSMITTER, LINKTEST], ids=lambda chart: chart.id)
def test_tours_of_pairs_cover_every_two_edges_in_a_row(chart: object) -> None:
    (bound,) = (each for each in MACHINES if each.chart == chart)
    graph = Graph(alone(bound))
    wanted = {
        (
            edges(state, graph.model.moves[move]),
            edges(graph.states[there], graph.model.moves[next_]),
        )
        for number, state in enumerate(graph.states)
        for move, there in graph.edges(number)
        for next_, _ in graph.edges(there)
    }

    assert _pairs(graph, tours(graph, pairs=True)) == wanted


def test_a_tour_starts_again_behind_a_dead_end() -> None:
    graph = Graph(alone(Machine(TRANSACTION)))

    assert len(tours(graph)) == 13


def test_a_coarser_item_needs_shorter_tours() -> None:
    model = LINKS[2].model(machine)
    graph = Graph(model)

    def chart_edges(here: object, move: Move) -> Hashable:
        assert isinstance(here, Here)
        owner = model.router.owner[move.event]
        return here.snapshot[owner], move.event

    made = tours(graph, chart_edges)

    assert coverage(graph, made, chart_edges) == (156, 156)
    assert sum(map(len, made)) < len(graph.targets)


class _Faulty(MachineSubject):
    """Does one thing wrong: at `event` it asks for nothing, or stays where it is."""

    def __init__(self, bound: Machine, event: str, *, stays: bool) -> None:
        super().__init__(bound)
        self._event, self._stays = event, stays

    def take(self, event: str) -> tuple[Effect, ...]:
        before = self.leaves()
        effects = super().take(event)
        if event != self._event:
            return effects
        if self._stays:
            self.leaves = lambda: before  # type: ignore[method-assign]  # stuck from now on
            return effects
        return ()


@pytest.mark.parametrize(("stays", "told"), [(False, "Start"), (True, "writing")])
def test_a_subject_that_leaves_the_tour_is_told_where(stays: bool, told: str) -> None:
    bound = Machine(TRANSMITTER)
    graph = Graph(alone(bound))
    (tour,) = tours(graph)

    found = drive(graph, tour, _Faulty(bound, "write_blocked", stays=stays))

    assert found is not None
    assert "write_blocked: expected" in str(found)
    assert told in found.expected


def _log(bound: Machine, *events: str) -> list[Entry]:
    here: Snapshot = bound.initial
    log = []
    for event in events:
        after, effects, _ = bound.step(here, event)
        log.append(Entry(bound.chart.id, event, here.leaves, after.leaves, effects))
        here = after
    return log


TRANSMITTING = Machine(TRANSMITTER)
LOG = _log(TRANSMITTING, "write_blocked", "write_caught_up", "write_drained")


def test_a_log_of_the_chart_conforms() -> None:
    assert conforms(LOG, {"transmitter": TRANSMITTING}) is None


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ([replace(LOG[0], chart="other")], "no such chart"),
        (LOG[1:], "the chart was in drained, not writing"),
        ([replace(LOG[0], event="write_drained")], "does not take"),
        ([replace(LOG[0], event="sneezed")], "sneezed"),
        ([replace(LOG[0], after="stalled")], "leads to writing, not to stalled"),
        ([replace(LOG[0], effects=())], "asks for"),
    ],
)
def test_a_log_that_deviates_is_told_where(log: list[Entry], told: str) -> None:
    found = conforms(log, {"transmitter": TRANSMITTING})

    assert found is not None
    assert found.number == 1
    assert told in str(found)


QUICK = settings(max_examples=20, stateful_step_count=20, derandomize=True, deadline=None)


def test_hypothesis_finds_nothing_wrong_with_the_chart_itself() -> None:
    bound = Machine(TRANSACTION)

    run_state_machine_as_test(state_machine(bound, lambda: MachineSubject(bound)), settings=QUICK)


@pytest.mark.parametrize("stays", [False, True])
def test_hypothesis_finds_a_subject_that_is_wrong(stays: bool) -> None:
    bound = Machine(TRANSMITTER)
    machine_class = state_machine(bound, lambda: _Faulty(bound, "write_blocked", stays=stays))

    with pytest.raises(AssertionError, match="write_blocked"):
        run_state_machine_as_test(machine_class, settings=QUICK)
