"""Mutants are noticed. `make prove-all` tries all of them; here are those of the small charts."""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import pytest

from statecharts import (
    Chart,
    ChartError,
    Effect,
    Increment,
    Machine,
    On,
    Parameter,
    Set,
    State,
    System,
    Tell,
    Timer,
    Variable,
)
from statecharts.explore import Alone, Checker, Graph, Outcome
from statecharts.explore.mutants import Mutant, mutants, mutants_of_telling
from statecharts.hsms import (
    ACTIVE,
    BREAKER,
    LEASE,
    LINKTEST,
    PASSIVE,
    SECOND_HOST,
    TRANSACTION,
    TRANSMITTER,
)
from statecharts.hsms.vocabulary import ResetTcp
from statecharts.hsms.world import World
from statecharts.router import Router
from tests.proof import mutation
from tests.proof.binding import machine, with_chart
from tests.proof.mutation import EQUIVALENT, Court, Trial, all_mutants, sample
from tests.proof.properties import DIALLING_LINK
from tests.proof.searches import (
    LINKS_WITHOUT_TRAFFIC,
    NEVER_TAKEN,
    OWNED_LINKS_WITHOUT_TRAFFIC,
    AloneSearch,
)


@pytest.fixture(scope="module")
def court() -> Court:
    return Court()


def living(court: Court, tried: list[Mutant]) -> list[str]:
    fates = [court.fate(mutant) for mutant in tried]
    return [fate.mutant for fate in fates if fate.lives]


@pytest.mark.search
@pytest.mark.parametrize("chart", [SECOND_HOST, TRANSACTION], ids=lambda chart: chart.id)
def test_no_mutant_of_a_small_chart_lives(court: Court, chart: Chart) -> None:
    assert living(court, list(mutants(chart))) == []


