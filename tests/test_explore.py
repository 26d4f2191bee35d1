"""The search and its verdicts, on graphs small enough to see the answer."""

import pytest

from statecharts import Start, Stop, Timer
from statecharts.explore import (
    WHATEVER,
    Always,
    Assumption,
    Between,
    BrokenModelError,
    CanAlwaysReach,
    Checker,
    EveryStep,
    Graph,
    Kind,
    LeadsTo,
    May,
    MisfitError,
    Move,
    Moves,
    Outcome,
    Possible,
    Sometimes,
    Stays,
    TimersOnly,
    TooManyStatesError,
    Verdict,
)
from statecharts.explore.cycles import closed_walk, components
from statecharts.explore.properties import Property
from statecharts.explore.report import messages
from tests.support.counterexample import pytest_file
from tests.support.toy import Edges, Toy, toy

USER, TIMER, DELIVERY, FAULT = Kind.USER, Kind.TIMER, Kind.DELIVERY, Kind.FAULT
FAIR = Assumption("fair", "deliveries happen", fair=frozenset({DELIVERY}))
PATIENT = Assumption("patient", "timers are slow", patient=True, fair=frozenset({DELIVERY}))
CALM = Assumption("calm", "nothing breaks", never=frozenset({FAULT}))

# Two ways from a to d, and back.
DIAMOND: Edges = {
    "a": ((USER, "left", "b"), (USER, "right", "c")),
    "b": ((USER, "on", "d"),),
    "c": ((USER, "on", "d"), (USER, "stay", "c")),
    "d": ((FAULT, "back", "a"),),
}


def is_first_step(move: Move) -> bool:
    return move.event in ("left", "right")


def verdict(edges: Edges, claim: Property[str]) -> Verdict:
    return Checker(toy(edges)).check([claim])[0]


def test_every_state_and_move_is_counted_once() -> None:
    found = toy(DIAMOND).statistics()

    assert (found.states, found.transitions, found.diameter) == (4, 6, 2)
    assert (found.out_degree, found.deadlocks) == (2, 0)


def test_a_state_that_only_leads_to_itself_is_a_deadlock() -> None:
    assert (
        toy({"a": ((USER, "on", "b"),), "b": ((TIMER, "tick", "b"),)}).statistics().deadlocks == 1
    )


def test_an_event_that_cannot_occur_where_it_should_is_shown_by_the_way_there() -> None:
    found = verdict(DIAMOND, Possible("x", "", "back", lambda s: s in "bd"))

    assert found.outcome is Outcome.FAILED
    assert found.trace is not None
    assert [move.event for move in found.trace.moves] == ["left"]


def test_what_is_missing_between_two_moves_is_shown_by_a_whole_run() -> None:
    claim: Between[str] = Between(
        "x",
        "",
        lambda move: move.event == "left",
        lambda move: move.event == "stay",
        lambda move: move.event == "left",
    )
    found = verdict(DIAMOND, claim)

    assert found.outcome is Outcome.FAILED
    assert found.trace is not None
    assert [move.event for move in found.trace.moves] == ["left", "on", "back", "right", "stay"]


def test_a_search_that_grows_beyond_its_limit_says_so() -> None:
    with pytest.raises(TooManyStatesError, match="more than 2 states"):
        Graph(Toy(DIAMOND), limit=2)


def test_an_impossible_move_is_told_with_a_shortest_way_there() -> None:
    with pytest.raises(BrokenModelError) as caught:
        toy({"a": ((USER, "on", "b"), (USER, "stay", "a")), "b": ((FAULT, "bang", "!"),)})

    assert [move.event for move in caught.value.trace.moves] == ["on"]
    assert str(caught.value).startswith(
        "toy: bang: it does not fit\nafter 1 moves:\nstart: state=a"
    )


def test_equal_moves_have_one_number() -> None:
    moves = Moves()

    assert moves.number(Move("a", "b", USER)) == moves.number(Move("a", "b", USER)) == 0
    assert moves.number(Move("a", "c", USER)) == 1


@pytest.mark.parametrize(
    "claim",
    [
        Always("x", "", lambda s: s != "d"),
        EveryStep("x", "", lambda _before, _move, after: after != "d", lambda m: m.event == "on"),
        CanAlwaysReach("x", "", lambda s: s == "a", lambda s: s == "d", CALM),
        Stays("x", "", lambda s: s != "d", WHATEVER),
        LeadsTo("x", "", lambda s: s == "b", lambda s: s == "c", CALM),
    ],
    ids=lambda claim: type(claim).__name__,
)
def test_a_counterexample_is_as_short_as_can_be(claim: Property[str]) -> None:
    found = verdict(DIAMOND, claim)

    assert found.outcome is Outcome.FAILED
    assert found.trace is not None
    assert [move.event for move in found.trace.moves] == ["left", "on"]
    assert str(found).startswith("x: failed\n")


