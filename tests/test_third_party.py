"""A session whose host has vanished, and a new connection that asks for it."""

from collections.abc import Iterable

import pytest

from statecharts.explore import Both, Checker, Graph, Outcome, Verdict
from statecharts.hsms import PASSIVE
from statecharts.hsms.vocabulary import ContestSession
from tests.proof.binding import Bind, machine, with_chart
from tests.proof.end_properties import TWO_ENDS
from tests.proof.model import ACTIVE_SIDE, GHOST, PASSIVE_SIDE, End, Scenario, two_ends
from tests.proof.searches import CRASHES
from tests.support.mutate import without

RECOVERY = [claim for claim in TWO_ENDS if claim.name == "recovery"]
BOTH = (ACTIVE_SIDE, PASSIVE_SIDE)
# The host crashes and dials again; nobody sends a linktest by himself.
UNWATCHED = Scenario(crashes=(ACTIVE_SIDE,), without_interval=BOTH)
REFUSING = Scenario(crashes=(ACTIVE_SIDE,), without_interval=BOTH, probes=0)


def recovers(scenario: Scenario, bind: Bind = machine) -> Verdict:
    (verdict,) = Checker(Graph(two_ends(scenario, bind))).check(RECOVERY)
    return verdict


def events(verdict: Verdict) -> list[tuple[str, str]]:
    """The actors and events of the loop of a counterexample."""
    assert verdict.trace is not None
    assert verdict.trace.loop is not None
    return [(move.actor, move.event) for move in verdict.trace.moves[verdict.trace.loop :]]


def test_a_host_that_comes_back_is_selected_although_nobody_sends_linktests() -> None:
    assert recovers(UNWATCHED).outcome is Outcome.HELD


@pytest.mark.parametrize("threshold", [2, 3])
def test_a_dead_session_ends_when_it_is_asked_for_as_often_as_the_threshold(threshold: int) -> None:
    scenario = Scenario(crashes=(ACTIVE_SIDE,), without_interval=BOTH, linktest_threshold=threshold)

    assert recovers(scenario).outcome is Outcome.HELD


def test_a_listener_that_only_refuses_keeps_a_dead_session_for_ever() -> None:
    loop = events(failed := recovers(REFUSING))

    assert failed.outcome is Outcome.FAILED
    assert (PASSIVE_SIDE, "competing_select_req_received") in loop
    assert (ACTIVE_SIDE, "select_rsp_refused") in loop
    assert not any(actor == GHOST for actor, _ in loop)


def test_with_an_interval_a_listener_that_only_refuses_finds_the_dead_session_out() -> None:
    assert recovers(Scenario(crashes=BOTH, probes=0)).outcome is Outcome.HELD


def test_a_chart_that_does_not_tell_the_holder_never_gives_the_session_up() -> None:
    silent = without(
        PASSIVE, "not_selected: competing_select_req_received -> refusing", "ContestSession()"
    )

    assert recovers(UNWATCHED, with_chart(silent)).outcome is Outcome.FAILED


def test_a_dialling_end_without_an_interval_cannot_notice_that_the_other_machine_crashed() -> None:
    failed = recovers(Scenario(crashes=(PASSIVE_SIDE,), without_interval=(ACTIVE_SIDE,)))

    assert failed.outcome is Outcome.FAILED


def pairs(graph: Graph[int, Both[End]]) -> Iterable[tuple[Both[End], int, Both[End]]]:
    view = graph.model.view
    for number, state in enumerate(graph.states):
        for move, target in graph.edges(number):
            yield view(state), move, view(graph.states[target])


def test_one_session_at_a_time_and_its_holder_is_told_in_the_move_that_asks_for_it() -> None:
    graph = Graph(two_ends(CRASHES))
    told = 0
    for before, move, after in pairs(graph):
        ghost = after.right.ghost
        assert ghost is None or not (ghost.world.gate and after.right.world.gate)
        made = graph.model.moves[move]
        if ContestSession() in made.effects:
            told += 1
            holder = ghost if made.actor == PASSIVE_SIDE else after.right
            assert holder is not None
            assert "asked" in holder.snapshot
            assert holder.inbox == () or "asked" not in before.right.snapshot
    assert told


def test_a_crash_tells_nobody_and_may_lose_frames_on_the_way() -> None:
    graph = Graph(two_ends(CRASHES))
    crashes = [
        (before, after)
        for before, move, after in pairs(graph)
        if (graph.model.moves[move].actor, graph.model.moves[move].event) == ("active", "crashed")
    ]

    assert crashes
    assert all("idle" in after.left.snapshot for _, after in crashes)
    assert all(before.right.snapshot == after.right.snapshot for before, after in crashes)
    kept = {(before, len(after.right.inbox)) for before, after in crashes}
    assert len(kept) > len({before for before, _ in crashes})


def test_the_claims_about_the_third_party_are_about_something() -> None:
    graph = Graph(two_ends(CRASHES))
    ghosts = [graph.model.view(state).right.ghost for state in graph.states]

    assert any(ghost is not None and "selected" in ghost.snapshot for ghost in ghosts)
    assert all(ghost is None or "closed" not in ghost.snapshot for ghost in ghosts)