@pytest.mark.search
@pytest.mark.parametrize(
    "chart", [ACTIVE, PASSIVE, BREAKER, LINKTEST, TRANSMITTER, LEASE], ids=lambda chart: chart.id
)
def test_no_mutant_of_a_sample_of_a_large_chart_lives(court: Court, chart: Chart) -> None:
    every = list(mutants(chart))

    assert living(court, every[:: len(every) // 25]) == []


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    chosen = [str(mutant) for mutant in sample(50, 1)]

    assert chosen == [str(mutant) for mutant in sample(50, 1)]
    assert chosen != [str(mutant) for mutant in sample(50, 2)]
    assert len(set(chosen)) == 50


@pytest.mark.search
def test_a_mutant_is_taught_no_step_that_it_would_do_otherwise() -> None:
    """The steps of its chart, but for the events that the fault concerns, are its own steps."""
    for mutant in sample(60, 3):
        try:
            taught, alone = Trial(mutant).bind(mutant.plain, {}), Machine(mutant.chart)
        except ChartError:
            continue
        for here in alone.reachable():
            for event in alone.events:
                same = taught.snapshot(here.states, here.values)
                assert taught.takes(same, event) == alone.takes(here, event), mutant
                if alone.takes(here, event):
                    was, now = alone.step(here, event), taught.step(same, event)
                    assert (was.snapshot, was.effects) == (now.snapshot, now.effects), mutant


def otherwise(chart: Chart, effect: Effect) -> Iterator[Mutant]:
    """Each transition without the effect if it has it, and with it if it has not."""
    for number, on in enumerate(chart.transitions):
        rest = tuple(each for each in on.do if each != effect)
        changed = replace(on, do=rest if rest != on.do else (*on.do, effect))
        transitions = (*chart.transitions[:number], changed, *chart.transitions[number + 1 :])
        concerned = frozenset((on.event,)) if on.event else None
        yield Mutant(str(on), replace(chart, transitions=transitions), chart, concerned)


@pytest.mark.search
@pytest.mark.parametrize("chart", [ACTIVE, PASSIVE], ids=lambda chart: chart.id)
def test_a_reset_too_many_or_too_few_is_noticed_at_every_transition(
    court: Court, chart: Chart
) -> None:
    fates = [court.fate(mutant) for mutant in otherwise(chart, ResetTcp())]

    assert [fate.mutant for fate in fates if not fate.unaided] == [
        f"{chart.id}: {on}" for id, on in NEVER_TAKEN if id == chart.id
    ]


@pytest.mark.parametrize(
    "transition", ["waiting: disable_requested -> resting", "selecting: tcp_closed -> waiting"]
)
def test_a_reset_is_for_a_connection_that_its_own_step_ends_unasked(transition: str) -> None:
    (claim,) = (each for each in DIALLING_LINK if each.name == "resets")
    (mutant,) = (each for each in otherwise(ACTIVE, ResetTcp()) if each.fault == transition)
    graph = Graph(LINKS_WITHOUT_TRAFFIC[0].model(with_chart(mutant.chart)))

    assert Checker(graph).check((claim,))[0].outcome is Outcome.FAILED


class LastFirst(Router):
    """Hands on what was told last before what was told first."""

    def _sort(
        self, effects: tuple[Effect, ...], told: deque[tuple[str, str]], out: list[Effect]
    ) -> None:
        mine: deque[tuple[str, str]] = deque()
        super()._sort(effects, mine, out)
        told.extendleft(mine)


@pytest.mark.parametrize(
    "search",
    [*LINKS_WITHOUT_TRAFFIC, *OWNED_LINKS_WITHOUT_TRAFFIC],
    ids=lambda search: search.name,
)
def test_in_which_order_charts_are_told_changes_nothing(search: AloneSearch[World]) -> None:
    plain = search.model(machine)
    other = Alone(LastFirst(plain.router.system, plain.router.machines), plain.outside)
    found, expected = Graph(other), Graph(plain)

    assert found.states == expected.states
    assert found.targets == expected.targets
    assert {verdict.outcome for verdict in Checker(found).check(search.properties)} == {
        Outcome.HELD
    }


def the(chart: Chart, fault: str) -> Mutant:
    (found,) = (each for each in mutants(chart) if each.fault == fault)
    return found


RELEASE = "isolated: release_requested -> breaker_closed"


@pytest.mark.parametrize(
    ("chart", "fault", "killer"),
    [
        (TRANSACTION, "drop transition open: t3_expired -> timed_out", "lint"),
        (PASSIVE, "drop Send(Linktest.rsp) of transition selected: linktest_req_received", "pro"),
        (ACTIVE, "drop CloseTcp() on exit of state connected", "property"),
        (ACTIVE, "drop timer t7 of state not_selected", "lint"),
        (BREAKER, "drop timer open_time of state breaker_open", "lint"),
        (PASSIVE, "drop Send(Select.rsp 0) on entry of state accepting", "property"),
        (ACTIVE, "start in asking of state disconnected", "world"),
        (BREAKER, "swap failures := 0 and Tell(permit_offered) of transition " + RELEASE, ""),
    ],
)  # fmt: skip
def test_each_kind_of_check_kills_what_is_its_own(
    court: Court, chart: Chart, fault: str, killer: str
) -> None:
    fate = court.fate(the(chart, fault))

    assert fate.killer.startswith(killer)
    assert bool(fate.reason) == (not killer)


@pytest.mark.search
def test_each_excuse_excuses_a_mutant(court: Court) -> None:
    every = all_mutants()
    for pattern, why in EQUIVALENT.items():
        named = (mutant for mutant in every if re.search(pattern, mutant.fault))
        assert any(court.fate(mutant).reason == why for mutant in named), pattern


def test_no_excuse_helps_a_mutant_that_does_otherwise(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutation, "EQUIVALENT", {"": "whatever it does"})
    fates = [court.fate(mutant) for mutant in sample(20, 5)]

    assert any(fate.killer for fate in fates)
    assert not court.fate(the(BREAKER, f"no target of transition {RELEASE}")).reason


def test_a_mutant_that_seems_equivalent_without_a_reason_lives(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant = the(BREAKER, f"swap failures := 0 and Tell(permit_offered) of transition {RELEASE}")
    monkeypatch.setattr(mutation, "EQUIVALENT", {})

    assert court.fate(mutant).lives


def test_a_mutant_whose_search_does_not_end_is_killed(
    court: Court, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutation, "MANY", 10)
    fault = (
        "do not keep linktest_interval of transition probe_excused: t6_linktest_expired -> quiet"
    )
    fate = court.fate(the(LINKTEST, fault))

    assert fate.killer == "property bounded: more than 10 states"


BLINK = Timer("blink", "blink", "a lamp is lit", 1, 0.1, 10)
SHINE = Timer("shine", "shine", "a lamp shines", 1, 0.1, 10)
BRIGHT = State("bright", enter=(Tell("dazzled"),))
FEW = "presses < 1 or not (presses == most)"
LAMP = Chart(
    id="lamp",
    title="Lamp",
    local=("press", "wink"),
    variables=(Variable("presses", highest="most"),),
    parameters=(Parameter("most", default=2, lowest=1, highest=5),),
    states=(
        State("dark", exit=(Set("presses", 0), Increment("presses"))),
        State("lit", timer=BLINK, children=(State("dim", timer=SHINE), BRIGHT)),
        State("both", parallel=True, children=(State("one"), State("other"))),
    ),
    transitions=(
        On("press", "dark", to="dim", when="presses < most"),
        On("blink_expired", "lit", to="dark"),
        On("press", "dim", to="bright"),
        On("press", "bright", when=FEW, do=(Set("presses", 1),)),
        On("wink", "lit", to="lit", keep=BLINK),
        On(None, "both", to="dark"),
        On("shine_expired", "dim", to="both"),
    ),
)


@pytest.mark.parametrize(
    "fault",
    [
        "drop transition dark: press [presses < most] -> dim",
        "guard [not (presses < most)] of transition dark: press [presses < most] -> dim",
        "guard [presses <= most] of transition dark: press [presses < most] -> dim",
        "drop the guard of transition dark: press [presses < most] -> dim",
        f"guard [presses < 1 and (not presses == most)] of transition bright: press [{FEW}]",
        f"guard [presses < 2 or not presses == most] of transition bright: press [{FEW}]",
        f"guard [presses < 0 or not presses == most] of transition bright: press [{FEW}]",
        f"guard [presses < 1 or not presses >= most] of transition bright: press [{FEW}]",
        "source both instead of transition lit: blink_expired -> dark",
        "event shine_expired instead of transition lit: blink_expired -> dark",
        "keep shine of transition dim: press -> bright",
        "add Tell(dazzled) of transition dim: press -> bright",
        "presses += 1 instead of Tell(dazzled) on entry of state bright",
        "do not keep blink of transition lit: wink -> lit",
        "no target of transition lit: blink_expired -> dark",
        "target both instead of transition lit: blink_expired -> dark",
        "leave and enter again instead of transition bright: press [" + FEW + "]",
        "presses := 0 instead of presses := 1 of transition bright: press [" + FEW + "]",
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


EAR = Chart(
    id="ear",
    title="Ear",
    reported=("dazzled", "heard"),
    states=(State("awake"),),
    transitions=(On("dazzled", "awake"), On("heard", "awake")),
)


def test_a_chart_may_tell_another_event_of_the_charts_that_hear_it() -> None:
    found = list(mutants_of_telling(System("room", "Room", (LAMP, EAR))))

    assert [str(mutant) for mutant in found] == [
        "lamp: Tell(heard) instead of Tell(dazzled) on entry of state bright"
    ]


def test_no_two_mutants_are_the_same() -> None:
    every = list(mutants(LAMP))

    assert len({mutant.fault for mutant in every}) == len(every)
    assert not any(mutant.chart == LAMP for mutant in every)


def test_a_number_on_either_side_of_a_comparison_has_its_neighbours() -> None:
    counting = Chart(
        id="counting",
        title="Counting",
        reported=("counted", "asked"),
        variables=(Variable("n", highest=3),),
        states=(State("few"), State("many")),
        transitions=(
            On("counted", "few", do=(Increment("n"),)),
            On("asked", "few", to="many", when="1 < n"),
            On("asked", "many", to="few"),
        ),
    )
    guards = {on.when for mutant in mutants(counting) for on in mutant.chart.transitions}
    assert {"0 < n", "2 < n", "1 <= n"} <= guards
