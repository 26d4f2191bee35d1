"""Mutants are noticed. `make prove` tries all of them; here stand those of the small charts."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from statecharts import Chart, Effect, Increment, On, Parameter, Set, State, Timer, Variable
from statecharts.explore import Checker, Graph, Outcome
from statecharts.explore.mutants import Mutant, mutants
from statecharts.hsms import ACTIVE, BREAKER, LINKTEST, PASSIVE, TRANSACTION, TRANSMITTER
from statecharts.hsms.vocabulary import ResetTcp
from tests.proof import mutation
from tests.proof.binding import with_chart
from tests.proof.mutation import EQUIVALENT, Trial, all_mutants
from tests.proof.properties import DIALLING_LINK
from tests.proof.searches import LINKS_WITHOUT_TRAFFIC


@pytest.fixture(scope="module")
def trial() -> Trial:
    return Trial()


def living(trial: Trial, tried: list[Mutant]) -> list[str]:
    fates = [trial.fate(mutant) for mutant in tried]
    return [fate.mutant for fate in fates if fate.lives]


@pytest.mark.parametrize("chart", [LINKTEST, TRANSMITTER, TRANSACTION], ids=lambda chart: chart.id)
def test_no_mutant_of_a_small_chart_lives(trial: Trial, chart: Chart) -> None:
    assert living(trial, list(mutants(chart))) == []


@pytest.mark.parametrize("chart", [ACTIVE, PASSIVE, BREAKER], ids=lambda chart: chart.id)
def test_no_mutant_of_a_sample_of_a_large_chart_lives(trial: Trial, chart: Chart) -> None:
    every = list(mutants(chart))

    assert living(trial, every[:: len(every) // 25]) == []


def otherwise(chart: Chart, effect: Effect) -> Iterator[Mutant]:
    """Each transition without the effect if it has it, and with it if it has not."""
    for number, on in enumerate(chart.transitions):
        rest = tuple(each for each in on.do if each != effect)
        changed = replace(on, do=rest if rest != on.do else (*on.do, effect))
        transitions = (*chart.transitions[:number], changed, *chart.transitions[number + 1 :])
        yield Mutant(str(on), replace(chart, transitions=transitions), number)


@pytest.mark.parametrize("chart", [ACTIVE, PASSIVE], ids=lambda chart: chart.id)
def test_a_reset_too_many_or_too_few_is_noticed_at_every_transition(
    trial: Trial, chart: Chart
) -> None:
    fates = [trial.fate(mutant) for mutant in otherwise(chart, ResetTcp())]

    assert [fate.mutant for fate in fates if not fate.killer.startswith("obligation")] == []


@pytest.mark.parametrize(
    "transition", ["waiting: disable_requested -> resting", "selecting: tcp_closed -> waiting"]
)
def test_a_reset_is_for_a_connection_that_its_own_step_ends_unasked(transition: str) -> None:
    (claim,) = (each for each in DIALLING_LINK if each.name == "resets")
    (mutant,) = (each for each in otherwise(ACTIVE, ResetTcp()) if each.fault == transition)
    graph = Graph(LINKS_WITHOUT_TRAFFIC[0].model(with_chart(mutant.chart)))

    assert Checker(graph).check((claim,))[0].outcome is Outcome.FAILED


def the(chart: Chart, fault: str) -> Mutant:
    (found,) = (each for each in mutants(chart) if each.fault == fault)
    return found


RELEASE = "isolated: release_requested -> breaker_closed"


@pytest.mark.parametrize(
    ("chart", "fault", "killer"),
    [
        (TRANSACTION, "drop transition open: t3_expired -> timed_out", "lint"),
        (PASSIVE, "drop Send(Linktest.rsp) of transition selected: linktest_req_received", "obl"),
        (ACTIVE, "drop CloseTcp() on exit of state connected", "world"),
        (ACTIVE, "drop timer t7 of state not_selected", "lint"),
        (BREAKER, "drop timer open_time of state breaker_open", "lint"),
        (ACTIVE, "start in asking of state disconnected", "property"),
        (BREAKER, "swap failures := 0 and Tell(permit_offered) of transition " + RELEASE, ""),
    ],
)  # fmt: skip
def test_each_kind_of_check_kills_what_is_its_own(
    trial: Trial, chart: Chart, fault: str, killer: str
) -> None:
    fate = trial.fate(the(chart, fault))

    assert fate.killer.startswith(killer)
    assert bool(fate.reason) == (not killer)


def test_every_reason_for_equivalence_is_needed() -> None:
    faults = [mutant.fault for mutant in all_mutants()]

    for pattern in EQUIVALENT:
        assert any(re.search(pattern, fault) for fault in faults), pattern


def test_a_mutant_that_seems_equivalent_without_a_reason_lives(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant = the(BREAKER, f"swap failures := 0 and Tell(permit_offered) of transition {RELEASE}")
    monkeypatch.setattr(mutation, "EQUIVALENT", {})

    assert trial.fate(mutant).lives


def test_a_mutant_whose_search_does_not_end_is_killed(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutation, "MANY", 10)
    fate = trial.fate(the(ACTIVE, "start in asking of state disconnected"))

    assert fate.killer == "property bounded: more than 10 states"


BLINK = Timer("blink", "blink", "a lamp is lit", 1, 0.1, 10)
SHINE = Timer("shine", "shine", "a lamp shines", 1, 0.1, 10)
LAMP = Chart(
    id="lamp",
    title="Lamp",
    local=("press",),
    variables=(Variable("presses", highest="most"),),
    parameters=(Parameter("most", default=2, lowest=1, highest=5),),
    states=(
        State("dark", exit=(Set("presses", 0), Increment("presses"))),
        State("lit", timer=BLINK, children=(State("dim", timer=SHINE), State("bright"))),
        State("both", parallel=True, children=(State("one"), State("other"))),
    ),
    transitions=(
        On("press", "dark", to="dim", when="presses < most"),
        On("blink_expired", "lit", to="dark"),
        On("press", "dim", to="bright"),
        On("press", "bright", do=(Set("presses", 1),)),
        On(None, "both", to="dark"),
        On("shine_expired", "dim", to="both"),
    ),
)


@pytest.mark.parametrize(
    "fault",
    [
        "drop transition dark: press [presses < most] -> dim",
        "negate the guard of transition dark: press [presses < most] -> dim",
        "drop the guard of transition dark: press [presses < most] -> dim",
        "no target of transition lit: blink_expired -> dark",
        "target both instead of transition lit: blink_expired -> dark",
        "leave and enter again instead of transition bright: press",
        "presses := 0 instead of presses := 1 of transition bright: press",
        "drop presses += 1 on exit of state dark",
        "swap presses := 0 and presses += 1 on exit of state dark",
        "drop timer blink of state lit",
        "timer shine instead of state lit",
        "start in bright of state lit",
    ],
)
def test_a_slip_of_the_pen_is_among_the_mutants(fault: str) -> None:
    mutant = the(LAMP, fault)

    assert mutant.chart != LAMP
    assert str(mutant) == f"lamp: {fault}"


def test_no_two_mutants_are_the_same() -> None:
    every = list(mutants(LAMP))

    assert len({mutant.fault for mutant in every}) == len(every)
    assert not any(mutant.chart == LAMP for mutant in every)