@pytest.mark.parametrize(
    "claim",
    [
        Always("x", "", lambda s: s in "abcd", lambda s: s == "d"),
        EveryStep("x", "", lambda b, _, a: (b, a) == ("d", "a"), lambda m: m.event == "back"),
        Sometimes("x", "", lambda s: s == "d"),
        CanAlwaysReach("x", "", lambda s: s == "a"),
        Stays("x", "", lambda s: s == "d", CALM),
        LeadsTo("x", "", lambda s: s == "b", lambda s: s == "d", WHATEVER),
        Possible("x", "", "on", lambda s: s in "bc"),
        Between("x", "", lambda m: m.event == "on", is_first_step, lambda m: m.event == "back"),
        Between("x", "", is_first_step, is_first_step, is_first_step),
    ],
    ids=lambda claim: type(claim).__name__,
)
def test_what_is_true_is_held(claim: Property[str]) -> None:
    assert verdict(DIAMOND, claim).outcome is Outcome.HELD


@pytest.mark.parametrize(
    "claim",
    [
        Always("x", "", lambda _: True, lambda s: s == "z"),
        EveryStep("x", "", lambda *_: True, lambda m: m.event == "never"),
        CanAlwaysReach("x", "", lambda _: True, lambda s: s == "z"),
        Stays("x", "", lambda s: s == "z", WHATEVER),
        LeadsTo("x", "", lambda s: s == "z", lambda _: True, WHATEVER),
        Possible("x", "", "on", lambda s: s == "z"),
        Between("x", "", lambda m: m.event == "never", lambda _: True, lambda _: False),
    ],
    ids=lambda claim: type(claim).__name__,
)
def test_a_claim_whose_premise_is_never_reached_is_no_pass(claim: Property[str]) -> None:
    found = verdict(DIAMOND, claim)

    assert found.outcome is Outcome.VACUOUS
    assert "claims nothing" in str(found)


def test_what_never_comes_about_fails_a_sometimes() -> None:
    assert verdict(DIAMOND, Sometimes("x", "", lambda s: s == "z")).outcome is Outcome.FAILED


def leads(edges: Edges, under: Assumption) -> Verdict:
    return verdict(edges, LeadsTo("x", "", lambda s: s == "a", lambda s: s == "z", under))


RETRYING: Edges = {
    "a": ((TIMER, "tick", "b"), (DELIVERY, "come", "z")),
    "b": ((TIMER, "tock", "a"), (DELIVERY, "come", "z")),
}


def test_a_cycle_is_a_run_that_never_gets_there() -> None:
    found = leads(RETRYING, WHATEVER)

    assert found.trace is not None
    assert found.trace.loop == 0
    assert [move.event for move in found.trace.moves] == ["tick", "tock"]
    assert "from here for ever:" in str(found)


def test_a_cycle_that_always_puts_a_fair_move_off_is_no_run() -> None:
    assert leads(RETRYING, FAIR).outcome is Outcome.HELD


def test_a_fair_move_that_is_interrupted_again_and_again_may_never_come() -> None:
    interrupted: Edges = {**RETRYING, "b": ((TIMER, "tock", "a"),)}

    assert leads(interrupted, FAIR).outcome is Outcome.FAILED


def test_a_cycle_that_makes_the_fair_move_without_arriving_is_a_run() -> None:
    edges: Edges = {
        "a": ((TIMER, "tick", "b"), (DELIVERY, "come", "z")),
        "b": ((DELIVERY, "come", "a"),),
    }
    found = leads(edges, FAIR)

    assert found.trace is not None
    assert [move.event for move in found.trace.moves] == ["tick", "come"]


def test_a_patient_timer_waits_for_what_can_be_delivered() -> None:
    edges: Edges = {"a": ((TIMER, "tick", "a"), (DELIVERY, "come", "z"))}

    assert leads(edges, WHATEVER).outcome is Outcome.FAILED
    assert leads(edges, PATIENT).outcome is Outcome.HELD


