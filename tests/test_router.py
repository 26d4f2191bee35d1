"""The router joins charts: what is told, first in first out, and one owner for each event."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from statecharts import (
    Chart,
    ChartFaultError,
    Effect,
    Machine,
    NotAllowedError,
    On,
    Parameter,
    Router,
    Start,
    State,
    System,
    SystemSnapshot,
    Tell,
    Timer,
)
from statecharts.declare import ADOPTED
from statecharts.hsms import ACTIVE_LINK, BREAKER, LINKTEST, PASSIVE_LINK, RECEIVER, TRANSMITTER
from statecharts.router import told_by


@dataclass(frozen=True, slots=True)
class Say(Effect):
    """Something visible."""

    word: str


T = Timer("t", "T", "a while", 1, 0.5, 2)


def chart(id: str, *transitions: On, states: Iterable[State] = ()) -> Chart:
    """A chart with one state, ``<id>_here``, unless told otherwise."""
    events = dict.fromkeys(on.event for on in transitions if on.event and on.event != "t_expired")
    made = tuple(states) or (State(f"{id}_here"),)
    return Chart(id, id, made, transitions, reported=tuple(events))


def says(event: str, id: str, *asked: str | Tell) -> On:
    effects = (each if isinstance(each, Tell) else Say(each) for each in asked)
    return On(event, f"{id}_here", do=tuple(effects))


# What is told, and in which order.


def test_what_is_told_becomes_an_event_and_the_rest_comes_out() -> None:
    one = chart("one", says("begin", "one", "before", Tell("told"), "after"))
    two = chart("two", says("told", "two", "answer"))
    router = Router(System("s", "S", (one, two)))
    step = router.step(router.initial, "begin")
    assert step.effects == (Say("before"), Say("after"), Say("answer"))
    assert [(hop.chart, hop.event, hop.taken) for hop in step.hops] == [
        ("one", "begin", (0,)),
        ("two", "told", (0,)),
    ]
    assert step.snapshot is router.initial


def test_what_was_asked_first_is_told_first() -> None:
    """Breadth first: a second event is told before what the first one causes."""
    one = chart("one", says("begin", "one", Tell("a_told"), Tell("b_told")))
    two = chart("two", says("a_told", "two", Tell("c_told")), says("b_told", "two", "b heard"))
    three = chart("three", says("c_told", "three", "c heard"))
    router = Router(System("s", "S", (one, two, three)))
    told = [hop.event for hop in router.step(router.initial, "begin").hops]
    assert told == ["begin", "a_told", "b_told", "c_told"]


def test_what_nobody_here_knows_comes_out_where_it_is_said_to_be_outside() -> None:
    one = chart("one", says("begin", "one", Tell("far_away"), "after"))
    router = Router(System("s", "S", (one,), outside=("far_away",)))
    assert router.step(router.initial, "begin").effects == (Tell("far_away"), Say("after"))


def test_what_charts_ask_for_when_they_begin_is_routed_too() -> None:
    one = chart(
        "one",
        On("t_expired", "waits", to="waits"),
        states=[State("waits", timer=T, enter=(Tell("told"), Say("out")))],
    )
    two = chart("two", On("told", "idle", to="heard"), states=[State("idle"), State("heard")])
    router = Router(System("s", "S", (one, two)))
    assert router.initial_effects == (Start(T), Say("out"))
    assert repr(router.initial) == "<one=waits, two=heard>"
    assert Router(ACTIVE_LINK).initial_effects == ()


# Errors.


def test_event_that_its_own_chart_refuses_is_the_callers_error() -> None:
    router = Router(ACTIVE_LINK)
    assert not router.takes(router.initial, "disable_requested")
    assert router.takes(router.initial, "enable_requested")
    with pytest.raises(NotAllowedError, match="connection_active does not take 'disable_req"):
        router.step(router.initial, "disable_requested")


@pytest.mark.parametrize("ask", ["step", "takes"])
def test_event_that_no_chart_declares_is_an_error(ask: str) -> None:
    router = Router(ACTIVE_LINK)
    with pytest.raises(KeyError, match="system active_link has no event 'enabled'"):
        getattr(router, ask)(router.initial, "enabled")


def test_told_event_that_cannot_be_taken_is_a_fault_with_its_path() -> None:
    one = chart("one", says("begin", "one", Tell("told"), Tell("told")))
    two = chart("two", On("told", "idle", to="full"), states=[State("idle"), State("full")])
    router = Router(System("s", "S", (one, two)))
    with pytest.raises(
        ChartFaultError,
        match=r"system s: after one\.begin -> two\.told: two does not take 'told' in full",
    ):
        router.step(router.initial, "begin")


def test_fault_at_the_beginning_says_so() -> None:
    one = chart("one", says("begin", "one", "x"), states=[State("one_here", enter=(Tell("told"),))])
    two = chart(
        "two",
        On("told", "heard"),
        On("go", "idle", to="heard"),
        states=[State("idle"), State("heard")],
    )
    with pytest.raises(ChartFaultError, match="system s: after the beginning: two does not take"):
        Router(System("s", "S", (one, two)))


def test_charts_that_answer_each_other_for_ever_blow_a_fuse() -> None:
    one = chart("one", says("ping", "one", Tell("pong")))
    two = chart("two", says("pong", "two", Tell("ping")))
    router = Router(System("s", "S", (one, two)))
    with pytest.raises(
        ChartFaultError, match=r"system s: after .*one\.ping -> two\.pong: 100 steps .* a cycle"
    ):
        router.step(router.initial, "ping")


# Systems that do not hold together.

ONE = chart("one", says("begin", "one", Tell("told")))
TWO = chart("two", says("told", "two", "heard"))
CALLED = Chart("two", "two", (State("two_here"),), (says("told", "two"),), local=("told",))
TIMED = chart("timed", On("t_expired", "waits", to="waits"), states=[State("waits", timer=T)])
HASTY = chart("hasty", says("hurry", "hasty", Tell("t_expired")))
SELFISH = chart("selfish", says("begin", "selfish", Tell("again")), says("again", "selfish"))


@pytest.mark.parametrize(
    ("charts", "outside", "message"),
    [
        ((ONE, ONE), ("told",), "system s: two charts are called one"),
        ((TWO, chart("one", says("told", "one"))), (), "event 'told' belongs to two and one"),
        (
            (TWO, chart("one", On("begin", "two_here"), states=[State("two_here")])),
            (),
            "state 'two_here' belongs to two and one; a name belongs to one chart",
        ),
        ((ONE,), (), r"one tells 'told', which no chart declares \(see outside=\)"),
        ((ONE, TWO), ("told",), "'told' is outside and yet an event of two"),
        ((ONE, CALLED), (), "one tells 'told', which two does not report"),
        ((HASTY, TIMED), (), "hasty tells 't_expired', which timed does not report"),
        ((SELFISH,), (), "selfish tells itself 'again': take the transition at once instead"),
    ],
)
def test_system_that_does_not_hold_together_is_refused(
    charts: tuple[Chart, ...], outside: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        System("s", "S", charts, outside)


def test_machine_of_another_chart_is_refused() -> None:
    with pytest.raises(ValueError, match="breaker is given another chart's machine"):
        Router(ACTIVE_LINK, {"breaker": Machine(LINKTEST)})
    with pytest.raises(KeyError, match="system passive_link has no chart 'breaker'"):
        Router(PASSIVE_LINK, {"breaker": Machine(BREAKER)})
    assert ACTIVE_LINK.chart("breaker") is BREAKER


def test_another_kind_of_object_is_refused_in_a_sentence() -> None:
    machine: Any = Machine(BREAKER)
    chart: Any = BREAKER
    with pytest.raises(TypeError, match="Chart"):
        System("s", "S", (machine,))
    with pytest.raises(TypeError, match="System"):
        Router(chart)
    with pytest.raises(TypeError, match="Machine"):
        Router(ACTIVE_LINK, {"breaker": chart})


# Parameters.


def failing(router: Router, times: int) -> SystemSnapshot:
    """After so many failed attempts, T5 over each time but the last."""
    here = router.step(router.initial, "enable_requested").snapshot
    for attempt in range(times):
        if attempt:
            here = router.step(here, "t5_expired").snapshot
        here = router.step(here, "tcp_failed").snapshot
    return here


def test_snapshot_is_adopted_under_other_parameters_with_its_history() -> None:
    wide = Router(ACTIVE_LINK)
    narrow = Router(ACTIVE_LINK, {"breaker": Machine(BREAKER, threshold=2)})
    here = failing(wide, 3)
    for router in (narrow, wide):
        adopted = router.adopt(here).snapshot
        assert adopted["connection_active"] == here["connection_active"]
        assert all(part.machine is router.machines[part.machine.chart.id] for part in adopted.parts)
    assert wide.adopt(here) == (here, (), ())
    assert wide.adopt(here).snapshot is here
    with pytest.raises(ValueError, match=r"system active_link: .* is of another router: adopt it"):
        narrow.step(here, "t5_expired")
    step = narrow.adopt(here)
    assert "breaker_open" in step.snapshot
    assert [str(effect) for effect in step.effects] == ["Start(open time)"]
    assert wide.adopt(step.snapshot) == (step.snapshot, (), ())


def test_what_a_chart_tells_when_it_is_adopted_is_taken_under_the_new_parameters() -> None:
    wide = Router(ACTIVE_LINK)
    narrow = Router(ACTIVE_LINK, {"breaker": Machine(BREAKER, threshold=1)})
    dialling = wide.step(failing(wide, 3), "t5_expired").snapshot
    assert "connecting" in dialling
    step = narrow.adopt(dialling)
    assert [(hop.chart, hop.event) for hop in step.hops] == [
        ("breaker", ADOPTED),
        ("connection_active", "permit_withdrawn"),
    ]
    adopted, withdrawn = step.hops
    assert (adopted.before, adopted.after) == (dialling["breaker"], step.snapshot["breaker"])
    assert adopted.taken
    assert withdrawn.before is narrow.machines["connection_active"].snapshot(
        dialling["connection_active"].states
    )
    assert [str(effect) for effect in step.effects] == [
        "Start(open time)",
        "Stop(connect timeout)",
        "AbandonTcp()",
        "Start(T5)",
    ]
    assert all(
        part.machine is narrow.machines[part.machine.chart.id] for part in step.snapshot.parts
    )


MOOD = Parameter("mood", 0, 0, 1)


def moody(id: str, told: str, *transitions: On) -> Chart:
    """A chart that tells ``told`` as soon as its mood is 1."""
    states = (State(f"{id}_calm"), State(f"{id}_upset"))
    upset = On(None, f"{id}_calm", to=f"{id}_upset", when="mood == 1", do=(Tell(told),))
    events = dict.fromkeys(on.event for on in transitions if on.event)
    return Chart(id, id, states, (upset, *transitions), reported=tuple(events), parameters=(MOOD,))


def test_charts_that_are_adopted_together_all_settle_before_they_are_told() -> None:
    one = moody("one", "one_told", On("two_told", "one_upset", do=(Say("told one"),)))
    two = moody("two", "two_told", On("one_told", "two_upset", do=(Say("told two"),)))
    system = System("s", "S", (one, two))
    calm = Router(system)
    step = Router(system, {each.id: Machine(each, mood=1) for each in (one, two)}).adopt(
        calm.initial
    )
    assert [(hop.chart, hop.event) for hop in step.hops] == [
        ("one", ADOPTED),
        ("two", ADOPTED),
        ("two", "one_told"),
        ("one", "two_told"),
    ]
    assert step.effects == (Say("told two"), Say("told one"))


def test_a_fault_under_other_parameters_tells_its_path() -> None:
    one = moody("one", "told")
    heard = [State("idle"), State("full")]
    two = chart("two", On("told", "idle"), On("go", "idle", to="full"), states=heard)
    system = System("s", "S", (one, two))
    calm = Router(system)
    full = calm.step(calm.initial, "go").snapshot
    upset = Router(system, {"one": Machine(one, mood=1)})
    with pytest.raises(
        ChartFaultError,
        match=r"system s: after one\.parameters_changed: two does not take 'told' in full",
    ):
        upset.adopt(full)


def test_charts_that_answer_each_other_for_ever_under_other_parameters_blow_a_fuse() -> None:
    one = moody("one", "ping", On("pong", "one_upset", do=(Tell("ping"),)))
    heard = [State("idle"), State("awake")]
    two = chart(
        "two",
        On("ping", "idle"),
        On("ping", "awake", do=(Tell("pong"),)),
        On("go", "idle", to="awake"),
        states=heard,
    )
    system = System("s", "S", (one, two))
    calm = Router(system)
    awake = calm.step(calm.initial, "go").snapshot
    upset = Router(system, {"one": Machine(one, mood=1)})
    with pytest.raises(
        ChartFaultError, match=r"system s: after .*two\.ping -> one\.pong.*: 100 steps .* a cycle"
    ):
        upset.adopt(awake)


def test_a_snapshot_of_another_system_is_not_adopted() -> None:
    active, passive = Router(ACTIVE_LINK), Router(PASSIVE_LINK)
    with pytest.raises(ValueError, match=r"system active_link cannot adopt .*, of other charts"):
        active.adopt(passive.initial)
    told = told_by(RECEIVER)
    few = Router(System("few", "Few", (RECEIVER,), told))
    more = Router(System("more", "More", (RECEIVER, TRANSMITTER), told))
    for one, other in ((few, more), (more, few)):
        with pytest.raises(ValueError, match=r"cannot adopt .*, of other charts"):
            one.adopt(other.initial)
    another = Router(System("few", "Few", (replace(RECEIVER, title="Other"),), told))
    with pytest.raises(ValueError, match="receiver cannot adopt"):
        few.adopt(another.initial)


def test_snapshots_are_one_object_each_and_equal_by_value() -> None:
    one, two = Router(ACTIVE_LINK), Router(ACTIVE_LINK)
    assert one.initial == two.initial
    assert hash(one.initial) == hash(two.initial)
    assert one.initial is not two.initial
    assert one.adopt(two.initial).snapshot is one.initial
    assert one.snapshot(one.initial.parts) is one.initial
    assert one.initial != one.step(one.initial, "enable_requested").snapshot
    assert one.initial != one.initial.parts
    assert {one.initial: 1}[two.initial] == 1
    assert "idle" in one.initial
    assert "connecting" not in one.initial
    with pytest.raises(KeyError, match=r"no chart of <.*> has a state 'conecting'"):
        assert "conecting" in one.initial
    assert one.initial["breaker"] is one.machines["breaker"].initial


def test_a_system_is_a_short_key() -> None:
    """It is a key of caches, where its charts would be hashed at each step."""
    more = replace(ACTIVE_LINK, charts=(*ACTIVE_LINK.charts, chart("more")))
    assert more != ACTIVE_LINK
    assert hash(more) == hash(ACTIVE_LINK)


@pytest.mark.parametrize("system", [ACTIVE_LINK, PASSIVE_LINK], ids=lambda system: system.id)
def test_memo_equals_a_fresh_router_over_the_whole_space(system: System) -> None:
    parameters = {"breaker": 2, "linktest": 1}
    machines = [
        {
            chart.id: Machine(
                chart,
                **dict.fromkeys(
                    (each.name for each in chart.parameters), parameters.get(chart.id, 1)
                ),
            )
            for chart in system.charts
        }
        for _ in range(2)
    ]
    router, fresh = (Router(system, each) for each in machines)
    told = {event for chart in system.charts for event in told_by(chart)}
    queue = [router.initial]
    seen = {router.initial}
    counted = 0
    for here in queue:
        for event, owner in router.owner.items():
            # What only other charts cause is not given to its chart from outside.
            if event in told or not router.takes(here, event):
                continue
            # Bytes come and go while TCP is open only.
            if owner in ("receiver", "transmitter") and "connected" not in here:
                continue
            # A second host asks for a session where there is one.
            if event == "session_wanted" and "selected" not in here:
                continue
            step = router.step(here, event)
            assert router.step(here, event) is step
            assert fresh.step(fresh.adopt(here).snapshot, event) == step
            assert step.hops[0][:2] == (owner, event)
            counted += 1
            if step.snapshot not in seen:
                seen.add(step.snapshot)
                queue.append(step.snapshot)
    assert len(seen) > 40
    assert counted > 10 * len(seen)


def test_permit_is_asked_for_and_granted_in_one_step() -> None:
    router = Router(ACTIVE_LINK)
    step = router.step(router.initial, "enable_requested")
    assert [hop.event for hop in step.hops] == [
        "enable_requested",
        "permit_requested",
        "permit_granted",
    ]
    assert "connecting" in step.snapshot
    assert Tell("permit_granted") not in step.effects