# A timer runs in all three states, and only the second one has time for it.
HURRIED: Edges = {
    "a": ((TIMER, "tick", "z"), (DELIVERY, "come", "b")),
    "b": ((TIMER, "tick", "z"), (TIMER, "tock", "c")),
    "c": ((TIMER, "tick", "z"), (DELIVERY, "go", "a")),
}
HURRY = Assumption(
    "hurry", "timers are slow and fire", patient=True, fair=frozenset({DELIVERY, TIMER})
)


def test_a_patient_timer_that_runs_on_fires_although_frames_put_it_off() -> None:
    assert leads(HURRIED, HURRY).outcome is Outcome.HELD


def test_frames_that_never_end_leave_a_patient_timer_no_time() -> None:
    endless: Edges = {**HURRIED, "c": ((TIMER, "tick", "z"), (DELIVERY, "go", "c"))}
    found = leads(endless, HURRY)

    assert found.trace is not None
    assert [move.event for move in found.trace.moves] == ["come", "tock", "go"]


def test_a_timer_that_is_owed_may_wait_in_a_part_of_a_cycle_that_has_no_time_for_it() -> None:
    part: Edges = {
        "a": ((TIMER, "tick", "z"), (DELIVERY, "come", "b")),
        "b": ((TIMER, "tick", "z"), (DELIVERY, "go", "a"), (DELIVERY, "stop", "c")),
        "c": ((TIMER, "tick", "z"), (TIMER, "tock", "a")),
    }
    found = leads(part, HURRY)

    assert found.trace is not None
    assert {move.event for move in found.trace.moves} == {"come", "go"}


def test_a_run_that_stops_short_is_a_counterexample() -> None:
    found = leads({"a": ((USER, "on", "b"),), "b": ()}, FAIR)

    assert found.outcome is Outcome.FAILED
    assert found.trace is not None
    assert found.trace.loop is None


def test_where_two_moves_lead_to_one_state_the_trace_takes_the_allowed_one() -> None:
    edges: Edges = {"a": ((FAULT, "break", "b"), (TIMER, "tick", "b")), "b": ()}
    found = leads(edges, CALM)

    assert found.trace is not None
    assert [move.event for move in found.trace.moves] == ["tick"]


def test_components_are_found_without_recursion() -> None:
    chain = {n: [n + 1] for n in range(5_000)} | {5_000: [4_998]}

    found = list(components([0], chain.__getitem__))

    assert sorted(map(len, found))[-2:] == [1, 3]
    assert len(found) == 4_999


def test_a_closed_walk_goes_along_what_it_must_and_comes_back() -> None:
    ring = {0: [1], 1: [2], 2: [0, 1]}

    assert closed_walk(0, ring, []) == [0, 1, 2, 0]
    assert closed_walk(0, ring, [(2, 1), (2,)]) == [0, 1, 2, 1, 2, 0]
    assert closed_walk(0, {0: [0]}, []) == [0, 0]


def test_a_counterexample_becomes_a_sequence_diagram() -> None:
    trace = leads(RETRYING, WHATEVER).trace
    assert trace is not None

    assert messages(trace) == [
        ("", "", "from here for ever", ""),
        ("timer", "toy", "tick", "state: b"),
        ("timer", "toy", "tock", "state: a"),
    ]


def test_a_frame_comes_from_the_other_end() -> None:
    trace = toy({"a": ((DELIVERY, "come", "b"),), "b": ()}).trace(1)

    assert messages(trace) == [("peer", "toy", "come", "state: b")]


def test_a_counterexample_becomes_a_test_that_compiles() -> None:
    trace = toy(DIAMOND).trace(3)
    text = pytest_file("no_way_back", "There is no way back.", "toy", trace, {"lamp": {"most": 2}})

    compile(text, "test_no_way_back.py", "exec")
    assert "('toy', 'left', [])," in text
    assert "async def test_no_way_back() -> None:\n" in text
    assert "    await replay('toy', STEPS, {'lamp': {'most': 2}})" in text


def test_timers_that_do_not_fit_are_a_misfit() -> None:
    tick = Timer("tick", "tick", "a clock ticks", 1, 0.1, 10)
    outside = TimersOnly("tick_expired", "wind")
    running = outside.after(outside.initial, "wind", (Start(tick),))

    assert outside.may(running, "tick_expired") is May.ALWAYS
    assert outside.may(outside.initial, "tick_expired") is May.NEVER
    assert outside.may(running, "wind") is May.IF_TAKEN
    with pytest.raises(MisfitError, match="runs already"):
        outside.after(running, "wind", (Start(tick),))
    with pytest.raises(MisfitError, match="does not run"):
        outside.after(outside.initial, "wind", (Stop(tick),))
